"""From datagrams to frames: what is refused, what is dropped, and what must not matter (RFC 9000 section 12)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.connection import Connection
from stack.dispatch import ROWS
from stack.errors import (
    CRYPTO_BUFFER_EXCEEDED,
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
)
from stack.events import ConnectionAccepted, StreamOpened
from stack.limits import MAX_CRYPTO_BUFFER
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.wire.frames import (
    encode_ack,
    encode_crypto_header,
    encode_new_token,
    encode_path_challenge,
    encode_stream_header,
)
from stack.wire.varint import encode_varint
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Pair

PING = b"\x01"
PADDING = bytes(1200)
STREAM = encode_stream_header(0, 0, 4, False) + b"data"


def in_handshake(level: int) -> tuple[Pair, Connection, Connection]:
    """A pair whose client can send, and whose server can read, packets of `level`: pair, client, server."""
    pair = Pair(chain=4)
    client = pair.connect()
    pair.run_for(20 * MS if level == HANDSHAKE else 10 * MS)
    if level == HANDSHAKE:
        pair.drop = lambda datagram: True
    assert pair.server_connection is not None
    return pair, client, pair.server_connection


def code_of(connection: Connection) -> int | None:
    """The code with which a connection closed because of its peer."""
    ended = connection.closing.ended
    return None if ended is None or ended.remote else ended.code


# Frames


@pytest.mark.parametrize("to_server", [False, True])
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(b"", PROTOCOL_VIOLATION, marks=pytest.mark.requirement("rfc9000:12.4:2")),
        pytest.param(b"\x1f", FRAME_ENCODING_ERROR, marks=pytest.mark.requirement("rfc9000:12.4:4")),
        pytest.param(b"\x3fdata", FRAME_ENCODING_ERROR, marks=pytest.mark.requirement("rfc9000:12.4:4")),
        pytest.param(b"\x7f\xff", FRAME_ENCODING_ERROR, marks=pytest.mark.requirement("rfc9000:12.4:4")),
        pytest.param(b"\x40\x01", PROTOCOL_VIOLATION, marks=pytest.mark.requirement("rfc9000:12.4:6")),
        pytest.param(b"\x80\x00\x00\x08", PROTOCOL_VIOLATION, marks=pytest.mark.requirement("rfc9000:12.4:6")),
        (b"\x40", FRAME_ENCODING_ERROR),
        (b"\x0a\x00\x05data", FRAME_ENCODING_ERROR),
        (b"\x1c\x00\x00\x09short", FRAME_ENCODING_ERROR),
        (b"\x02\x00", FRAME_ENCODING_ERROR),
        pytest.param(encode_ack([(0, 99)], 0), PROTOCOL_VIOLATION, marks=pytest.mark.requirement("rfc9000:13.1:2")),
        pytest.param(b"\x02\x01\x00\x00\x02", FRAME_ENCODING_ERROR, marks=pytest.mark.requirement("rfc9000:19.3.1:1")),
        pytest.param(
            b"\x02\x02\x00\x01\x00\x01\x00", FRAME_ENCODING_ERROR, marks=pytest.mark.requirement("rfc9000:19.3.1:1")
        ),
    ],
)
def test_malformed_payloads_close_the_connection(to_server: bool, payload: bytes, code: int) -> None:
    pair = Pair()
    client, server = pair.established()
    sender, receiver = (client, server) if to_server else (server, client)
    pair.inject(sender, payload)
    assert code_of(receiver) == code


@pytest.mark.requirement("rfc9000:19.20:2")
@pytest.mark.requirement("rfc9000:19.7:4")
@pytest.mark.parametrize("payload", [b"\x1e", encode_new_token(b"token")])
def test_a_server_refuses_what_only_servers_send(payload: bytes) -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, payload)
    assert code_of(server) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:19.7:2")
def test_a_client_takes_tokens_unless_they_are_empty() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(server, encode_new_token(b"token") + b"\x1e")
    assert not client.closed
    pair.inject(server, encode_new_token(b""))
    assert code_of(client) == FRAME_ENCODING_ERROR


@pytest.mark.requirement("rfc9000:12.4:3")
@pytest.mark.requirement("rfc9000:12.5:5")
@pytest.mark.requirement("rfc9000:17.2.4:2")
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
@pytest.mark.parametrize("frame_type", [row.first for row in ROWS if row.first not in (0, 1, 2, 6, 0x1C)])
def test_frames_in_packets_that_may_not_carry_them_are_refused(level: int, frame_type: int) -> None:
    """RFC 9000 table 3: Initial and Handshake packets carry PADDING, PING, ACK, CRYPTO and CONNECTION_CLOSE 0x1c."""
    pair, client, server = in_handshake(level)
    pair.inject(client, encode_varint(frame_type) + PADDING, level)
    assert code_of(server) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:7.5:1")
@pytest.mark.requirement("rfc9000:7.5:3")
@pytest.mark.requirement("rfc9000:19.6:1")
def test_crypto_data_is_buffered_up_to_a_limit() -> None:
    for offset, code in (
        (4096, None),
        (MAX_CRYPTO_BUFFER, CRYPTO_BUFFER_EXCEEDED),
        ((1 << 62) - 2, FRAME_ENCODING_ERROR),
    ):
        pair = Pair()
        client, server = pair.established()
        pair.inject(client, encode_crypto_header(offset, 700) + bytes(700))
        assert code_of(server) == code


def test_path_challenges_are_answered_at_once_in_a_full_datagram() -> None:
    pair = Pair()
    client, server = pair.established()
    before = len(pair.sent)
    pair.inject(client, encode_path_challenge(b"12345678"))
    pair.flush()
    (datagram,) = pair.sent[before:]
    assert len(datagram.payload) >= 1200
    assert b"12345678" in [getattr(frame, "data", b"") for frame in pair.recorder_of(server).sent[-1].frames]


# Headers


@pytest.mark.requirement("rfc9000:17.3.1:3")
@pytest.mark.parametrize("reserved", [0x08, 0x10, 0x18])
def test_reserved_bits_of_short_headers_must_be_zero(reserved: int) -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, PING, reserved=reserved)
    assert code_of(server) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:17.2:9")
@pytest.mark.parametrize("reserved", [0x04, 0x08, 0x0C])
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_reserved_bits_of_long_headers_must_be_zero(level: int, reserved: int) -> None:
    pair, client, server = in_handshake(level)
    pair.inject(client, PING + PADDING, level, reserved=reserved)
    assert code_of(server) == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:17.2:1")
@pytest.mark.requirement("rfc9000:17.3.1:1")
@pytest.mark.parametrize("level", [INITIAL, APPLICATION])
def test_packets_without_the_fixed_bit_are_dropped(level: int) -> None:
    if level == APPLICATION:
        pair = Pair()
        client, server = pair.established()
    else:
        pair, client, server = in_handshake(level)
    received = server.stats.packets_received
    packet = pair.craft(client, PING + PADDING, level)
    pair.deliver(bytes((packet[0] & ~0x40,)) + packet[1:], to_server=True)
    assert server.stats.packets_received == received
    assert not server.closed


@pytest.mark.requirement("rfc9000:12.3:5")
def test_a_forged_packet_does_not_use_up_the_number_of_the_true_one() -> None:
    pair = Pair()
    client, server = pair.established()
    packet = pair.craft(client, STREAM)
    pair.deliver(packet[:-1] + bytes((packet[-1] ^ 1,)), to_server=True)
    assert [trigger for _, _, trigger in pair.recorder_of(server).dropped] == ["decryption_failure"]
    pair.deliver(packet, to_server=True)
    assert StreamOpened(0) in pair.server_events


@pytest.mark.requirement("rfc9000:12.3:4")
def test_a_packet_that_comes_twice_counts_once() -> None:
    pair = Pair()
    client, server = pair.established()
    packet = pair.craft(client, STREAM)
    for _ in range(3):
        pair.deliver(packet, to_server=True)
    assert server.stats.packets_dropped == 2
    assert pair.server_events.count(StreamOpened(0)) == 1
    assert [trigger for _, _, trigger in pair.recorder_of(server).dropped] == ["duplicate"] * 2


# Datagrams


@pytest.mark.requirement("rfc9000:14.1:4")
@pytest.mark.parametrize(("size", "taken"), [(1199, False), (1200, True)])
def test_a_server_drops_initials_in_small_datagrams(size: int, taken: bool) -> None:
    pair, client, server = in_handshake(INITIAL)
    received = server.stats.packets_received
    overhead = len(pair.craft(client, PING + bytes(100), INITIAL)) - 101
    pair.inject(client, PING + bytes(size - overhead - 1), INITIAL)
    assert (server.stats.packets_received - received == 1) == taken
    assert not server.closed


def test_a_first_initial_in_a_small_datagram_makes_no_connection() -> None:
    pair = Pair()
    pair.connect()
    (transmit,) = pair.client.transmit(pair.now)
    pair.deliver(transmit.payload[:1199], to_server=True)
    assert not pair.server.connections


@pytest.mark.requirement("rfc9000:7.2:1")
def test_a_first_initial_with_a_short_connection_id_makes_no_connection() -> None:
    pair = Pair()
    client = pair.connect()
    pair.deliver(pair.craft(client, PING + PADDING, INITIAL, destination_cid=b"1234567"), to_server=True)
    assert not pair.server.connections


@pytest.mark.parametrize("position", [8, 16, 25, 600, 1199])
def test_a_first_initial_that_is_not_authentic_makes_no_connection(position: int) -> None:
    """Else a damaged source connection ID would stay, and the client's next try would be in vain."""
    pair = Pair()
    client = pair.connect()
    (transmit,) = pair.client.transmit(pair.now)
    damaged = bytearray(transmit.payload)
    damaged[position] ^= 0x10
    pair.deliver(bytes(damaged), to_server=True)
    assert not pair.server.connections
    assert not any(isinstance(event, ConnectionAccepted) for event in pair.server_events)
    assert pair.server.transmit(pair.now) == []
    pair.run(lambda: client.handshake_confirmed)


