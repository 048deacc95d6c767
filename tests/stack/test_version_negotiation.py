"""Version Negotiation, both sides (RFC 9000 sections 5.2.2, 6 and 17.2.1)."""

import pytest

from stack.errors import VERSION_NEGOTIATION_ERROR
from stack.events import ConnectionEnded
from stack.tls.engine import INITIAL
from stack.wire.header import VERSION_NEGOTIATION, encode_version_negotiation, parse_long_header
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Pair

UNKNOWN = 0x1A2A3A4A


def first_packet(version: int, size: int = 1200, destination: bytes = b"destinat", source: bytes = b"src") -> bytes:
    """A datagram that begins with a long header of any version."""
    cids = bytes((len(destination),)) + destination + bytes((len(source),)) + source
    return (b"\xc0" + version.to_bytes(4) + cids).ljust(size, b"\x5a")


# The server


@pytest.mark.requirement("rfc9000:5.2.2:1")
@pytest.mark.requirement("rfc9000:5.2.2:4")
@pytest.mark.requirement("rfc8999:6:3")
@pytest.mark.requirement("rfc8999:6:4")
@pytest.mark.requirement("rfc9000:17.2.1:4")
@pytest.mark.requirement("rfc9000:17.2.1:5")
@pytest.mark.requirement("rfc9000:17.2.1:6")
@pytest.mark.requirement("rfc9000:17.2.1:7")
@pytest.mark.parametrize(("destination", "source"), [(b"destinat", b"src"), (b"", b""), (b"d" * 40, b"s" * 255)])
def test_an_unknown_version_is_answered_with_the_known_ones(destination: bytes, source: bytes) -> None:
    pair = Pair()
    pair.deliver(first_packet(UNKNOWN, 1200, destination, source), to_server=True)
    (transmit,) = pair.server.transmit(pair.now)
    assert (transmit.source, transmit.destination) == (SERVER_ADDRESS, CLIENT_ADDRESS)
    header = parse_long_header(transmit.payload, 0)
    assert header.packet_type == VERSION_NEGOTIATION
    assert (header.destination_cid, header.source_cid) == (source, destination)
    assert transmit.payload[header.packet_number_offset :] == VERSION_1.to_bytes(4) + VERSION_2.to_bytes(4)
    assert transmit.payload[0] & 0x40
    assert not pair.server.connections
    assert pair.server.transmit(pair.now) == []


@pytest.mark.requirement("rfc9000:5.2.2:3")
def test_a_small_datagram_of_an_unknown_version_is_dropped() -> None:
    pair = Pair()
    pair.deliver(first_packet(UNKNOWN, 1199), to_server=True)
    assert pair.server.transmit(pair.now) == []


@pytest.mark.requirement("rfc9000:6.1:1")
def test_version_negotiation_is_never_answered() -> None:
    pair = Pair()
    pair.deliver(encode_version_negotiation(b"destinat", b"src", (UNKNOWN,) * 300, 0), to_server=True)
    assert pair.server.transmit(pair.now) == []


def test_a_client_answers_no_version() -> None:
    pair = Pair()
    pair.deliver(first_packet(UNKNOWN), to_server=False)
    assert pair.client.transmit(pair.now) == []


# The client


def offer(pair: Pair, versions: tuple[int, ...], *, swap: bool = True) -> None:
    """Deliver Version Negotiation in answer to the client's first packet."""
    header = parse_long_header(pair.sent[0].payload, 0)
    destination, source = header.source_cid, header.destination_cid
    if not swap:
        source = b"another!"
    payload = encode_version_negotiation(destination, source, versions, 0x55)
    pair.deliver(payload, to_server=False)


@pytest.mark.requirement("rfc9368:2.1:4")
@pytest.mark.requirement("rfc9000:6.2:1")
def test_a_client_gives_up_when_there_is_no_version_in_common() -> None:
    pair = Pair(drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    offer(pair, (UNKNOWN, 0x2A2A2A2A))
    (event,) = pair.client_events
    assert isinstance(event, ConnectionEnded)
    assert (event.code, event.application) == (VERSION_NEGOTIATION_ERROR, False)
    assert "0x1a2a3a4a, 0x2a2a2a2a" in event.reason
    assert [packet.packet_type for packet in pair.recorder_of(client).received] == ["version_negotiation"]
    assert pair.client.transmit(pair.now) == []
    pair.run_for(1 * MS)
    assert client.closed
    assert not pair.client.connections
    assert len(pair.sent) == 1


@pytest.mark.requirement("rfc9000:6.2:3")
def test_an_offer_of_the_version_in_use_is_ignored() -> None:
    pair = Pair()
    client = pair.connect()
    pair.flush()
    offer(pair, (UNKNOWN, VERSION_1))
    pair.run(lambda: client.handshake_confirmed)


@pytest.mark.requirement("rfc9000:6.2:2")
def test_an_offer_after_another_packet_is_ignored() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    offer(pair, (UNKNOWN,))
    pair.run(lambda: client.handshake_confirmed)


def test_an_offer_that_does_not_echo_the_connection_ids_is_ignored() -> None:
    pair = Pair()
    client = pair.connect()
    pair.flush()
    offer(pair, (UNKNOWN,), swap=False)
    assert pair.client_events == []
    assert pair.recorder_of(client).dropped[-1][1:] == ("version_negotiation", "invalid")
    pair.run(lambda: client.handshake_confirmed)


@pytest.mark.requirement("rfc8999:6:1")
@pytest.mark.requirement("rfc9000:17.2.1:1")
@pytest.mark.parametrize("first", [0x80, 0xBF, 0xC0, 0xD5, 0xFF])
def test_the_unused_bits_of_an_offer_do_not_matter(first: int) -> None:
    pair = Pair(drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    header = parse_long_header(pair.sent[0].payload, 0)
    packet = encode_version_negotiation(header.source_cid, header.destination_cid, (UNKNOWN,), 0)
    pair.deliver(bytes((first,)) + packet[1:], to_server=False)
    assert client.closed


@pytest.mark.requirement("rfc9000:5.2.1:2")
@pytest.mark.parametrize("version", [UNKNOWN, VERSION_2])
def test_a_client_drops_packets_of_a_version_that_it_did_not_choose(version: int) -> None:
    pair = Pair(client={"versions": (VERSION_1,)})
    client = pair.connect()
    pair.run_for(pair.delay_ns)
    assert pair.server_connection is not None
    packet = pair.craft(pair.server_connection, b"\x01" + bytes(1200), INITIAL)
    received = client.stats.packets_received
    pair.deliver(packet[:1] + version.to_bytes(4) + packet[5:], to_server=False)
    at, _, trigger = pair.recorder_of(client).dropped[-1]
    assert (at, trigger) == (pair.now, "unexpected_version")
    assert client.stats.packets_received == received
    pair.run(lambda: client.handshake_confirmed)
