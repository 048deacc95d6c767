"""Persistent congestion (RFC 9002 section 7.6)."""

import pytest

from stack.recovery.sent import SentPacket
from tests.support.loss_bench import MS, SECOND, SIZE, LossBench

MINIMUM_WINDOW = 2 * SIZE


def example() -> LossBench:
    """The state of RFC 9002 section 7.6.3's example just before t = 12.2 s: packets 1 to 9 sent, 1 acknowledged.

    The variation is such that the PTO is 2 s once the sample of packet 9 is in: 0.2 + 4 * 0.375 + 0.3.
    """
    bench = LossBench()
    bench.recovery.timer.max_ack_delay_ns = 300 * MS
    bench.set_rtt(200 * MS, 0, at=-1)
    bench.send(0, number=1)
    bench.send(1 * SECOND)
    bench.ack(1200 * MS, 1)
    for at in (2, 3, 4, 5, 6, 8, 12):
        bench.send(at * SECOND)
    bench.path.rtt.smoothed_rtt_ns = 200 * MS
    bench.path.rtt.rttvar_ns = 500 * MS
    return bench


@pytest.mark.requirement("rfc9002:7.6.2:5")
@pytest.mark.requirement("rfc9002:7.6.1:1")
@pytest.mark.requirement("rfc9002:5.2:3")
def test_the_example_of_the_rfc() -> None:
    bench = example()
    bench.path.rtt.min_rtt_ns = 100 * MS
    bench.path.app_limited = True  # so that packet 9 does not open the window again at once
    bench.ack(12_200 * MS, 9)
    assert bench.path.rtt.pto_ns(300 * MS) == 2 * SECOND
    assert bench.lost() == [2, 3, 4, 5, 6, 7, 8]
    assert bench.stats.persistent_congestion_events == 1
    assert bench.path.congestion.congestion_window == MINIMUM_WINDOW
    assert bench.path.rtt.min_rtt_ns == 200 * MS


@pytest.mark.parametrize("between", [4, 5, 6])
def test_an_acknowledgment_in_between_shows_that_it_was_not_persistent(between: int) -> None:
    bench = example()
    bench.ack(12_200 * MS, 9, between)
    assert bench.lost() == [number for number in range(2, 9) if number != between]
    assert bench.stats.persistent_congestion_events == 0
    assert bench.path.congestion.congestion_window > MINIMUM_WINDOW


def test_an_acknowledgment_in_between_counts_even_when_it_came_earlier() -> None:
    bench = example()
    bench.ack(12_100 * MS, 5)
    bench.path.rtt.rttvar_ns = 0  # a much shorter PTO would make two runs of 2 and 3 s persistent
    bench.path.rtt.smoothed_rtt_ns = 1000 * MS
    bench.ack(12_200 * MS, 9)
    assert bench.stats.persistent_congestion_events == 0


@pytest.mark.parametrize(("last_ms", "persistent"), [(7_000, True), (6_999, False)])
def test_the_period_must_reach_three_timeouts(last_ms: int, persistent: bool) -> None:
    bench = LossBench()
    bench.recovery.timer.max_ack_delay_ns = 300 * MS
    bench.set_rtt(200 * MS, 500 * MS, at=0)
    bench.send(1 * SECOND)
    bench.send(last_ms * MS)
    bench.send(12 * SECOND)
    bench.ack(12_200 * MS, 2)
    assert bench.path.rtt.pto_ns(300 * MS) == 2 * SECOND
    assert bench.lost() == [0, 1]
    assert bool(bench.stats.persistent_congestion_events) == persistent


@pytest.mark.requirement("rfc9002:7.6.2:2")
def test_packets_sent_before_the_first_sample_do_not_count() -> None:
    bench = LossBench()
    bench.send(0)
    bench.send(20 * SECOND)
    bench.send(30 * SECOND)
    bench.ack(30_200 * MS, 2)
    assert bench.lost() == [0, 1]
    assert bench.stats.persistent_congestion_events == 0


