"""The idle timeout, to the nanosecond (RFC 9000 section 10.1)."""

from functools import partial

import pytest

from stack.connection import Connection
from stack.errors import ConnectionClosed
from stack.events import ConnectionEnded
from stack.idle import IdleTimer
from stack.recovery.acknowledgments import NEVER
from tests.support.pair import MS, SECOND, Pair

IDLE = ConnectionEnded(0, "idle timeout", application=False, remote=False, idle=True)


def ended(pair: Pair, connection: Connection) -> bool:
    return IDLE in pair.events_of(connection)


@pytest.mark.parametrize(
    ("local", "peer", "expected_ms"), [(0, 0, 0), (0, 700, 700), (700, 0, 700), (500, 700, 500), (700, 500, 500)]
)
def test_the_smaller_timeout_counts_and_zero_is_none(local: int, peer: int, expected_ms: int) -> None:
    timer = IdleTimer(1, 0)
    timer.negotiate(local, peer)
    assert timer.timeout_ns == expected_ms * MS
    assert timer.expires_at(0) == (expected_ms * MS or NEVER)


@pytest.mark.requirement("rfc9000:10.1:1")
def test_three_probe_timeouts_are_the_least() -> None:
    timer = IdleTimer(100 * MS, 7)
    assert timer.expires_at(33 * MS) == 7 + 100 * MS
    assert timer.expires_at(50 * MS) == 7 + 150 * MS


def test_only_the_first_packet_sent_after_one_was_received_restarts_the_timer() -> None:
    timer = IdleTimer(100, 0)
    timer.on_eliciting_sent(10)
    timer.on_eliciting_sent(20)
    assert timer.expires_at(0) == 110
    timer.on_received(50)
    assert timer.expires_at(0) == 150
    timer.on_eliciting_sent(60)
    timer.on_eliciting_sent(70)
    assert timer.expires_at(0) == 160


def test_a_quiet_connection_ends_exactly_the_timeout_after_the_last_packet() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 2000})
    client, server = pair.established()
    last = {
        connection: max(packet.at for packet in pair.recorder_of(connection).received)
        for connection in (client, server)
    }
    for connection in sorted(last, key=lambda each: last[each]):
        pair.run(partial(ended, pair, connection))
        assert pair.now == last[connection] + 2 * SECOND
    assert not pair.client.connections
    assert not pair.server.connections
    assert pair.next_at() is None
    with pytest.raises(ConnectionClosed, match="idle timeout"):
        client.open_stream()


def test_a_sender_whose_peer_is_gone_gives_up_the_timeout_after_its_first_try() -> None:
    pair = Pair(server={"max_idle_timeout_ms": 5000})
    client, _ = pair.established()
    pair.drop = lambda datagram: datagram.to_server
    pair.run_for(1 * SECOND)
    start = pair.now
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"anybody there?")
    pair.run(lambda: ended(pair, client))
    assert pair.now == start + 5 * SECOND
    assert client.stats.pto_expired > 3
    assert not any(datagram.at > pair.now for datagram in pair.sent)


def test_nothing_is_sent_when_a_connection_times_out() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 2000})
    client, _ = pair.established()
    before = len(pair.sent)
    pair.run_for(10 * SECOND)
    assert client.closed
    assert len(pair.sent) == before


def test_without_a_timeout_on_either_side_a_connection_stays_forever() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 0}, server={"max_idle_timeout_ms": 0})
    client, server = pair.established()
    assert pair.next_at() is None
    pair.run_for(10**9 * SECOND)
    assert pair.transfer(client, server, b"still here")[1] == b"still here"


def test_traffic_keeps_a_connection_alive() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 2000})
    client, server = pair.established()
    for _ in range(20):
        pair.run_for(1200 * MS)
        pair.transfer(client, server, b"tick")
    assert not client.closed
    assert not server.closed


def test_a_client_without_an_answer_gives_up_after_its_own_timeout() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 3500}, drop=lambda datagram: True)
    client = pair.connect()
    pair.run(lambda: ended(pair, client))
    assert pair.now == 3500 * MS
    times = [datagram.at // MS for datagram in pair.sent]
    assert sorted(set(times)) == [0, 999, 2997]
