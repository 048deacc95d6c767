"""PINGs that keep a connection alive, and what the two ends agree on, to the nanosecond (RFC 9000 section 10.1)."""

from itertools import pairwise
from typing import Any

import pytest

from stack.connection import Connection
from stack.errors import ConfigError, ConnectionClosed
from stack.events import ConnectionEnded
from stack.wire.decoded_frames import AckFrame, PingFrame
from tests.support.pair import MS, SECOND, Pair

MAX_ACK_DELAY = 25 * MS


def pings(pair: Pair, connection: Connection, since: int) -> list[int]:
    sent = pair.recorder_of(connection).sent
    return [packet.at for packet in sent if packet.at >= since and PingFrame() in packet.frames]


def last_received_at(pair: Pair, connection: Connection) -> int:
    return max(packet.at for packet in pair.recorder_of(connection).received)


def ended_at(pair: Pair, connection: Connection) -> int:
    """Run until a connection ends for idleness, and return when."""
    pair.run(lambda: connection.closed)
    (ended,) = (event for event in pair.events_of(connection) if isinstance(event, ConnectionEnded))
    assert ended.idle
    return pair.now


@pytest.mark.parametrize("by_client", [True, False])
def test_a_ping_goes_whenever_nothing_has_happened_for_the_interval(by_client: bool) -> None:
    keep_alive = {"keep_alive_ms": 700, "max_idle_timeout_ms": 2000}
    pair = Pair(client=keep_alive) if by_client else Pair(server=keep_alive)
    client, server = pair.established()
    end, peer = (client, server) if by_client else (server, client)
    since, quiet_since = pair.now, last_received_at(pair, end)
    pair.run_for(20 * SECOND)
    at = pings(pair, end, since)
    assert at[0] == quiet_since + 700 * MS
    round_trip = 2 * pair.delay_ns + MAX_ACK_DELAY
    assert {two - one for one, two in pairwise(at)} == {700 * MS + round_trip}
    assert not client.closed
    assert not server.closed
    assert pings(pair, peer, since) == []


def test_without_keep_alive_nothing_is_sent() -> None:
    pair = Pair()
    pair.established()
    before = len(pair.sent)
    pair.run_for(20 * SECOND)
    assert len(pair.sent) == before


def test_keep_alive_does_not_save_a_connection_whose_peer_is_gone() -> None:
    pair = Pair(client={"keep_alive_ms": 700, "max_idle_timeout_ms": 2000})
    client, _ = pair.established()
    quiet_since = last_received_at(pair, client)
    pair.drop = lambda datagram: True
    assert ended_at(pair, client) == quiet_since + 700 * MS + 2000 * MS


@pytest.mark.parametrize("by_client", [True, False])
def test_a_ping_on_request_is_acknowledged(by_client: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    end, peer = (client, server) if by_client else (server, client)
    start = pair.now
    end.ping()
    pair.run(lambda: last_received_at(pair, end) > start)
    assert pings(pair, end, start) == [start]
    assert pair.now == start + 2 * pair.delay_ns + MAX_ACK_DELAY
    assert any(isinstance(frame, AckFrame) for frame in pair.recorder_of(peer).sent[-1].frames)


def test_a_closed_connection_takes_no_ping() -> None:
    pair = Pair()
    client, _ = pair.established()
    client.close(pair.now)
    with pytest.raises(ConnectionClosed):
        client.ping()


@pytest.mark.parametrize(
    ("client_ms", "server_ms", "effective_ms"),
    [(3000, 2000, 2000), (2000, 3000, 2000), (0, 2000, 2000), (2000, 0, 2000)],
)
def test_both_ends_use_the_smaller_timeout(client_ms: int, server_ms: int, effective_ms: int) -> None:
    pair = Pair(client={"max_idle_timeout_ms": client_ms}, server={"max_idle_timeout_ms": server_ms})
    for connection in sorted(pair.established(), key=lambda each: last_received_at(pair, each)):
        quiet_since = last_received_at(pair, connection)
        assert ended_at(pair, connection) == quiet_since + effective_ms * MS


@pytest.mark.requirement("rfc9000:10.1:1")
def test_the_timeout_is_never_shorter_than_three_probe_timeouts() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 100}, delay_ns=300 * MS)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    pair.run_for(1200 * MS)
    quiet_since, pto = last_received_at(pair, client), client.recovery.timer.pto_ns()
    assert pto > 600 * MS
    assert ended_at(pair, client) == quiet_since + 3 * pto


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_received_restarts_the_timer_and_of_what_is_sent_only_the_first(answers: bool) -> None:
    pair = Pair(client={"max_idle_timeout_ms": 2000})
    client, server = pair.established()
    pair.run_for(SECOND)
    server.ping()
    sent_at = pair.now
    pair.flush()
    pair.drop = lambda datagram: True  # nothing else gets through
    pair.run_until(sent_at + 500 * MS)
    assert last_received_at(pair, client) == sent_at + pair.delay_ns
    if answers:
        client.ping()
        pair.run_for(700 * MS)
        client.ping()
    assert ended_at(pair, client) == sent_at + (500 * MS if answers else pair.delay_ns) + 2 * SECOND


def test_a_negative_interval_is_refused() -> None:
    fields: dict[str, Any] = {"keep_alive_ms": -1}
    with pytest.raises(ConfigError, match="keep_alive_ms = -1: must be from 0"):
        Pair(client=fields)
