"""RangeSet against a plain set of ints."""

from hypothesis import given
from hypothesis import strategies as st

from stack.ranges import RangeSet

LIMIT = 60

SPANS = st.tuples(st.integers(0, LIMIT), st.integers(0, 12)).map(lambda span: (span[0], span[0] + span[1]))
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["add", "subtract"]), SPANS),
    st.tuples(st.just("drop_below"), st.integers(0, LIMIT)),
    st.tuples(st.just("pop_first"), st.integers(1, 9)),
)


def members(ranges: RangeSet) -> set[int]:
    return {value for start, end in ranges for value in range(start, end)}


def check_shape(ranges: RangeSet) -> None:
    """Ranges are not empty, ascend and neither overlap nor touch."""
    previous = -1
    for start, end in ranges:
        assert previous < start < end
        previous = end
    assert len(ranges) == len(list(ranges))


def apply(ranges: RangeSet, model: set[int], name: str, argument: object) -> set[int]:
    """Do one operation to both; return the new model."""
    if isinstance(argument, tuple):
        span = set(range(*argument))
        getattr(ranges, name)(*argument)
        return model | span if name == "add" else model - span
    assert isinstance(argument, int)
    if name == "drop_below":
        ranges.drop_below(argument)
        return {value for value in model if value >= argument}
    if not model:
        return model
    start, end = ranges.pop_first(argument)
    lowest = min(model)
    run = next(offset for offset in range(LIMIT * 2) if lowest + offset not in model)
    assert (start, end) == (lowest, lowest + min(run, argument))
    return model - set(range(start, end))


@given(st.lists(OPERATIONS, max_size=40))
def test_any_operations_leave_what_a_set_would_hold(operations: list[tuple[str, object]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for name, argument in operations:
        model = apply(ranges, model, name, argument)
        assert members(ranges) == model
        check_shape(ranges)
    for value in range(LIMIT + 14):
        assert (value in ranges) == (value in model)
    ranges.clear()
    assert members(ranges) == members(RangeSet()) == set()  # what empty sets share is never changed


def test_ranges_that_touch_become_one() -> None:
    ranges = RangeSet()
    for start in (0, 4, 8):
        ranges.add(start, start + 2)
    assert list(ranges) == [(0, 2), (4, 6), (8, 10)]
    ranges.add(2, 4)
    assert list(ranges) == [(0, 6), (8, 10)]
    ranges.add(5, 9)
    assert list(ranges) == [(0, 10)]


def test_an_empty_range_adds_nothing() -> None:
    ranges = RangeSet()
    ranges.add(5, 5)
    assert list(ranges) == []
    ranges.add(1, 2)
    ranges.add(9, 9)
    assert list(ranges) == [(1, 2)]


def test_clear_forgets_everything() -> None:
    ranges = RangeSet()
    ranges.add(3, 7)
    ranges.clear()
    assert len(ranges) == 0
    assert 4 not in ranges