@pytest.mark.requirement("rfc9000:17.2.2:1")
def test_a_client_drops_initials_with_a_token() -> None:
    pair, client, server = in_handshake(INITIAL)
    pair.inject(server, PING, INITIAL, token=b"token")
    assert client.stats.packets_dropped == 1
    assert client.stats.packets_received == 0


@pytest.mark.requirement("rfc9000:9:7")
def test_a_client_drops_packets_from_another_address() -> None:
    pair = Pair()
    client, server = pair.established()
    packet = pair.craft(server, PING)
    received = client.stats.packets_received
    pair.client.receive(packet, ("10.9.9.9", 4433), CLIENT_ADDRESS, 0, pair.now)
    assert client.stats.packets_received == received
    pair.client.receive(packet, SERVER_ADDRESS, CLIENT_ADDRESS, 0, pair.now)
    assert client.stats.packets_received == received + 1


@pytest.mark.requirement("rfc9000:12.2:5")
def test_coalesced_packets_for_another_connection_id_are_dropped() -> None:
    pair, client, server = in_handshake(HANDSHAKE)
    received = server.stats.packets_received
    first = pair.craft(client, PING, HANDSHAKE)
    other = pair.craft(client, PING, HANDSHAKE, destination_cid=b"otherone")
    third = pair.craft(client, PING, HANDSHAKE)
    pair.deliver(first + other + third, to_server=True)
    assert server.stats.packets_received == received + 1


