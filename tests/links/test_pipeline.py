"""Elements together: order in the list, queues and their rates, events only where they are needed."""

from random import Random

import pytest

from links import (
    Delay,
    Element,
    Jitter,
    Loss,
    LossNth,
    Pipeline,
    Rate,
    Reorder,
    ReorderDepth,
    TailDrop,
    Tap,
)
from tests.support.wire import Wire

MS = 1_000_000


def test_no_elements_no_delay() -> None:
    assert Wire().send(5).arrivals == [(1, 5)]


def test_rate_and_delay_add_up_without_an_event_between() -> None:
    wire = Wire(Rate("10Mbps"), Delay("25ms")).send(0, 0)
    assert wire.arrivals == [(1, 25_960_000), (2, 26_920_000)]
    assert wire.scheduled == 0


@pytest.mark.parametrize("rate_first", [True, False])
def test_tail_drop_bounds_what_waits_for_its_rate_on_either_side_of_it(rate_first: bool) -> None:
    elements: list[Element] = [Rate("10Mbps"), TailDrop(2400)]
    wire = Wire(*(elements if rate_first else reversed(elements))).send(0, 0, 0, 0, 960_000, 960_000)
    # The first is being sent, two wait, the fourth is one too many; at 960 us one of the two has started.
    assert wire.arrivals == [(1, 960_000), (2, 1_920_000), (3, 2_880_000), (5, 3_840_000)]
    assert wire.losses == [(4, 0, "a>b/TailDrop", "queue full"), (6, 960_000, "a>b/TailDrop", "queue full")]


def test_tail_drop_by_packets_counts_neither_bytes_nor_the_one_being_sent() -> None:
    wire = Wire(Rate("10Mbps", overhead=30), TailDrop(packets=25)).send(*[0] * 30)
    assert [number for number, _ in wire.arrivals] == list(range(1, 27))
    assert wire.arrivals[-1] == (26, 26 * 984_000)


def test_tail_drop_takes_both_limits_and_counts_bytes_on_the_wire() -> None:
    assert len(Wire(Rate("10Mbps", overhead=30), TailDrop(2459)).send(0, 0, 0).arrivals) == 2
    assert len(Wire(Rate("10Mbps", overhead=30), TailDrop(2460)).send(0, 0, 0).arrivals) == 3
    assert len(Wire(Rate("10Mbps"), TailDrop(10_000, packets=1)).send(0, 0, 0).arrivals) == 2


def test_a_rate_alone_queues_without_bound() -> None:
    assert len(Wire(Rate("1Mbps")).send(*[0] * 5000).arrivals) == 5000


def test_queue_length_is_sampled_at_exact_times() -> None:
    samples: list[tuple[int, int]] = []
    queue = TailDrop(10_000, on_queue=lambda now, size: samples.append((now, size)))
    Wire(Rate("10Mbps"), queue).send(0, 0, 0, 5 * MS)
    assert samples == [(0, 1200), (0, 2400), (960_000, 1200), (1_920_000, 0)]
    assert (queue.queued_at(6 * MS), queue.max_queued_bytes) == (0, 2400)


def test_each_queue_finds_its_rate() -> None:
    first, second = TailDrop(packets=1), TailDrop(packets=2)
    slow, slower = Rate("10Mbps"), Rate("5Mbps")
    pipeline = Wire(first, slow, second, slower).pipeline
    assert pipeline.elements == [first, slow, second, slower]
    assert (first.server, second.server) == (slow, slower)


@pytest.mark.parametrize(
    "elements", [[TailDrop(1)], [TailDrop(1), Delay(1), Rate(1)], [Rate(1), Delay(1), TailDrop(1)]]
)
def test_a_queue_without_a_rate_beside_it_is_refused(elements: list[Element]) -> None:
    with pytest.raises(ValueError, match="link a>b: TailDrop must stand beside the Rate"):
        Wire(*elements)


def test_tail_drop_without_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"TailDrop\(64_000\) in bytes or TailDrop\(packets=25\)"):
        TailDrop()
    with pytest.raises(ValueError, match="packets = -1: must not be negative"):
        TailDrop(packets=-1)


def test_an_element_serves_one_direction_only() -> None:
    delay = Delay(1)
    Wire(delay)
    with pytest.raises(ValueError, match="Delay is already in use as a>b/Delay"):
        Wire(delay)


def test_loss_behind_a_rate_takes_its_share_of_the_rate() -> None:
    assert Wire(Rate("10Mbps"), LossNth(1)).send(0, 0).arrivals == [(2, 1_920_000)]
    assert Wire(LossNth(1), Rate("10Mbps")).send(0, 0).arrivals == [(2, 960_000)]


def test_a_loss_is_told_with_the_time_at_which_it_happens() -> None:
    wire = Wire(Delay("5ms"), LossNth(1), Delay("5ms")).send(0)
    assert wire.losses == [(1, 5 * MS, "a>b/LossNth", "nth datagram")]


