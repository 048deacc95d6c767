"""Loss detection by packet and time threshold, and RTT samples (RFC 9002 sections 5.1 and 6.1)."""

import pytest

from stack.errors import PROTOCOL_VIOLATION, TransportError
from stack.recovery.acknowledgments import NEVER
from tests.support.loss_bench import MS, SIZE, LossBench


@pytest.fixture
def bench() -> LossBench:
    """RTT 100 ms, so that the time threshold is 112.5 ms."""
    bench = LossBench()
    bench.set_rtt(100 * MS, 10 * MS)
    return bench


@pytest.mark.requirement("rfc9002:6.1.1:1")
@pytest.mark.requirement("rfc9002:6.1.1:2")
def test_three_packets_later_is_lost_and_two_is_not(bench: LossBench) -> None:
    for now in range(4):
        bench.send(now)
    assert bench.ack(100 * MS, 2) == [("acked", 2)]
    assert bench.ack(100 * MS, 3, 2) == [("acked", 3), ("lost", 0)]


@pytest.mark.requirement("rfc9002:6.1.2:1")
@pytest.mark.requirement("rfc9002:6.1.2:3")
@pytest.mark.requirement("rfc9002:6.1.2:4")
@pytest.mark.requirement("rfc9002:6.2.1:6")
def test_a_gap_is_lost_nine_eighths_of_an_rtt_after_it_was_sent(bench: LossBench) -> None:
    bench.send(0)
    bench.send(1 * MS)
    bench.ack(101 * MS, 1)
    assert bench.recovery.timer.at == 112_500_000
    assert bench.timeout() == (112_500_000, [("lost", 0)])
    assert bench.recovery.timer.at == NEVER
    assert bench.path.bytes_in_flight == 0
    assert bench.stats.pto_expired == 0


def test_the_time_threshold_is_checked_when_the_ack_arrives(bench: LossBench) -> None:
    bench.send(0)
    bench.send(99 * MS)
    assert bench.ack(199 * MS, 1) == [("acked", 1), ("lost", 0)]


def test_nothing_after_the_largest_acknowledged_is_lost(bench: LossBench) -> None:
    for _ in range(10):
        bench.send(0)
    assert bench.ack(1000 * MS, 0) == [("acked", 0)]


def test_a_late_acknowledgment_saves_a_packet_that_was_not_yet_lost(bench: LossBench) -> None:
    bench.send(0)
    bench.send(1 * MS)
    bench.ack(101 * MS, 1)
    assert bench.ack(105 * MS, (0, 1)) == [("acked", 0)]
    assert bench.recovery.timer.at == NEVER


def test_each_packet_is_acknowledged_once_whatever_is_acknowledged_again(bench: LossBench) -> None:
    for _ in range(6):
        bench.send(0)
    bench.ack(100 * MS, 5)
    assert bench.lost() == [0, 1, 2]
    assert sorted(bench.ack(101 * MS, (0, 5))) == [("acked", number) for number in range(5)]
    assert bench.ack(102 * MS, (0, 5)) == []
    assert bench.path.bytes_in_flight == 0
    assert bench.stats.packets_lost == bench.stats.packets_lost_spuriously == 3
    assert bench.stats.bytes_lost == 3 * SIZE


def test_an_older_ack_that_arrives_late_does_no_harm(bench: LossBench) -> None:
    for _ in range(6):
        bench.send(0)
    bench.ack(100 * MS, (3, 4))
    assert bench.lost() == [0, 1]
    assert bench.ack(101 * MS, 2) == [("acked", 2)]
    assert bench.ack(102 * MS, 5) == [("acked", 5)]


@pytest.mark.requirement("rfc9000:13.1:2")
@pytest.mark.parametrize("largest", [2, 3, 1 << 61])
def test_an_ack_of_a_packet_never_sent_is_a_protocol_violation(bench: LossBench, largest: int) -> None:
    bench.send(0)
    bench.send(0)
    with pytest.raises(TransportError) as caught:
        bench.ack(1, (0, largest))
    assert caught.value.code == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:13.3:7")
def test_a_loss_halves_the_window(bench: LossBench) -> None:
    before = bench.path.congestion.congestion_window
    for now in range(4):
        bench.send(now + 1)
    bench.ack(100 * MS, 3)
    assert bench.path.congestion.congestion_window == before // 2
    assert bench.stats.congestion_events == 1


