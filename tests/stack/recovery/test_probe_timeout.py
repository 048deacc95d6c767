"""The probe timeout (RFC 9002 section 6.2 and appendix A.8)."""

import pytest

from stack.crypto.packet_protection import TLS_AES_128_GCM_SHA256, make_keys
from stack.recovery.acknowledgments import NEVER
from stack.wire.versions import VERSIONS
from tests.support.loss_bench import MS, SECOND, LossBench


def confirmed() -> LossBench:
    """RTT 100 ms, PTO 100 + 4 * 10 + 25 ms."""
    bench = LossBench()
    bench.recovery.timer.max_ack_delay_ns = 25 * MS
    bench.set_rtt(100 * MS, 10 * MS)
    return bench


@pytest.mark.requirement("rfc9002:6.2.1:5")
@pytest.mark.requirement("rfc9002:6.2:1")
def test_each_expiry_doubles_the_next_and_marks_nothing_lost() -> None:
    bench = confirmed()
    bench.send(0)
    expected = 0
    for count in range(6):
        expected += 165 * MS << count
        at, _ = bench.timeout()
        assert at == expected
        assert bench.stats.packets_lost == 0
        bench.send(at)  # the probe
    assert bench.stats.pto_expired == 6
    assert bench.path.bytes_in_flight == 7 * 1200


@pytest.mark.requirement("rfc9002:6.2.1:4")
def test_the_timer_restarts_with_every_packet_sent_or_acknowledged() -> None:
    bench = confirmed()
    bench.send(0)
    assert bench.recovery.timer.at == 165 * MS
    bench.send(50 * MS)
    assert bench.recovery.timer.at == 215 * MS
    bench.ack(100 * MS, 0)
    # smoothed 100, rttvar 7.5
    assert bench.recovery.timer.at == 50 * MS + (100 + 30 + 25) * MS
    bench.ack(150 * MS, 1)
    assert bench.recovery.timer.at == NEVER


def test_an_acknowledgment_ends_the_backoff() -> None:
    bench = confirmed()
    bench.send(0)
    bench.timeout()
    bench.timeout()
    bench.send(1000 * MS)
    bench.ack(1100 * MS, 1)
    assert bench.recovery.timer.pto_count == 0


def test_packets_that_need_no_ack_set_no_timer() -> None:
    bench = confirmed()
    bench.send(0, eliciting=False)
    assert bench.recovery.timer.at == NEVER


@pytest.mark.requirement("rfc9002:6.2.4:1")
@pytest.mark.requirement("rfc9002:6.2.4:2")
def test_up_to_two_probes_repeat_the_oldest_packets_in_flight() -> None:
    bench = confirmed()
    for _ in range(4):
        bench.send(0)
    assert bench.spaces[2].probes == 0
    _, fates = bench.timeout()
    assert fates == [("lost", 0), ("lost", 1)]  # offered for sending again
    assert bench.spaces[2].probes == 2
    assert bench.path.bytes_in_flight == 4 * 1200


@pytest.mark.requirement("rfc9002:6.2.1:2")
@pytest.mark.parametrize(("initial_at", "handshake_at", "expected"), [(0, 5, 0), (5, 0, 1)])
def test_the_earlier_of_initial_and_handshake_governs(initial_at: int, handshake_at: int, expected: int) -> None:
    bench = LossBench(confirmed=False)
    for at, index in sorted([(initial_at, 0), (handshake_at, 1)]):
        bench.send(at, index=index)
    at, _ = bench.timeout()
    assert at == 999 * MS
    assert [space.probes > 0 for space in bench.spaces] == [expected == 0, expected == 1, False]


@pytest.mark.requirement("rfc9002:6.2.1:3")
def test_application_data_sets_no_timer_before_the_handshake_is_confirmed() -> None:
    bench = LossBench(confirmed=False, is_client=False)
    bench.send(0, index=2)
    assert bench.recovery.timer.at == NEVER
    bench.recovery.timer.handshake_confirmed = True
    bench.recovery.timer.arm(0)
    assert bench.recovery.timer.at == 999 * MS


@pytest.mark.requirement("rfc9002:5.3:1")
def test_the_peers_delay_counts_for_application_data_only() -> None:
    bench = LossBench(confirmed=False)
    bench.recovery.timer.max_ack_delay_ns = 25 * MS
    bench.send(0, index=1)
    assert bench.recovery.timer.at == 999 * MS


@pytest.mark.requirement("rfc9002:6.2.2.1:1")
def test_a_server_that_may_not_send_sets_no_timer() -> None:
    bench = LossBench(confirmed=False, is_client=False, validated=False)
    bench.path.bytes_received, bench.path.bytes_sent = 1200, 3600
    bench.send(0, index=0)
    assert bench.recovery.timer.at == NEVER
    bench.path.bytes_received += 1200
    bench.recovery.timer.arm(5 * SECOND)
    assert bench.recovery.timer.at == 999 * MS  # overdue: fires at once


@pytest.mark.requirement("rfc9002:6.2.2.1:2")
@pytest.mark.requirement("rfc9002:6.2.2.1:3")
@pytest.mark.parametrize("index", [0, 1])
def test_a_client_keeps_the_handshake_alive_with_nothing_in_flight(index: int) -> None:
    bench = LossBench(confirmed=False)
    if index == 1:
        bench.spaces[1].write_keys = make_keys(TLS_AES_128_GCM_SHA256, bytes(32), VERSIONS[1])
    bench.send(0, index=0)
    bench.ack(100 * MS, 0, index=0)
    assert bench.path.bytes_in_flight == 0
    assert bench.recovery.timer.at == 400 * MS  # 100 + 4 * 50 after the ACK
    bench.timeout()
    assert [space.probes for space in bench.spaces] == [2 * (index == 0), 2 * (index == 1), 0]
    assert bench.recovery.timer.at == 400 * MS + 600 * MS


def test_a_client_keeps_backing_off_until_the_server_has_validated_its_address() -> None:
    bench = LossBench(confirmed=False)
    bench.send(0, index=0)
    bench.timeout()
    bench.send(1 * SECOND, index=0)
    bench.ack(2 * SECOND, 1, index=0)
    assert bench.recovery.timer.pto_count == 1
    bench.send(2 * SECOND, index=1)
    bench.ack(3 * SECOND, 0, index=1)
    assert bench.recovery.timer.pto_count == 0


@pytest.mark.requirement("rfc9002:6.2.4:4")
def test_an_initial_timeout_offers_handshake_data_as_well() -> None:
    bench = LossBench(confirmed=False, is_client=False)
    bench.spaces[1].write_keys = make_keys(TLS_AES_128_GCM_SHA256, bytes(32), VERSIONS[1])
    bench.send(0, index=0)
    bench.send(1, index=1, number=7)
    assert bench.timeout()[1] == [("lost", 0), ("lost", 7)]


def test_the_backoff_stops_growing_before_it_leaves_the_range_of_times() -> None:
    bench = confirmed()
    bench.send(0)
    bench.recovery.timer.pto_count = 100
    bench.send(SECOND)
    assert SECOND < bench.recovery.timer.at < NEVER


def test_further_probes_repeat_what_is_further_on_and_begin_again_at_the_end() -> None:
    bench = LossBench()
    for _ in range(5):
        bench.send(0)
    repeated = []
    for _ in range(4):
        bench.fates.clear()
        bench.recovery.on_timeout(bench.recovery.timer.at)
        repeated.append([number for fate, number in bench.fates])
    assert repeated == [[0, 1], [2, 3], [4], [1, 2]]
