"""Queues that manage themselves: what they drop or mark, when, and what comes out at loads that do not give way."""

from collections.abc import Callable

import pytest

from links import CoDel, Delay, DropHead, DualPi2, Element, FqCoDel, Loss, Pie, Queue, Rate, Red, TailDrop, TokenBucket
from tests.links_validation import queues
from tests.links_validation.report import Validation
from tests.support.wire import Wire, bound, datagram

MS = 1_000_000
SERVICE = 800_000  # of 1000 bytes at 10 Mbit/s, ns


@pytest.mark.parametrize("validation", queues.VALIDATIONS)
def test_figures_are_those_that_must_come_out(validation: Validation) -> None:
    rows = list(validation(20_000))
    assert rows
    assert [row for row in rows if not row.ok] == []


HOLDING: list[Callable[[], Queue]] = [lambda: DropHead(packets=5), CoDel, FqCoDel, DualPi2]


@pytest.mark.parametrize("make", HOLDING)
def test_below_their_limits_queues_that_hold_send_when_others_would(make: Callable[[], Queue]) -> None:
    times = (0, 0, 1000, SERVICE, 5 * MS, 5 * MS + SERVICE, 7 * MS)
    expected = Wire(Rate(7_000_003), TailDrop(packets=5)).send(*times).arrivals
    for server in (Rate(7_000_003), TokenBucket(7_000_003, 1201)):
        wire = Wire(Delay(0), server, make()).send(*times)
        if isinstance(server, Rate):
            assert wire.arrivals == expected
        assert [number for number, _ in wire.arrivals] == [1, 2, 3, 4, 5, 6, 7]


def test_drop_head_drops_the_oldest_that_waits() -> None:
    wire = Wire(Rate("10Mbps"), DropHead(packets=2)).send(0, 1, 2, 3, 4, size=1000)
    assert wire.arrivals == [(1, SERVICE), (4, 2 * SERVICE), (5, 3 * SERVICE)]
    assert wire.losses == [(2, 3, "a>b/DropHead", "queue full"), (3, 4, "a>b/DropHead", "queue full")]
    assert (wire.pipeline.sent, wire.pipeline.delivered, wire.pipeline.lost) == (5, 3, 2)


def test_drop_head_by_bytes_makes_as_much_room_as_it_takes() -> None:
    queue = DropHead(2500)
    wire = Wire(Rate("10Mbps", overhead=100), queue).send(0, 1, 2, 3, size=1000)
    assert [number for number, _ in wire.arrivals] == [1, 3, 4]
    assert (queue.queued_bytes, queue.queued_packets) == (0, 0)
    assert [number for number, _ in Wire(Rate("10Mbps"), DropHead(500)).send(0, 1, SERVICE).arrivals] == [1]


def test_the_length_of_a_holding_queue_is_told_with_the_time_of_each_change() -> None:
    samples: list[tuple[int, int]] = []
    Wire(Rate("10Mbps"), DropHead(2000, on_queue=lambda now, size: samples.append((now, size)))).send(
        0, 1, 2, 3, 10 * MS, size=1000
    )
    assert samples == [(1, 1000), (2, 2000), (SERVICE, 1000), (2 * SERVICE, 0)]


def test_codel_lets_bursts_pass_that_are_shorter_than_its_interval() -> None:
    # 120 datagrams take 96 ms.
    wire = Wire(CoDel(), Rate("10Mbps")).send(*[0] * 120, size=1000)
    assert wire.losses == []