def test_lost_packets_that_were_not_in_flight_do_not_count(bench: LossBench) -> None:
    bench.send(0, eliciting=False)
    for _ in range(3):
        bench.send(0)
    window = bench.path.congestion.congestion_window
    bench.ack(100 * MS, 3)
    assert bench.lost() == [0]
    assert bench.path.congestion.congestion_window >= window
    assert bench.stats.packets_lost == 0


@pytest.mark.requirement("rfc9002:7.4:2")
@pytest.mark.parametrize("index", [1, 2])
def test_a_loss_after_the_first_acknowledged_packet_counts_before_the_handshake_is_confirmed(index: int) -> None:
    bench = LossBench(confirmed=False)
    bench.set_rtt(100 * MS, 10 * MS, at=0)
    for now in range(5):
        bench.send(now + 1, index=index)
    window = bench.path.congestion.congestion_window
    bench.ack(100 * MS, 0, index=index)
    bench.ack(101 * MS, 4, index=index)
    assert bench.lost() == [1]
    assert bench.path.congestion.congestion_window < window
    assert bench.stats.congestion_events == 1


# RTT samples


@pytest.mark.requirement("rfc9002:5.1:1")
def test_a_sample_needs_the_largest_to_be_newly_acknowledged(bench: LossBench) -> None:
    bench.send(0)
    bench.send(0)
    bench.ack(80 * MS, 1)
    assert bench.path.rtt.latest_rtt_ns == 80 * MS
    bench.ack(95 * MS, (0, 1))
    assert bench.path.rtt.latest_rtt_ns == 80 * MS


@pytest.mark.requirement("rfc9002:5.1:2")
def test_a_sample_needs_a_packet_that_asked_for_the_ack(bench: LossBench) -> None:
    bench.send(0, eliciting=False)
    bench.ack(300 * MS, 0)
    assert bench.path.rtt.latest_rtt_ns == 100 * MS
    bench.send(300 * MS)
    bench.send(310 * MS, eliciting=False)
    bench.ack(400 * MS, (1, 2))
    assert bench.path.rtt.latest_rtt_ns == 90 * MS


@pytest.mark.requirement("rfc9002:5.3:5")
@pytest.mark.requirement("rfc9002:5.3:4")
@pytest.mark.parametrize(("confirmed", "adjusted"), [(True, 175), (False, 150)])
def test_the_reported_delay_is_limited_once_the_handshake_is_confirmed(confirmed: bool, adjusted: int) -> None:
    bench = LossBench(confirmed=confirmed)
    bench.recovery.timer.max_ack_delay_ns = 25 * MS
    bench.set_rtt(100 * MS, 10 * MS)
    bench.send(0)
    bench.ack(200 * MS, 0, delay=50 * MS)
    assert bench.path.rtt.smoothed_rtt_ns == (7 * 100 + adjusted) * MS // 8


@pytest.mark.requirement("rfc9002:5.3:3")
def test_delays_reported_for_initial_packets_are_ignored() -> None:
    bench = LossBench(confirmed=False)
    bench.set_rtt(100 * MS, 10 * MS)
    bench.send(0, index=0)
    bench.ack(200 * MS, 0, index=0, delay=50 * MS)
    assert bench.path.rtt.smoothed_rtt_ns == (7 * 100 + 200) * MS // 8


# Discarding


@pytest.mark.requirement("rfc9002:6.4:1")
@pytest.mark.requirement("rfc9002:6.2.2:4")
def test_discarded_spaces_leave_nothing_in_flight_and_reset_the_timer() -> None:
    bench = LossBench(confirmed=False)
    bench.send(0, index=0)
    bench.send(0, index=1)
    bench.timeout()
    assert bench.recovery.timer.pto_count == 1
    bench.recovery.discard(bench.spaces[0], 2000 * MS)
    assert bench.path.bytes_in_flight == SIZE
    assert bench.recovery.timer.pto_count == 0
    assert bench.recovery.timer.at == 999 * MS  # that of the Handshake packet
    bench.recovery.discard(bench.spaces[1], 2000 * MS)
    assert bench.path.bytes_in_flight == 0
