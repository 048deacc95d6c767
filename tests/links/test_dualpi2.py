"""DualPI2: who goes into which queue, what is marked and dropped, whose turn it is. Its figures are with the queues."""

from collections.abc import Callable

import pytest

from links import DualPi2, Element, Rate
from tests.support.wire import Wire

NOT_ECT, ECT_1, ECT_0, CE = range(4)
SERVICE = 800_000  # of 1000 bytes at 10 Mbit/s, ns
MS = 1_000_000


def still(chance: float, **parameters: object) -> DualPi2:
    """A queue whose base chance does not move."""
    queue = DualPi2(alpha=0, beta=0, **parameters)  # type: ignore[arg-type]  # as the tests give them
    queue.chance = chance
    return queue


def test_low_latency_datagrams_go_first() -> None:
    # The first is being sent when the others come; the L4S ones overtake the classic ones.
    wire = Wire(DualPi2(ramp_from="1s", ramp_to="1s"), Rate("10Mbps"))
    wire.send(0, 1, 2, 3, 4, size=1000, ecn=(NOT_ECT, ECT_0, NOT_ECT, ECT_1, CE))
    assert [number for number, _ in wire.arrivals] == [1, 4, 5, 2, 3]


def test_the_step_marks_what_waited_so_long_unless_nobody_waits_behind() -> None:
    # Number n waits for n - 1 sendings of 0.8 ms: those from the fourth (2.4 ms) on are marked, but not the last.
    wire = Wire(DualPi2(ramp_from="2ms", ramp_to="2ms"), Rate("10Mbps")).send(*[0] * 8, size=1000, ecn=ECT_1)
    assert wire.congested == [4, 5, 6, 7]
    assert [number for number, _ in wire.arrivals] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_ramp_marks_the_more_the_longer_it_took() -> None:
    queue = DualPi2(alpha=0, beta=0, ramp_from=0, ramp_to="80ms", packets=None)
    wire = Wire(queue, Rate("10Mbps")).send(*[0] * 100, size=1000, ecn=ECT_1)
    early, late = (sum(low < number <= low + 33 for number in wire.congested) for low in (0, 66))
    assert 1 <= early <= 14 < 20 <= late <= 33
    assert queue.marked == len(wire.congested)


def test_classic_datagrams_are_marked_if_they_can_be_and_dropped_otherwise() -> None:
    wire = Wire(still(0.4), Rate("10Mbps")).send(*range(0, 1000 * SERVICE, SERVICE), size=1000, ecn=(NOT_ECT, ECT_0))
    assert {number % 2 for number, *_ in wire.losses} == {1}
    assert {reason for *_, reason in wire.losses} == {"DualPI2"}
    assert {number % 2 for number in wire.congested} == {0}
    assert 40 < len(wire.losses) < 120
    assert 40 < len(wire.congested) < 120


def test_a_load_that_does_not_give_way_is_dropped_in_both_queues() -> None:
    codepoints = (NOT_ECT, ECT_1, ECT_0)
    wire = Wire(still(0.6), Rate("10Mbps")).send(*range(0, 999 * SERVICE, SERVICE), size=1000, ecn=codepoints)
    lost = [sum(number % 3 == kind for number, *_ in wire.losses) for kind in (1, 2, 0)]
    assert all(80 < one < 160 for one in lost), "0.36 of 333 each"
    assert {number % 3 for number in wire.congested} == {2}
    assert len(wire.congested) == 333 - lost[1]


def test_the_base_chance_follows_the_delay_as_the_controller_says() -> None:
    # Of 21 datagrams at once the last begins to be sent at 16 ms, when it has waited for 16 ms.
    first = 0.16 * (0.016 - 0.015) + 3.2 * 0.016
    Wire(queue := DualPi2("15ms"), Rate("10Mbps")).send(*[0] * 21, size=1000)
    assert queue.chance == pytest.approx(first)
    # Of more another waits until 32 ms, when nothing has been dropped by a chance of 0.3 % yet.
    second = first + 0.16 * (0.032 - 0.015) + 3.2 * 0.016
    wire = Wire(queue := DualPi2("15ms"), Rate("10Mbps")).send(*[0] * 41, size=1000)
    assert wire.losses == []
    assert queue.chance == pytest.approx(second)


def test_the_chance_is_zero_again_after_quiet_times() -> None:
    queue = DualPi2()
    Wire(queue, Rate("10Mbps")).send(*[0] * 100, 3_600_000 * MS, size=1000)
    assert queue.chance == 0


def test_a_full_queue_drops_what_comes() -> None:
    wire = Wire(DualPi2(packets=2), Rate("10Mbps")).send(0, 1, 2, 3, 4, size=1000, ecn=(NOT_ECT, ECT_1))
    assert [(number, reason) for number, *_, reason in wire.losses] == [(4, "queue full"), (5, "queue full")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DualPi2(update=0), "update 0: must be above 0"),
        (lambda: DualPi2(ramp_from="2ms"), "ramp_to '1200us': must not be less than ramp_from '2ms'"),
        (lambda: DualPi2(protection=101), "protection 101: must be at most 100 percent"),
        (lambda: DualPi2(coupling=-1), "coupling -1: must be a number from 0 to 1000"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
