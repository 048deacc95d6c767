"""Every error code of RFC 9000 section 20.1, provoked through the wire; frames and parameters that are out of place."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.crypto.packet_protection import Keys, protect_packet
from stack.dispatch import ROWS
from stack.errors import (
    AEAD_LIMIT_REACHED,
    APPLICATION_ERROR,
    CONNECTION_ID_LIMIT_ERROR,
    CONNECTION_REFUSED,
    CRYPTO_BUFFER_EXCEEDED,
    CRYPTO_ERROR,
    FINAL_SIZE_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_ENCODING_ERROR,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    KEY_UPDATE_ERROR,
    NAMES,
    NO_ERROR,
    NO_VIABLE_PATH,
    PROTOCOL_VIOLATION,
    STREAM_LIMIT_ERROR,
    STREAM_STATE_ERROR,
    TRANSPORT_PARAMETER_ERROR,
    VERSION_NEGOTIATION_ERROR,
)
from stack.events import ConnectionEnded
from stack.limits import RETRY_TOKEN_LIFETIME_NS
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import HANDSHAKE, INITIAL
from stack.wire.decoded_frames import ConnectionCloseFrame
from stack.wire.frames import (
    encode_ack,
    encode_ack_frequency,
    encode_connection_close,
    encode_crypto_header,
    encode_new_connection_id,
    encode_reset_stream,
    encode_retire_connection_id,
    encode_stop_sending,
    encode_stream_header,
)
from stack.wire.header import KEY_PHASE_BIT, encode_version_negotiation, parse_long_header
from stack.wire.varint import decode_varint, encode_varint
from tests.support.lying_tls import Change, LyingTls
from tests.support.pair import SECOND, SERVER_ADDRESS, Pair

PING = b"\x01"
BEYOND = 1 << 50  # no limit is as large


class Outcome(NamedTuple):
    """A pair, and its end that was to find the error."""

    pair: Pair
    judge: Connection


def packets_of(frames: Callable[[int], list[bytes]], **fields: Any) -> Callable[[bool], Outcome]:
    """A scenario: each payload arrives in a 1-RTT packet; `frames` are given who sends: 0 the client, 1 the server."""

    def run(to_server: bool) -> Outcome:
        pair = Pair(**fields)
        client, server = pair.established()
        sender, judge = (client, server) if to_server else (server, client)
        for payload in frames(int(not to_server)):
            pair.inject(sender, payload)
        return Outcome(pair, judge)

    return run


def stream(stream_id: int, offset: int, data: bytes, end: bool = False) -> bytes:
    return encode_stream_header(stream_id, offset, len(data), end) + data


def many_pieces(first: int) -> list[bytes]:
    return [b"".join(stream(first, 2 * (100 * n + i) + 1, b"x") for i in range(100)) for n in range(80)]


def later_keys(to_server: bool) -> Outcome:
    """The sender updates its keys twice, without an ACK between."""
    pair = Pair()
    client, server = pair.established()
    sender, judge = (client, server) if to_server else (server, client)
    keys, number = sender.spaces[2].write_keys, sender.spaces[2].next_packet_number
    assert keys is not None
    for phase in (1, 2):
        keys = Keys(keys.protection.next_generation(), keys.header)
        first = 0x43 | (KEY_PHASE_BIT if phase % 2 else 0)
        header = bytes((first,)) + sender.remote_ids.current + (number + phase).to_bytes(4)
        pair.deliver(protect_packet(keys, header, 4, number + phase, PING + bytes(9)), to_server)
    return Outcome(pair, judge)


def forgeries(to_server: bool) -> Outcome:
    pair = Pair(**{"server" if to_server else "client": {"integrity_limit": 3}})
    client, server = pair.established()
    sender, judge = (client, server) if to_server else (server, client)
    for _ in range(4):
        packet = pair.craft(sender, PING + bytes(40))
        pair.deliver(packet[:-1] + bytes((packet[-1] ^ 1,)), to_server)
    return Outcome(pair, judge)


def bad_parameters(to_server: bool) -> Outcome:
    lie = {"tls": LyingTls(lambda encoded: encoded + b"\x03\x01\x00")}
    pair = Pair(client=lie) if to_server else Pair(server=lie)
    client = pair.connect()
    pair.run_for(3 * pair.delay_ns)
    judge = pair.server_connection if to_server else client
    assert judge is not None
    return Outcome(pair, judge)


def no_common_protocol(to_server: bool) -> Outcome:
    """TLS alert 120: the server finds it, so there is one direction only."""
    certificate = test_certificate()
    pair = Pair(
        client={"tls": ClientTls(trust=certificate, alpn=("one",))},
        server={"tls": ServerTls(credentials=certificate, alpn=("two",))},
    )
    pair.connect()
    pair.run_for(pair.delay_ns)
    assert pair.server_connection is not None
    return Outcome(pair, pair.server_connection)


def gives_up_at_once(to_server: bool) -> Outcome:
    """The application closes during the handshake; its own code must not show."""
    pair = Pair()
    client = pair.connect()
    pair.run_for(pair.delay_ns)
    judge = client if not to_server else pair.server_connection
    assert judge is not None
    judge.close(pair.now, 77, "secret")
    return Outcome(pair, judge)


FOUND_BY_EITHER: dict[int, Callable[[bool], Outcome]] = {
    INTERNAL_ERROR: packets_of(many_pieces),
    FLOW_CONTROL_ERROR: packets_of(lambda first: [stream(first, BEYOND, b"x")]),
    STREAM_LIMIT_ERROR: packets_of(lambda first: [stream(first + 4 * 100_000, 0, b"x")]),
    STREAM_STATE_ERROR: packets_of(lambda first: [stream(first ^ 1, 0, b"x")]),
    FINAL_SIZE_ERROR: packets_of(lambda first: [stream(first, 0, b"1234", True), stream(first, 4, b"5")]),
    FRAME_ENCODING_ERROR: packets_of(lambda _: [b"\x20"]),
    TRANSPORT_PARAMETER_ERROR: bad_parameters,
    CONNECTION_ID_LIMIT_ERROR: packets_of(
        lambda _: [encode_new_connection_id(n, 0, b"another%d" % n, bytes(15) + bytes((n,))) for n in range(4, 14)]
    ),
    PROTOCOL_VIOLATION: packets_of(lambda _: [encode_ack([(0, 10_000)], 0)]),
    APPLICATION_ERROR: gives_up_at_once,
    CRYPTO_BUFFER_EXCEEDED: packets_of(lambda _: [encode_crypto_header(1 << 30, 4) + b"data"]),
    KEY_UPDATE_ERROR: later_keys,
    AEAD_LIMIT_REACHED: forgeries,
}
ELSEWHERE = {
    NO_ERROR: "test_a_close_without_error_is_told_as_such",
    CONNECTION_REFUSED: "test_refusals_before_there_is_a_connection",
    INVALID_TOKEN: "test_refusals_before_there_is_a_connection",
    NO_VIABLE_PATH: "test_a_path_without_room_for_full_datagrams_is_told",
    VERSION_NEGOTIATION_ERROR: "test_no_common_version_ends_with_a_code_nobody_hears",
}


def told(outcome: Outcome) -> set[int]:
    """The codes of transport errors in the CONNECTION_CLOSE frames that the judge sends."""
    outcome.pair.flush()
    frames = outcome.pair.recorder_of(outcome.judge).sent_frames(ConnectionCloseFrame)
    return {frame.code for frame in frames if isinstance(frame, ConnectionCloseFrame) and not frame.application}


def heard(outcome: Outcome) -> list[int]:
    """The codes that the other end gets."""
    outcome.pair.run_for(5 * outcome.pair.delay_ns)
    events = outcome.pair.server_events if outcome.judge.is_client else outcome.pair.client_events
    return [event.code for event in events if isinstance(event, ConnectionEnded) and event.remote]


def test_the_table_has_every_code() -> None:
    assert set(NAMES) == {*FOUND_BY_EITHER, *ELSEWHERE}
    assert all(name in globals() for name in ELSEWHERE.values())


@pytest.mark.requirement("rfc9000:11:1")
@pytest.mark.requirement("rfc9000:11.1:1")
@pytest.mark.parametrize("to_server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("code", FOUND_BY_EITHER, ids=NAMES.__getitem__)
def test_each_error_is_found_and_told_with_its_code(code: int, to_server: bool) -> None:
    outcome = FOUND_BY_EITHER[code](to_server)
    assert outcome.judge.closed
    assert told(outcome) == {code}
    assert heard(outcome) == [code]


def test_a_tls_alert_is_told_as_a_code() -> None:
    outcome = no_common_protocol(True)
    assert told(outcome) == {CRYPTO_ERROR + 120}
    assert heard(outcome) == [CRYPTO_ERROR + 120]


@pytest.mark.parametrize("to_server", [True, False])
def test_a_close_without_error_is_told_as_such(to_server: bool) -> None:
    outcome = packets_of(lambda _: [encode_connection_close(NO_ERROR, 0, b"bye")])(to_server)
    ended = outcome.judge.closing.ended
    assert ended == ConnectionEnded(NO_ERROR, "bye", application=False, remote=True)
    assert told(outcome) == set()


@pytest.mark.parametrize("code", [CONNECTION_REFUSED, INVALID_TOKEN], ids=NAMES.__getitem__)
def test_refusals_before_there_is_a_connection(code: int) -> None:
    pair = Pair(server={"retry": "always"}, client={"max_idle_timeout_ms": 0})
    client = pair.connect()
    pair.server.accepting = code == INVALID_TOKEN
    pair.run_for(2 * pair.delay_ns)
    if code == INVALID_TOKEN:
        pair.drop = lambda datagram: True
        assert client.handshake.token
        pair.now += RETRY_TOKEN_LIFETIME_NS
        pair.drop = None
        pair.server.receive(pair.sent[-1].payload, pair.sent[-1].source, SERVER_ADDRESS, 0, pair.now)
    pair.run(lambda: client.closed)
    assert client.closing.ended is not None
    assert (client.closing.ended.code, client.closing.ended.remote) == (code, True)


def test_a_path_without_room_for_full_datagrams_is_told() -> None:
    """Small datagrams reach the client at its new address, the large ones of path validation do not."""
    pair = Pair()
    client, server = pair.established()
    pair.rebind(("10.0.0.9", 9))
    pair.drop = lambda datagram: not datagram.to_server and len(datagram.payload) >= 1200
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"here I am")
    pair.run(lambda: server.closed)
    outcome = Outcome(pair, server)
    assert told(outcome) == {NO_VIABLE_PATH}
    assert heard(outcome) == [NO_VIABLE_PATH]


@pytest.mark.requirement("rfc9368:2.1:4")
def test_no_common_version_ends_with_a_code_nobody_hears() -> None:
    pair = Pair(drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    header = parse_long_header(pair.sent[0].payload, 0)
    offer = encode_version_negotiation(header.source_cid, header.destination_cid, (0x1A2A3A4A,), 0)
    pair.deliver(offer, to_server=False)
    assert client.closing.ended is not None
    assert client.closing.ended.code == VERSION_NEGOTIATION_ERROR
    assert told(Outcome(pair, client)) == set()
    pair.run_for(SECOND)
    assert len(pair.sent) == 1
    assert pair.client.connections == {}


# Frames in packets that may not carry them (RFC 9000 table 3)

WELL_FORMED: dict[int, bytes] = {
    0x04: encode_reset_stream(0, 0, 0),
    0x05: encode_stop_sending(0, 0),
    0x07: b"\x07\x01t",
    **{kind: bytes((kind,)) + bytes(3) for kind in range(0x08, 0x10)},
    **{kind: bytes((kind,)) + bytes(2) for kind in range(0x10, 0x18)},
    0x18: encode_new_connection_id(1, 0, b"cid", bytes(16)),
    0x19: encode_retire_connection_id(0),
    0x1A: b"\x1a" + bytes(8),
    0x1B: b"\x1b" + bytes(8),
    0x1D: encode_connection_close(0, None, b""),
    0x1E: b"\x1e",
    0x1F: b"\x1f",
    0x24: b"\x24" + bytes(4),
    0x30: b"\x30data",
    0x31: b"\x31\x04data",
    0xAF: encode_ack_frequency(0, 1, 25_000, 1),
}


def in_handshake(level: int, to_server: bool) -> tuple[Pair, Connection, Connection]:
    """A pair in the handshake, the end that can send packets of `level`, and the end that can read them."""
    pair = Pair(chain=4)
    client = pair.connect()
    pair.run_until(pair.delay_ns if level == INITIAL else 2 * pair.delay_ns)
    server = pair.server_connection
    assert server is not None
    return (pair, client, server) if to_server else (pair, server, client)


def test_the_frames_are_all_those_that_initial_and_handshake_packets_do_not_carry() -> None:
    allowed = {kind for row in ROWS if "I" in row.packets for kind in range(row.first, row.last + 1)}
    known = {kind for row in ROWS for kind in range(row.first, row.last + 1)}
    assert allowed == {0x00, 0x01, 0x02, 0x03, 0x06, 0x1C}
    assert allowed.isdisjoint(WELL_FORMED)
    extensions = known - allowed - set(WELL_FORMED)
    assert all(kind > 0x1E for kind in extensions), "those of RFC 9000 end at 0x1e"


@pytest.mark.requirement("rfc9000:12.4:3")
@pytest.mark.requirement("rfc9000:12.5:5")
@pytest.mark.parametrize("to_server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE], ids=["Initial", "Handshake"])
@pytest.mark.parametrize("kind", WELL_FORMED, ids=hex)
def test_a_frame_in_a_packet_that_may_not_carry_it_is_refused(kind: int, level: int, to_server: bool) -> None:
    pair, sender, judge = in_handshake(level, to_server)
    payload = PING + bytes(1200) + WELL_FORMED[kind]
    pair.inject(sender, payload, level)
    outcome = Outcome(pair, judge)
    assert judge.closing.ended is not None
    assert (judge.closing.ended.code, judge.closing.ended.remote) == (PROTOCOL_VIOLATION, False)
    assert told(outcome) == {PROTOCOL_VIOLATION}


@pytest.mark.requirement("rfc9000:5.2:2")
@pytest.mark.parametrize("to_server", [True, False], ids=["server", "client"])
def test_an_initial_packet_that_turns_out_wrong_after_its_crypto_closes_the_connection(to_server: bool) -> None:
    pair, sender, judge = in_handshake(INITIAL, to_server)
    received = judge.stats.packets_received
    pair.inject(sender, encode_crypto_header(5_000, 4) + b"data" + bytes(1200) + b"\x20", INITIAL)
    assert judge.stats.packets_received == received + 1
    assert told(Outcome(pair, judge)) == {FRAME_ENCODING_ERROR}


# Transport parameters with values that they can't have


def replacing(identifier: int, value: bytes) -> Change:
    """Change a parameter, or add it."""

    def change(encoded: bytes) -> bytes:
        kept, position = b"", 0
        while position < len(encoded):
            start = position
            number, position = decode_varint(encoded, position)
            length, position = decode_varint(encoded, position)
            position += length
            if number != identifier:
                kept += encoded[start:position]
        return kept + encode_varint(identifier) + encode_varint(len(value)) + value

    return change


_TOKEN = bytes(range(16))
FROM_EITHER: list[tuple[int, bytes]] = [
    *((identifier, b"") for identifier in (*range(0x03, 0x0C), 0x01, 0x0E, 0x11, 0x20)),
    *((identifier, b"\x01\x00") for identifier in (*range(0x03, 0x0C), 0x01, 0x0E, 0x20)),
    (0x03, encode_varint(1199)),
    (0x08, encode_varint((1 << 60) + 1)),
    (0x09, encode_varint((1 << 60) + 1)),
    (0x0A, encode_varint(21)),
    (0x0B, encode_varint(1 << 14)),
    (0x0C, b"\x00"),
    (0x0E, encode_varint(1)),
    (0x0F, bytes(21)),
    (0x0F, b"not mine"),
    (0x11, bytes(4)),
    (0x11, b"\x00\x00\x00\x01\x00"),
    (0x2AB2, b"\x01"),
]
FROM_SERVERS: list[tuple[int, bytes]] = [
    (0x00, bytes(21)),
    (0x00, b"not the client's"),
    (0x02, bytes(15)),
    (0x02, bytes(17)),
    (0x0D, bytes(24) + b"\x00" + _TOKEN),
    (0x0D, bytes(24) + b"\x15" + bytes(21) + _TOKEN),
    (0x0D, bytes(24) + b"\x04abcd" + _TOKEN[1:]),
    (0x10, b"no Retry"),
    (0x10, bytes(21)),
]
NOT_FROM_CLIENTS: list[tuple[int, bytes]] = [
    (0x00, b"12345678"),
    (0x02, _TOKEN),
    (0x0D, bytes(24) + b"\x04abcd" + _TOKEN),
    (0x10, b"12345678"),
]
_ROWS = [
    *((to_server, *row) for to_server in (True, False) for row in FROM_EITHER),
    *((False, *row) for row in FROM_SERVERS),
    *((True, *row) for row in NOT_FROM_CLIENTS),
]


@pytest.mark.requirement("rfc9000:7.4:1")
@pytest.mark.parametrize(
    ("to_server", "identifier", "value"),
    [
        pytest.param(*row, id=f"{'server' if row[0] else 'client'}-{row[1]:#x}-{row[2].hex() or 'empty'}")
        for row in _ROWS
    ],
)
def test_a_parameter_with_a_bad_value_ends_the_handshake(to_server: bool, identifier: int, value: bytes) -> None:
    lie = {"tls": LyingTls(replacing(identifier, value))}
    pair = Pair(client=lie) if to_server else Pair(server=lie)
    client = pair.connect()
    pair.run_for(2 * pair.delay_ns)
    judge = pair.server_connection if to_server else client
    assert judge is not None
    assert not judge.handshake_complete
    assert told(Outcome(pair, judge)) == {TRANSPORT_PARAMETER_ERROR}
