"""Whom a server lets in, what it ignores and what it refuses (RFC 9000 section 5.2.2)."""

import pytest

from stack.connection import Connection
from stack.crypto.packet_protection import TLS_AES_128_GCM_SHA256, initial_secrets, make_keys, protect_packet
from stack.errors import CONNECTION_REFUSED, ConfigError
from stack.events import ConnectionAccepted, ConnectionEnded
from stack.wire.header import (
    HANDSHAKE,
    INITIAL,
    ZERO_RTT,
    encode_long_header,
    encode_retry_header,
    encode_version_negotiation,
    parse_long_header,
)
from stack.wire.versions import VERSION_1, VERSION_2, VERSIONS
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Pair


def ended(pair: Pair) -> list[ConnectionEnded]:
    return [event for event in pair.client_events if isinstance(event, ConnectionEnded)]


def assert_refused(pair: Pair, client: Connection) -> None:
    """The client hears in one small Initial packet that it is refused, and the server keeps nothing of it."""
    (data,) = [datagram.payload for datagram in pair.sent if not datagram.to_server and datagram.at == pair.now]
    header = parse_long_header(data, 0, True)
    assert (header.packet_type, header.end) == (INITIAL, len(data))
    assert len(data) < 200
    pair.run_for(pair.delay_ns)
    event = ended(pair)[-1]
    assert (event.code, event.application, event.remote) == (CONNECTION_REFUSED, False, True)
    assert client.closed


@pytest.mark.requirement("rfc9000:5.2.2:5")
@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_a_server_that_stops_accepting_refuses_new_clients_and_serves_the_others(version: int) -> None:
    pair = Pair(client={"original_version": version})
    client, server = pair.established()
    pair.server.accepting = False
    late = pair.client.connect(("10.0.0.1", 50_001), SERVER_ADDRESS, pair.now, "localhost")
    pair.flush()
    pair.run_for(pair.delay_ns)
    assert_refused(pair, late)
    assert len(pair.server.connections) == 1
    assert pair.transfer(client, server, b"still here")[1] == b"still here"


