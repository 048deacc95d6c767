"""Token buckets, changing rates, traces, outages, corruption: to the nanosecond, and by their closed forms."""

from collections.abc import Callable

import pytest

from links import (
    DROPPED,
    Blackout,
    Corrupt,
    Element,
    Loss,
    Outages,
    Policer,
    RateSchedule,
    Suspension,
    TailDrop,
    TokenBucket,
    Trace,
)
from links.traces import TRACES
from tests.links_validation import rate
from tests.links_validation.report import Validation
from tests.support.wire import Wire, bound, datagram, fates

MS = 1_000_000
S = 1_000_000_000


@pytest.mark.parametrize("validation", rate.VALIDATIONS)
def test_figures_are_those_of_the_closed_form(validation: Validation) -> None:
    rows = list(validation(20_000))
    assert rows
    assert [row for row in rows if not row.ok] == []


def leave(element: Element, *times: int, size: int = 1000) -> list[int]:
    """When datagrams leave that come at these times."""
    bound(element)
    return [element.receive(datagram(size), at) for at in times]


def test_a_token_bucket_lets_a_burst_go_at_once_and_then_the_rate() -> None:
    # 2500 bytes at first; 1000 bytes take 0.8 ms at 10 Mbit/s.
    expected = [0, 0, 400_000, 1_200_000]
    assert leave(TokenBucket("10Mbps", 2500), 0, 0, 0, 0) == expected
    assert leave(TokenBucket("10Mbps", 2500), 0, 0, 0, 0, 5 * MS, 5 * MS, 5 * MS)[4:] == [5 * MS, 5 * MS, 5_400_000]