@pytest.mark.requirement("rfc9000:12.2:7")
def test_a_packet_that_cannot_be_decrypted_does_not_hide_the_next() -> None:
    pair, client, server = in_handshake(HANDSHAKE)
    received = server.stats.packets_received
    first = bytearray(pair.craft(client, PING + bytes(30), HANDSHAKE))
    first[-1] ^= 1
    second = pair.craft(client, PING, HANDSHAKE)
    pair.deliver(bytes(first) + second, to_server=True)
    assert server.stats.packets_received == received + 1
    assert not server.closed


# Anything


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_do_harm(data: st.DataObject) -> None:
    """Junk and damaged packets reach both endpoints; then the connection still works."""
    pair = Pair()
    client, server = pair.established()
    for _ in range(data.draw(st.integers(1, 6))):
        to_server = data.draw(st.booleans())
        receiver, sender = (server, client) if to_server else (client, server)
        junk = data.draw(st.binary(max_size=1300))
        match data.draw(st.sampled_from(["raw", "short", "long", "damaged"])):
            case "short":
                junk = b"\x41" + receiver.local_ids.first + junk
            case "long":
                junk = bytes((0xC0 | len(junk) % 64,)) + b"\0\0\0\x01\x08" + receiver.local_ids.first + junk
            case "damaged":
                packet = bytearray(pair.craft(sender, PING + bytes(20)))
                packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
                junk = bytes(packet)
        pair.deliver(junk, to_server=to_server)
    assert not client.closed
    assert not server.closed
    assert pair.transfer(client, server, b"fine")[1] == b"fine"


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=60), st.booleans())
def test_any_frames_at_all_are_processed_or_refused(payload: bytes, to_server: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    sender, receiver = (client, server) if to_server else (server, client)
    pair.inject(sender, payload)
    pair.run_for(200 * MS)
    if receiver.closed and not sender.closed:
        assert receiver.closing.ended is not None