def test_other_elements_do_not_shift_a_loss() -> None:
    times = range(0, 2000 * MS, MS)

    def lost(*elements: Element) -> list[int]:
        return [number for number, *_ in Wire(*elements, seed=3).send(*times).losses]

    alone = lost(Loss(0.1))
    assert len(alone) > 100
    assert lost(Delay("1ms"), Jitter("5ms"), Loss(0.1), Delay("2ms")) == alone
    # Two of a kind draw apart.
    assert len({number for number in lost(Loss(0.1), Loss(0.1)) if number not in alone}) > 50


def test_a_random_stream_is_named_after_kind_and_arguments_or_by_name() -> None:
    streams: list[str] = []

    def rng(name: str) -> Random:
        streams.append(name)
        return Random(name)

    elements = [Loss(0.1), Loss(0.2), Loss(0.1), TailDrop(packets=5), Rate("1Mbps"), Loss(0.1).named("radio")]
    pipeline = Pipeline("a>b", elements, rng=rng, schedule=print, deliver=print, lose=print)
    assert streams == [
        "a>b/Loss(probability_=0.1)",
        "a>b/Loss(probability_=0.2)",
        "a>b/Loss(probability_=0.1)2",
        "a>b/TailDrop(packets=5)",
        "a>b/Rate(rate='1Mbps')",
        "a>b/radio",
    ]
    names = [element.name for element in pipeline.elements]
    assert names == ["a>b/Loss", "a>b/Loss2", "a>b/Loss3", "a>b/TailDrop", "a>b/Rate", "a>b/radio"]
    with pytest.raises(ValueError, match="a>b/Rate is already in use: give it the name 'slow' before"):
        pipeline.elements[4].named("slow")


def test_what_holds_anyway_and_who_looks_on_do_not_name_a_stream() -> None:
    assert Jitter("5ms").identity == Jitter("5ms", reorder=False).identity == "Jitter(spread='5ms')"
    assert TailDrop(5, on_queue=print).identity == TailDrop(5).identity
    assert Reorder(lambda it: it.id == 1, 5).identity == Reorder(lambda it: it.id == 2, 5).identity


def test_jitter_with_reordering_reorders() -> None:
    numbers = [number for number, _ in Wire(Jitter("5ms", reorder=True)).send(*range(0, 100 * MS, MS)).arrivals]
    assert sorted(numbers) == list(range(1, 101)) != numbers


def test_what_is_reordered_meets_the_next_element_in_its_new_order() -> None:
    # Number 1 is held for 5 ms: 2 and 3 are served by the rate before it.
    wire = Wire(Reorder(lambda it: it.id == 1, "5ms"), Rate("10Mbps")).send(0, 1 * MS, 2 * MS)
    assert wire.arrivals == [(2, 1_960_000), (3, 2_960_000), (1, 5_960_000)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reorder_depth_lets_exactly_so_many_pass(depth: int) -> None:
    wire = Wire(Delay("1ms"), ReorderDepth(lambda it: it.id == 2, depth), Delay("1ms")).send(*range(0, 6 * MS, MS))
    numbers = [number for number, _ in wire.arrivals]
    assert numbers.index(2) == 1 + depth
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert dict(wire.arrivals)[2] == dict(wire.arrivals)[2 + depth]


def test_reorder_depth_lets_go_after_its_longest_hold() -> None:
    wire = Wire(ReorderDepth(lambda it: it.id == 1, 3, hold="10ms")).send(0, 1 * MS, 20 * MS, 21 * MS)
    assert wire.arrivals == [(2, 1 * MS), (1, 10 * MS), (3, 20 * MS), (4, 21 * MS)]


def test_a_tap_sees_datagrams_when_the_clock_shows_their_time() -> None:
    seen: list[tuple[int, int, int]] = []
    wire = Wire(Delay("5ms"), Tap(lambda it, now: seen.append((it.id, now, wire.now))))
    wire.send(1, 2)
    assert seen == [(1, 5 * MS + 1, 5 * MS + 1), (2, 5 * MS + 2, 5 * MS + 2)]


def test_counters_add_up() -> None:
    wire = Wire(Rate("10Mbps"), TailDrop(packets=1), LossNth(1)).send(0, 0, 0, size=1000)
    pipeline = wire.pipeline
    assert (pipeline.sent, pipeline.delivered, pipeline.lost) == (3, 1, 2)
    assert (pipeline.sent_bytes, pipeline.delivered_bytes) == (3000, 1000)
    assert [(it.name, it.received, it.forwarded) for it in pipeline.elements] == [
        ("a>b/TailDrop", 3, 2),
        ("a>b/Rate", 2, 2),
        ("a>b/LossNth", 2, 1),
    ]
