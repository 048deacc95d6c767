"""What changes datagrams: figures by their closed forms; corruption and marks of those that a predicate names."""

import pytest

from links import Corrupt, Datagram, Duplicate, EcnMarkRandom, Element
from tests.links_validation import changes
from tests.links_validation.report import Validation
from tests.support.wire import Wire, bound, datagram


@pytest.mark.parametrize("validation", changes.VALIDATIONS)
def test_figures_are_those_of_the_closed_form(validation: Validation) -> None:
    rows = list(validation(20_000))
    assert rows
    assert [row for row in rows if not row.ok] == []


def third(packet: Datagram) -> bool:
    return packet.id == 3


def test_a_predicate_names_those_that_are_changed() -> None:
    element = bound(Corrupt(third, "bytes"))
    packets = [datagram(100, number) for number in range(1, 6)]
    for packet in packets:
        element.receive(packet, packet.id)
    assert [packet.id for packet in packets if any(packet.payload)] == [3]
    assert [number for number, _ in Wire(Duplicate(third)).send(*range(5)).arrivals] == [1, 2, 3, 3, 4, 5]
    assert Wire(EcnMarkRandom(third)).send(*range(5), ecn=2).congested == [3]


def test_random_marks_leave_what_is_not_capable_alone() -> None:
    element = EcnMarkRandom(1)
    assert Wire(element).send(*range(8), ecn=(0, 1, 2, 3)).congested == [2, 3, 4, 6, 7, 8]
    assert element.marked == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Corrupt(third, burst=3), "burst 3: goes with a probability alone"),
        (lambda: Corrupt(0.1, burst=3, correlation=0.5), "burst 3: goes with a probability alone"),
        (lambda: Duplicate(third, correlation=0.5), "correlation 0.5: goes with a probability, not with a predicate"),
        (lambda: EcnMarkRandom(2), "probability 2: must be a number from 0 to 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: type[Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