@pytest.mark.requirement("rfc9000:5.2.2:5")
def test_a_server_with_too_many_handshakes_under_way_refuses_new_clients(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.endpoint.MAX_HALF_OPEN_CONNECTIONS", 1)
    pair = Pair()
    first = pair.connect()
    pair.run_for(pair.delay_ns)
    second = pair.client.connect(("10.0.0.1", 50_001), SERVER_ADDRESS, pair.now, "localhost")
    pair.flush()
    pair.run_for(pair.delay_ns)
    assert sum(isinstance(event, ConnectionAccepted) for event in pair.server_events) == 1
    pair.run(lambda: second.closed)
    assert [event.code for event in ended(pair)] == [CONNECTION_REFUSED]
    pair.run(lambda: first.handshake_confirmed)


def long_packet(packet_type: int) -> bytes:
    """A datagram with a packet for no connection, under the keys of a client's first Initial packet all the same."""
    version, destination = VERSIONS[VERSION_1], b"nobodyhere"
    payload = b"\x01".ljust(1150, b"\0")
    header = encode_long_header(version, packet_type, destination, b"src", b"", len(payload) + 16, 0, 1)
    secret, _ = initial_secrets(version, destination)
    keys = make_keys(TLS_AES_128_GCM_SHA256, secret, version)
    return protect_packet(keys, header, 1, 0, payload).ljust(1200, b"\0")


STRAY = {
    "a Handshake packet": long_packet(HANDSHAKE),
    "a 0-RTT packet": long_packet(ZERO_RTT),
    "an Initial packet that does not decrypt": long_packet(INITIAL).replace(b"nobodyhere", b"somebody!!"),
    "Retry": (encode_retry_header(VERSIONS[VERSION_1], b"nobodyhere", b"src", b"token", 0) + bytes(16)).ljust(
        1200, b"t"
    ),
    "Version Negotiation": encode_version_negotiation(b"nobodyhere", b"src", (VERSION_1,) * 300, 0),
    "the start of a header": b"\xc0\x00\x00\x00\x01\x14",
    "nothing": b"",
}


@pytest.mark.requirement("rfc9000:5.2.2:8")
@pytest.mark.parametrize(
    "stray",
    [
        pytest.param(stray, marks=pytest.mark.requirement("rfc9000:5.2.2:7") if "Handshake" in stray else ())
        for stray in STRAY
    ],
)
def test_a_server_drops_long_packets_that_start_no_connection(stray: str) -> None:
    pair = Pair()
    pair.deliver(STRAY[stray], to_server=True)
    assert pair.server.transmit(pair.now) == []
    assert pair.server.connections == {}
    assert pair.server_events == []


@pytest.mark.requirement("rfc9000:5.2.2:8")
def test_an_endpoint_that_accepts_nobody_answers_nobody() -> None:
    pair = Pair(server={"accept": False})
    pair.connect()
    pair.run_for(5 * pair.delay_ns)
    assert all(datagram.to_server for datagram in pair.sent)
    assert pair.server.connections == {}


@pytest.mark.requirement("rfc9000:10.3:7")
@pytest.mark.parametrize("known", [True, False])
def test_packets_too_small_to_be_any_are_dropped(known: bool) -> None:
    """Below 21 bytes even a packet of one byte of frames has no room for its connection ID and tag."""
    pair = Pair()
    client, server = pair.established()
    received = server.stats.packets_received
    connection_id = server.local_ids.first if known else b"unknown!"
    for size in range(1, 21):
        pair.deliver((b"\x40" + connection_id + bytes(20))[:size], to_server=True)
        assert pair.server.transmit(pair.now) == []
    assert server.stats.packets_received == received
    assert not server.closed
    assert pair.transfer(client, server, b"fine")[1] == b"fine"


# Connections without connection IDs


@pytest.mark.requirement("rfc9000:5.1:3")
def test_without_connection_ids_an_address_has_one_connection_at_a_time() -> None:
    pair = Pair(client={"connection_id_length": 0})
    client, _ = pair.established()
    with pytest.raises(ConfigError, match="connection_id_length = 0"):
        pair.connect()
    other = pair.client.connect(("10.0.0.1", 50_001), ("10.0.0.3", 4433), pair.now, "localhost")
    other.close(pair.now)
    client.close(pair.now)
    again = pair.connect()
    pair.run(lambda: again.handshake_confirmed)


@pytest.mark.requirement("rfc9000:5.1:3")
def test_a_server_without_connection_ids_refuses_a_second_client() -> None:
    pair = Pair(server={"connection_id_length": 0})
    client, server = pair.established()
    other = Pair(seed=9)
    other.connect()
    (transmit,) = other.client.transmit(0)
    pair.server.receive(transmit.payload, ("10.0.0.9", 1), SERVER_ADDRESS, 0, pair.now)
    (answer,) = pair.server.transmit(pair.now)
    assert answer.destination == ("10.0.0.9", 1)
    other.deliver(answer.payload, to_server=False)
    assert [event.code for event in ended(other)] == [CONNECTION_REFUSED]
    assert list(pair.server.connections.values()) == [server]
    assert pair.transfer(client, server, b"fine")[1] == b"fine"


# Addresses


@pytest.mark.requirement("rfc9000:21.5.6:3")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "192.168.1.1", "169.254.0.7", "203.0.113.5", "::1", "fe80::1", "fd00::7"]
)
def test_no_address_is_refused(host: str) -> None:
    pair = Pair()
    pair.client.connect(CLIENT_ADDRESS, (host, 4433), 0, "localhost")
    (transmit,) = pair.client.transmit(0)
    pair.server.receive(transmit.payload, (host, 999), SERVER_ADDRESS, 0, 0)
    assert transmit.destination == (host, 4433)
    assert {answer.destination for answer in pair.server.transmit(0)} == {(host, 999)}


@pytest.mark.requirement("rfc9000:17.2:2")
@pytest.mark.requirement("rfc9000:17.2:5")
@pytest.mark.parametrize("length", [-1, 21, 255])
def test_lengths_of_connection_ids_that_version_1_has_not_are_refused(length: int) -> None:
    with pytest.raises(ConfigError, match=f"connection_id_length = {length}"):
        Pair(server={"connection_id_length": length})


@pytest.mark.parametrize("length", [1, 2, 3, 20])
def test_short_and_long_connection_ids_serve_as_well(length: int) -> None:
    pair = Pair(client={"connection_id_length": length}, server={"connection_id_length": length})
    client, server = pair.established()
    assert pair.transfer(client, server, bytes(50_000))[1] == bytes(50_000)
    assert len(server.local_ids.first) == len(client.local_ids.first) == length


def test_connection_ids_that_are_used_up_are_a_clear_error_and_a_refusal() -> None:
    pair = Pair(client={"connection_id_length": 1}, server={"connection_id_length": 1})
    first = 0
    with pytest.raises(ConfigError, match="connection_id_length = 1: all IDs of this length are in use"):  # noqa: PT012
        for first in range(300):
            pair.client.connect(("10.0.0.1", 1000 + first), SERVER_ADDRESS, 0, "localhost")
    assert 200 <= first <= 256
    firsts = [connection.local_ids.first for connection in pair.client.connections.values()]
    assert len(set(firsts)) == len(firsts)
    pair.run_for(15 * MS)
    pair.settle()
    refused = [event for event in pair.client_events if isinstance(event, ConnectionEnded) and event.remote]
    assert {event.code for event in refused} == {CONNECTION_REFUSED}
