"""Delays by a distribution: moments by their closed forms, tables, order, correlation; reordering with a gap."""

from collections.abc import Callable

import pytest

from links import Element, Loss, Reorder, VariableDelay
from links.quantiles import DISTRIBUTIONS, Quantiles, normal, parse_table
from tests.links_validation import delay
from tests.links_validation.report import Validation
from tests.support.wire import Wire, bound, datagram

MS = 1_000_000


@pytest.mark.parametrize("validation", delay.VALIDATIONS)
def test_delays_are_those_of_the_closed_form(validation: Validation) -> None:
    rows = list(validation(20_000))
    assert rows
    assert [row for row in rows if not row.ok] == []


def times(element: Element, count: int = 100) -> list[int]:
    """When datagrams leave that come 1 ms apart."""
    bound(element)
    return [element.receive(datagram(), at) for at in range(0, count * MS, MS)]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_without_reordering_datagrams_keep_their_order(name: str) -> None:
    loose, in_order = (
        times(VariableDelay("20ms", "5ms", name)),
        times(VariableDelay("20ms", "5ms", name, reorder=False)),
    )
    assert loose != sorted(loose)
    assert in_order == sorted(in_order)
    assert all(kept >= free for kept, free in zip(in_order, loose, strict=True)), "the same draws"


def test_a_delay_is_never_below_zero() -> None:
    delays = [left_at - at for left_at, at in zip(times(VariableDelay(0, "5ms")), range(0, 100 * MS, MS), strict=True)]
    assert 30 < delays.count(0) < 70
    assert min(delays) == 0


def test_a_table_takes_the_place_of_a_distribution() -> None:
    text = "# two quantiles\n-8192 8192  # from -1 to 1\n"
    assert parse_table(text) == [-8192, 8192]
    expected = times(VariableDelay("20ms", "5ms", "uniform"))
    assert times(VariableDelay("20ms", "5ms", table=text)) == expected
    assert times(VariableDelay("20ms", "5ms", table=[-8192, 8192])) == expected
    assert {left_at % MS for left_at in times(VariableDelay("20ms", "5ms", table=[4096, 4096]))} == {500_000}


def test_quantiles_and_shares_are_each_other_s_inverse() -> None:
    table = normal()
    assert [table.share(table.value(i / 64)) for i in range(65)] == pytest.approx([i / 64 for i in range(65)])
    assert (table.share(-5), table.share(5), table.share(0)) == (0, 1, pytest.approx(0.5))
    plateau = Quantiles([0, 8192, 8192, 16_384])
    assert [plateau.value(share) for share in (0, 1 / 3, 0.5, 2 / 3, 1)] == [0, 1, 1, 1, 2]


def test_with_a_gap_no_two_chosen_are_closer() -> None:
    element = Reorder(1, "5ms", overtake=True, gap=5)
    at_once = [n for n, left_at in enumerate(times(element, 20), 1) if left_at == (n - 1) * MS]
    assert at_once == [5, 10, 15, 20]
    assert element.reordered == 4


def test_correlated_reordering_comes_in_runs() -> None:
    element = Reorder(0.1, "5ms", correlation=0.9)
    held = [left_at > n * MS for n, left_at in enumerate(times(element, 5000))]
    runs = sum(one and not before for one, before in zip(held, [False, *held], strict=False))
    assert sum(held) / runs == pytest.approx(1 / (0.1 * 0.9), rel=0.3)


@pytest.mark.parametrize("correlation", [0, 0.5])
def test_another_element_in_front_does_not_shift_delays(correlation: float) -> None:
    def arrivals(*others: Element) -> dict[int, int]:
        wire = Wire(*others, VariableDelay("20ms", "5ms", correlation=correlation), seed=3)
        return dict(wire.send(*range(0, 200 * MS, MS)).arrivals)

    assert arrivals(Loss(0), Reorder(0, 0, overtake=True)) == arrivals()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VariableDelay(1, 1, "gauss"), "distribution 'gauss': must be one of uniform, normal, pareto"),
        (lambda: VariableDelay(1, 1, table="1 2 x"), "must be ints separated by white space"),
        (lambda: VariableDelay(1, 1, table="1"), "must be two quantiles or more, in ascending order"),
        (lambda: VariableDelay(1, 1, table=[2, 1]), "must be two quantiles or more, in ascending order"),
        (lambda: VariableDelay(1, 1, correlation=1), "correlation 1: must be a number from 0 to below 1"),
        (lambda: Reorder(0.5, 1, gap=0), "gap 0: must be an int of at least 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