@pytest.mark.requirement("rfc9002:7.6.2:1")
def test_the_period_runs_between_packets_that_asked_for_an_ack() -> None:
    for eliciting, persistent in ((True, 1), (False, 0)):
        bench = LossBench()
        bench.set_rtt(200 * MS, 50 * MS, at=0)
        space = bench.spaces[2]
        bench.send(1 * SECOND)
        for number, at in ((1, 2), (2, 12)):
            # padding alone: in flight, and nobody has to acknowledge it
            packet = SentPacket(number, at * SECOND, SIZE, eliciting, True, [(bench, number)], bench.path)
            space.next_packet_number = number + 1
            bench.recovery.on_packet_sent(space, packet)
        bench.send(13 * SECOND)
        bench.ack(13_500 * MS, 3)
        assert bench.lost() == [0, 1, 2]
        assert bench.stats.persistent_congestion_events == persistent


def test_a_run_of_losses_may_be_found_out_step_by_step() -> None:
    bench = LossBench()
    bench.set_rtt(200 * MS, 50 * MS, at=0)
    for at in (1, 2, 3, 4, 5, 6):
        bench.send(at * SECOND)
    bench.send(6_100 * MS)
    bench.ack(6_150 * MS, 6)
    assert bench.lost() == [0, 1, 2, 3, 4]  # the sixth is too young
    assert bench.stats.persistent_congestion_events == 1
    bench.timeout()
    assert bench.lost() == [5]


# Several packet number spaces


def two_spaces() -> LossBench:
    """Handshake and application data of a connection that is not confirmed; the PTO is 100 + 4 * 50 ms."""
    bench = LossBench(confirmed=False)
    bench.set_rtt(100 * MS, 50 * MS, at=0)
    return bench


def lose(bench: LossBench, index: int, *sent_at_ms: int) -> None:
    """Send packets in a space and lose them, found out at 3 s by a later one that arrives, without an RTT sample."""
    for at in sent_at_ms:
        bench.send(at * MS, index=index)
    number = bench.send(3000 * MS, index=index, eliciting=False)
    bench.ack(3100 * MS, number, index=index)
    assert len(bench.lost()) == len(sent_at_ms)


@pytest.mark.requirement("rfc9002:7.6.2:3")
@pytest.mark.parametrize(("last_ms", "persistent"), [(1900, 1), (1899, 0)])
def test_losses_of_several_spaces_make_one_run(last_ms: int, persistent: int) -> None:
    bench = two_spaces()
    lose(bench, 1, 1000)
    assert bench.stats.persistent_congestion_events == 0
    lose(bench, 2, last_ms)
    assert bench.stats.persistent_congestion_events == persistent


@pytest.mark.requirement("rfc9002:7.6.2:3")
@pytest.mark.parametrize(("acked_ms", "persistent"), [(999, 1), (1000, 1), (1500, 0), (1999, 0), (2000, 1), (2500, 1)])
def test_an_acknowledgment_of_another_space_breaks_a_run(acked_ms: int, persistent: int) -> None:
    """Losses at 1.0 and 2.0 s, and a packet of the other space that arrived, sent before, between or after."""
    bench = two_spaces()
    number = bench.send(acked_ms * MS, index=1, eliciting=False)
    bench.ack(2600 * MS, number, index=1)
    lose(bench, 2, 1000, 2000)
    assert bench.stats.persistent_congestion_events == persistent


@pytest.mark.parametrize(("acked_ms", "persistent"), [(900, 1), (1500, 0)])
def test_what_discarded_spaces_have_shown_still_counts(acked_ms: int, persistent: int) -> None:
    """The loss at 2.0 s is found out by time, after the handshake's spaces are gone."""
    bench = two_spaces()
    number = bench.send(acked_ms * MS, index=1, eliciting=False)
    for at in (1000, 2000):
        bench.send(at * MS)
    bench.ack(2015 * MS, bench.send(2010 * MS, eliciting=False))
    assert bench.lost() == [0]
    bench.ack(2020 * MS, number, index=1)
    for space in bench.spaces[:2]:
        bench.recovery.discard(space, 2030 * MS)
    bench.timeout()
    assert bench.lost() == [1]
    assert bench.stats.persistent_congestion_events == persistent