def test_a_token_bucket_never_drifts() -> None:
    last = leave(TokenBucket(7_000_003, 1201), *[0] * 10_000, size=1201)[-1]
    assert last == -(-9_999 * 1201 * 8 * S // 7_000_003)


def test_a_token_bucket_counts_overhead_and_drops_what_could_never_pass() -> None:
    wire = Wire(TokenBucket("10Mbps", 1029, overhead=30)).send(0, size=1000)
    assert wire.losses == [(1, 0, "a>b/TokenBucket", "larger than the bucket")]
    assert len(Wire(TokenBucket("10Mbps", 1030, overhead=30)).send(0, size=1000).arrivals) == 1


def test_a_queue_feeds_a_token_bucket() -> None:
    # The first leaves at once, the second waits for tokens, two more in the queue.
    wire = Wire(TailDrop(packets=2), TokenBucket("10Mbps", 1000)).send(*[0] * 6, size=1000)
    assert wire.arrivals == [(1, 0), (2, 800_000), (3, 1_600_000), (4, 2_400_000)]
    assert {reason for *_, reason in wire.losses} == {"queue full"}


def test_tail_drop_by_time_drops_what_would_wait_longer() -> None:
    wire = Wire(TailDrop(wait="1600us"), TokenBucket("10Mbps", 1000)).send(*[0] * 6, size=1000)
    assert [number for number, _ in wire.arrivals] == [1, 2, 3, 4]


def test_a_policer_drops_what_a_token_bucket_would_delay() -> None:
    assert leave(Policer("10Mbps", 2500), 0, 0, 0, 400_000, 400_000) == [0, 0, DROPPED, 400_000, DROPPED]
    assert leave(Policer("10Mbps", 1029, overhead=30), 0, S) == [DROPPED, DROPPED]


def test_a_datagram_on_its_way_goes_on_at_the_new_rate() -> None:
    # 8000 bits: 5000 at 10 Mbit/s until 0.5 ms, 3000 at 1 Mbit/s; the next one 8000 at 1 Mbit/s.
    steps = [("0s", "10Mbps"), ("500us", "1Mbps")]
    assert leave(RateSchedule(steps), 0, 0, 20 * MS) == [3_500_000, 11_500_000, 28 * MS]


def test_a_schedule_with_a_period_starts_again_also_after_rest() -> None:
    steps = [("0s", "8Mbps"), ("10ms", "1Mbps")]
    times = (0, 10 * MS, 20 * MS, 1000 * MS, 1015 * MS)
    assert leave(RateSchedule(steps, "20ms"), *times) == [MS, 18 * MS, 21 * MS, 1001 * MS, 1_020_375_000]


def test_a_trace_gives_opportunities_that_small_datagrams_share_and_large_ones_add_up() -> None:
    assert leave(Trace([1, 1, 3, 10]), *[0] * 6, size=750) == [MS, MS, MS, MS, 3 * MS, 3 * MS]
    assert leave(Trace([1, 1, 3, 10]), *[0] * 3, size=1600) == [MS, 3 * MS, 10 * MS]
    assert leave(Trace("1\n1\n3\n10\n", overhead=30), *[0] * 3, size=1470) == [MS, MS, 3 * MS]


def test_a_trace_starts_again_at_its_last_millisecond() -> None:
    assert leave(Trace([2, 5]), *[0] * 5, size=1500) == [2 * MS, 5 * MS, 7 * MS, 10 * MS, 12 * MS]


def test_an_opportunity_of_a_trace_that_nobody_waits_for_is_lost() -> None:
    # At 2 ms itself it is too late for 2 ms; what a small datagram leaves over of 7 ms is gone at 7.5 ms.
    assert leave(Trace([2, 5]), 2 * MS, 6 * MS, 7_500_000, 1000 * MS, size=100) == [5 * MS, 7 * MS, 10 * MS, 1002 * MS]


@pytest.mark.parametrize("name", TRACES)
def test_the_traces_that_come_along_ascend_and_last_whole_seconds(name: str) -> None:
    trace = Trace(name)
    assert trace.period % 1000 == 0
    assert list(trace.times) == sorted(trace.times)
    assert 1_000 < len(trace.times) / (trace.period / 1000) * 12 < 200_000  # kbit/s


def test_blackouts_come_at_their_times() -> None:
    once = Blackout("5s", "2s")
    assert leave(once, 5 * S - 1, 5 * S, 7 * S - 1, 7 * S, 12 * S) == [5 * S - 1, DROPPED, DROPPED, 7 * S, 12 * S]
    again = Blackout("3s", "2s", period="5s")
    assert leave(again, 0, 3 * S, 5 * S, 8 * S, 10 * S - 1, 10 * S) == [0, DROPPED, 5 * S, DROPPED, DROPPED, 10 * S]


def test_suspension_keeps_all_for_its_end() -> None:
    element = Suspension("10ms", "5ms", period="50ms")
    times = (9 * MS, 10 * MS, 12 * MS, 15 * MS, 61 * MS)
    assert leave(element, *times) == [9 * MS, 15 * MS, 15 * MS, 15 * MS, 65 * MS]
    assert element.suspended == 3
    assert [number for number, _ in Wire(Suspension(0, "5ms")).send(0, 1, 2).arrivals] == [1, 2, 3]


def test_outages_do_not_depend_on_the_traffic() -> None:
    often, seldom = bound(Outages("50ms", "50ms"), 5), bound(Outages("50ms", "50ms"), 5)
    fate = {at: often.receive(datagram(), at) for at in range(0, 5000 * MS, MS)}
    assert {at: seldom.receive(datagram(), at) for at in range(0, 5000 * MS, 7 * MS)}.items() <= fate.items()
    assert 1500 < often.dropped["outage"] < 3500


def changed(element: Element, count: int = 200, size: int = 100) -> list[tuple[bytes, bytes]]:
    """What datagrams were and have become, of those that the element changed."""
    bound(element)
    pairs = []
    for number in range(count):
        packet = datagram(size)
        original = packet.payload
        assert element.receive(packet, number) == number
        assert packet.size == len(packet.payload)
        if packet.payload != original:
            pairs.append((original, packet.payload))
    return pairs


def test_corruption_flips_so_many_bits() -> None:
    element = Corrupt(0.5, "bits", 3)
    pairs = changed(element)
    assert 70 < len(pairs) == element.corrupted < 130
    for original, now in pairs:
        assert (int.from_bytes(original) ^ int.from_bytes(now)).bit_count() == 3
    assert all(now == b"\xff\xff" for _, now in changed(Corrupt(1, "bits", 99), size=2)), "as many as there are"


def test_corruption_changes_so_many_of_the_first_bytes() -> None:
    pairs = changed(Corrupt(1, "bytes", 2, within=10))
    assert len(pairs) == 200
    for original, now in pairs:
        assert sum(one != other for one, other in zip(original, now, strict=True)) == 2
        assert now[10:] == original[10:]


def test_corruption_cuts_off_the_end() -> None:
    lengths = {len(now) for _, now in changed(Corrupt(1, "truncate"))}
    assert (min(lengths), max(lengths)) == (0, 99)
    assert max(len(now) for _, now in changed(Corrupt(1, "truncate", within=10))) == 9
    element = Corrupt(1, "truncate")
    assert changed(element, size=0) == []
    assert element.corrupted == 0


def test_corruption_in_capped_bursts_hits_as_capped_loss_does() -> None:
    element = bound(Corrupt(1, "bytes", burst=3))
    hit = []
    for number in range(1, 10):
        packet = datagram(100)
        element.receive(packet, number)
        hit += [number] if any(packet.payload) else []
    assert hit == [1, 2, 3, 5, 6, 7, 9]


@pytest.mark.parametrize("make", [lambda: Outages("20ms", "20ms"), lambda: Corrupt(0.3)])
def test_another_element_in_front_does_not_shift_draws(make: Callable[[], Element]) -> None:
    def outcome(*others: Element) -> tuple[object, ...]:
        element = make()
        wire = Wire(*others, element, seed=3).send(*range(0, 300 * MS, MS))
        return wire.arrivals, getattr(element, "corrupted", 0)

    assert outcome(Loss(0), Policer("1Gbps", "1MB")) == outcome()


def test_reasons_of_drops() -> None:
    assert fates(Blackout(0, "1s"), 2) == [1, 2]
    policer, blackout = Policer("10Mbps", 1), Blackout(0, "1s")
    wire = Wire(policer).send(0)
    assert wire.losses == [(1, 0, "a>b/Policer", "policed")]
    assert Wire(blackout).send(0).losses == [(1, 0, "a>b/Blackout", "blackout")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenBucket("1Mbps", 0), "burst 0: must be above 0 bytes"),
        (lambda: Policer("1Mbps", "0kB"), "burst '0kB': must be above 0 bytes"),
        (lambda: RateSchedule([]), "must ascend from 0"),
        (lambda: RateSchedule([(1, "1Mbps")]), "times 1 ns, period None: must ascend from 0"),
        (lambda: RateSchedule([(0, "1Mbps"), (5, "1Mbps")], 5), "times 0, 5 ns, period 5: must ascend from 0"),
        (lambda: RateSchedule(["1Mbps"]), "must be a time and a rate"),  # type: ignore[list-item]  # what is refused
        (lambda: Trace("lte4"), "trace: must be one of lte, 5g, leo, wifi, or lines of milliseconds"),
        (lambda: Trace([3, 2]), "must be milliseconds from 0 in ascending order"),
        (lambda: Trace([0]), "the last of them above 0"),
        (lambda: Trace(""), "must be milliseconds from 0"),
        (lambda: Blackout(0, 0), "duration 0: must be above 0"),
        (lambda: Suspension(0, "2s", "2s"), "period '2s': must be longer than the duration '2s'"),
        (lambda: Outages(0, 1), "means must be above 0"),
        (lambda: Corrupt(0.5, "byte"), "mode 'byte' of corruption: must be one of bits, bytes, truncate"),
        (lambda: Corrupt(0.5, count=0), "count 0: must be an int of at least 1"),
        (lambda: Corrupt(0.5, within=0), "within 0: must be an int of at least 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