def test_codel_drops_after_an_interval_above_the_target_and_then_by_its_control_law() -> None:
    wire = Wire(CoDel(), Rate("10Mbps")).send(*range(0, 800 * MS, SERVICE // 2), size=1000)
    times = [at for _, at, *_ in wire.losses]
    # The 13th waits 4.8 ms, the 14th 5.2 ms: it leaves at 10.4 ms. The delay has stood for 100 ms at the next sending.
    first = 13 * SERVICE + 100 * MS
    assert times[0] == first
    gaps = [100, 70.711, 57.735, 50]
    for number, time in enumerate(times[1:5]):
        law = first + round(sum(gaps[: number + 1]) * MS)
        assert law <= time < law + SERVICE + 1000
    assert {reason for *_, reason in wire.losses} == {"CoDel"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: CoDel(ecn=True, packets=None),
        lambda: FqCoDel(ecn=True, packets=None),
        lambda: Red(0, "100MB", 0.5, weight=1, ecn=True, packets=1_000_000),
    ],
)
def test_with_ecn_what_is_capable_is_marked_and_nothing_dropped(make: Callable[[], CoDel | FqCoDel | Red]) -> None:
    times = range(0, 800 * MS, SERVICE // 2)
    queue = make()
    wire = Wire(queue, Rate("10Mbps")).send(*times, size=1000, ecn=2)
    assert wire.losses == []
    assert queue.marked > 5
    queue = make()
    wire = Wire(queue, Rate("10Mbps")).send(*times, size=1000)
    assert len(wire.losses) > 5
    assert queue.marked == 0


def test_pie_marks_while_the_chance_is_small_and_drops_beyond() -> None:
    mild, harsh = Pie(ecn=True), Pie(ecn=True)
    times = range(0, 20_000 * MS, SERVICE * 24 // 25)
    assert Wire(mild, Rate("10Mbps")).send(*times[:1900], size=1000, ecn=2).losses == []
    assert mild.marked > 0
    wire = Wire(harsh, Rate("10Mbps")).send(*range(0, 20_000 * MS, SERVICE // 2), size=1000, ecn=2)
    assert {reason for *_, reason in wire.losses} == {"PIE"}
    assert harsh.chance == pytest.approx(0.5, abs=0.1)


def test_pie_lets_the_first_burst_pass_and_another_after_quiet_times() -> None:
    queue = Pie(packets=None, size="10MB")
    burst = [0] * 180  # 144 ms
    wire = Wire(queue, Rate("10Mbps")).send(*burst, *[5_000 * MS] * 180, size=1000)
    assert wire.losses == []
    assert queue.chance == 0


def test_red_drops_nothing_below_its_minimum_and_everything_at_twice_its_maximum() -> None:
    def lost(minimum: int, maximum: int) -> list[int]:
        wire = Wire(Red(minimum, maximum, 0.1, weight=1), Rate("10Mbps")).send(*[0] * 100, size=1000)
        return [number for number, *_ in wire.losses]

    assert lost(98_001, 200_000) == []
    short = lost(1000, 10_000)
    # Twenty kilobytes at most, and one is being sent.
    assert 100 - len(short) <= 21
    assert len(short) > 70


def test_red_forgets_its_average_while_the_link_is_idle() -> None:
    queue, rate = Red(1000, 2000, weight=0.5), Rate("10Mbps")
    queue.attach(rate)
    bound(queue, 1)
    for _ in range(3):
        rate.receive(datagram(1000), queue.receive(datagram(1000), 0))
    assert queue.average == 500  # found 0, 0 and 1000 bytes
    queue.receive(datagram(1000), 3 * SERVICE + 2 * SERVICE + 1)  # idle for two sendings
    assert queue.average == pytest.approx(500 / 4)


def test_fq_codel_serves_flows_in_turn_and_new_ones_first() -> None:
    # Flow 1 sends four at once; flow 2 sends one later, which overtakes what waits.
    times = (0, 0, 0, 0, 100)
    wire = Wire(FqCoDel(quantum=1000), Rate("10Mbps")).send(*times, size=1000, ports=(1, 1, 1, 1, 2))
    assert [number for number, _ in wire.arrivals] == [1, 5, 2, 3, 4]
    # Two flows that send as much: turns of two datagrams each.
    wire = Wire(FqCoDel(quantum=2000), Rate("10Mbps")).send(*[0] * 8, size=1000, ports=(1, 2))
    assert [(number - 1) % 2 for number, _ in wire.arrivals] == [0, 0, 1, 1, 0, 0, 1, 1]


def test_fq_codel_makes_room_at_the_expense_of_the_fattest_flow() -> None:
    wire = Wire(FqCoDel(packets=3), Rate("10Mbps")).send(*range(6), size=1000, ports=(1, 1, 1, 1, 1, 2))
    assert [(number, reason) for number, *_, reason in wire.losses] == [(2, "queue full"), (3, "queue full")]
    assert sorted(number for number, _ in wire.arrivals) == [1, 4, 5, 6]


def test_fq_codel_drops_half_of_the_fattest_flow_at_once_and_64_at_most() -> None:
    wire = Wire(FqCoDel(packets=20), Rate("10Mbps")).send(*range(22), size=1000)
    assert [number for number, *_ in wire.losses] == list(range(2, 12))
    wire = Wire(FqCoDel(packets=200), Rate("10Mbps")).send(*range(202), size=1000)
    assert [number for number, *_, reason in wire.losses if reason == "queue full"] == list(range(2, 66))


@pytest.mark.parametrize("make", [*HOLDING, Pie, lambda: Red(5000, 20_000)])
def test_another_element_behind_does_not_change_what_a_queue_does(make: Callable[[], Queue]) -> None:
    def outcome(*others: Element) -> tuple[object, ...]:
        wire = Wire(make(), Rate("10Mbps"), *others, seed=3).send(*range(0, 500 * MS, SERVICE // 2), size=1000)
        return wire.arrivals, wire.losses

    assert outcome(Loss(0)) == outcome()


@pytest.mark.parametrize("make", HOLDING)
def test_a_queue_that_holds_is_the_only_one_of_its_rate(make: Callable[[], Queue]) -> None:
    name = type(make()).__name__
    with pytest.raises(ValueError, match=f"link a>b: {name} must be the only queue of its Rate"):
        Wire(Rate("1Mbps"), TailDrop(packets=5), make())
    Wire(Rate("1Mbps"), make(), Rate("2Mbps"), TailDrop(packets=5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DropHead(), r"DropHead\(64_000\) in bytes or DropHead\(packets=25\)"),
        (lambda: DropHead(packets=-1), "packets -1: must be an int of at least 0"),
        (lambda: FqCoDel(quantum=0), "quantum 0: must be an int of at least 1"),
        (lambda: Pie(update=0), "update 0: must be above 0"),
        (lambda: Red("30kB", "10kB"), "maximum '10kB': must be above the minimum '30kB'"),
        (lambda: Red(1, 2, 1.5), "probability 1.5: must be a number from 0 to 1"),
        (lambda: Red(1, 2, weight=2), "weight 2: must be a number from 0 to 1"),
        (lambda: CoDel("5"), "its unit must be one of ns"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
