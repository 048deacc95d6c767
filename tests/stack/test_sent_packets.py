"""What the packets that an endpoint sends look like: numbers, headers, connection IDs, coalescing, ACKs on the way."""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from stack.connection import Connection
from stack.crypto.packet_protection import unprotect_header
from stack.limits import MAX_RECEIVED_RANGES
from stack.recovery.acknowledgments import Acknowledgments
from stack.tls.engine import HANDSHAKE, INITIAL
from stack.wire.decoded_frames import (
    AckFrame,
    ConnectionCloseFrame,
    HandshakeDoneFrame,
    NewTokenFrame,
    PaddingFrame,
    StreamFrame,
    decode_frames,
)
from stack.wire.frames import encode_new_connection_id
from stack.wire.header import HANDSHAKE as HANDSHAKE_PACKET
from stack.wire.header import LongHeader, parse_long_header
from stack.wire.versions import VERSION_2
from tests.support.pair import MS, Datagram, Pair

RUNS = [
    pytest.param({}, id="plain"),
    pytest.param({"server": {"retry": "always"}}, id="Retry"),
    pytest.param({"server": {"versions": (VERSION_2,)}}, id="Version Negotiation"),
    pytest.param({"server": {"versions": (VERSION_2, 1)}}, id="changed version"),
    pytest.param({"chain": 6, "server": {"new_token": True}}, id="long chain"),
]


def busy(fields: dict[str, Any], *, loss: float = 0.1) -> tuple[Pair, Connection, Connection]:
    """A connection that has transferred data both ways over a lossy path."""
    rng = random.Random(4)
    pair = Pair(drop=lambda datagram: rng.random() < loss, **fields)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    server = pair.server_connection
    assert server is not None
    pair.transfer(client, server, bytes(60_000))
    pair.transfer(server, client, bytes(60_000))
    return pair, client, server


def long_headers(datagram: Datagram) -> Iterator[LongHeader]:
    """The long headers in a datagram."""
    start = 0
    while start < len(datagram.payload) and datagram.payload[start] & 0x80:
        header = parse_long_header(datagram.payload, start, greased=True)
        yield header
        start = header.end


def long_header_end(datagram: Datagram) -> int:
    return max((header.end for header in long_headers(datagram)), default=0)


@pytest.mark.requirement("rfc9000:12.3:1")
@pytest.mark.requirement("rfc9000:12.3:2")
@pytest.mark.parametrize("fields", RUNS)
def test_packet_numbers_of_a_space_only_grow(fields: dict[str, Any]) -> None:
    pair, client, server = busy(fields)
    for connection in (client, server):
        sent = pair.recorder_of(connection).sent
        for packet_type in ("initial", "handshake", "1RTT"):
            numbers = [packet.number for packet in sent if packet.packet_type == packet_type]
            if packet_type == "initial" and client.original_destination_cid != pair.sent[0].payload[6:14]:
                continue  # a connection that started again, after Version Negotiation, has new keys
            assert all(before < after for before, after in pairwise(numbers))
            assert numbers


@pytest.mark.requirement("rfc9000:12.4:1")
@pytest.mark.requirement("rfc9000:12.4:5")
@pytest.mark.parametrize("fields", RUNS)
def test_every_packet_holds_frames_whose_types_take_one_byte(fields: dict[str, Any]) -> None:
    """The recorder refuses types in another form."""
    pair, client, server = busy(fields)
    kinds = set()
    for connection in (client, server):
        for packet in pair.recorder_of(connection).sent:
            assert packet.frames
            kinds |= set(map(type, packet.frames))
    assert len(kinds) >= 6


@pytest.mark.requirement("rfc9000:12.2:2")
@pytest.mark.requirement("rfc9000:12.2:4")
@pytest.mark.parametrize("fields", RUNS)
def test_a_datagram_has_one_packet_per_level_and_one_connection_id(fields: dict[str, Any]) -> None:
    pair, client, server = busy(fields, loss=0)
    coalesced = 0
    for datagram in pair.sent:
        headers = list(long_headers(datagram))
        kinds = [header.packet_type for header in headers]
        assert len(kinds) == len(set(kinds))
        identifiers = {header.destination_cid for header in headers}
        end = long_header_end(datagram)
        if headers and end < len(datagram.payload):
            receiver = server if datagram.to_server else client
            identifiers.add(datagram.payload[end + 1 : end + 1 + receiver.local_ids.length])
            kinds.append(-1)
        coalesced += len(kinds) > 1
        assert len(identifiers) <= 1 or not headers
    assert coalesced


@pytest.mark.requirement("rfc9000:12.2:2")
def test_what_is_owed_at_one_time_shares_a_packet() -> None:
    pair = Pair()
    client, server = pair.established()
    for _ in range(3):
        stream_id = client.open_stream()
        assert stream_id is not None
        client.write(stream_id, b"few bytes", True)
    pair.inject(server, b"\x01")
    before = len(pair.sent)
    pair.flush()
    assert len(pair.sent) == before + 1
    frames = pair.recorder_of(client).sent[-1].frames
    assert sum(isinstance(frame, StreamFrame) for frame in frames) == 3


@pytest.mark.requirement("rfc9000:17.3.1:2")
def test_reserved_bits_of_short_headers_are_sent_as_zero() -> None:
    pair, client, server = busy({}, loss=0)
    count = 0
    for datagram in pair.sent:
        receiver = server if datagram.to_server else client
        keys = receiver.spaces[2].read_keys
        assert keys is not None
        if not datagram.payload[0] & 0x80:
            number_at = 1 + receiver.local_ids.length
            unprotected = unprotect_header(keys.header, datagram.payload, 0, number_at, len(datagram.payload), -1)
            assert unprotected is not None
            assert unprotected[0] & 0x18 == 0
            count += 1
    assert count > 50


# Connection IDs of the handshake


@pytest.mark.requirement("rfc9000:7.2:2")
def test_a_client_that_hears_nothing_keeps_to_the_id_it_began_with() -> None:
    pair = Pair(drop=lambda datagram: True)
    pair.connect()
    pair.run_for(5_000 * MS)
    first = parse_long_header(pair.sent[0].payload, 0)
    assert len(pair.sent) > 4
    for datagram in pair.sent:
        for header in long_headers(datagram):
            assert (header.destination_cid, header.source_cid) == (first.destination_cid, first.source_cid)


@pytest.mark.requirement("rfc9000:7.2:5")
@pytest.mark.requirement("rfc9000:7.2:6")
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_a_server_keeps_to_the_id_of_the_clients_first_initial(level: int) -> None:
    pair = Pair(chain=4, drop=lambda datagram: datagram.to_server and datagram.number > 0 and level == INITIAL)
    client = pair.connect()
    pair.run_for((1 if level == INITIAL else 2) * pair.delay_ns)
    server = pair.server_connection
    assert server is not None
    before = server.stats.packets_received
    padding = bytes(1200)
    for source_cid in (b"", b"another1", b"longer than before!!"):
        pair.inject(client, b"\x01" + padding, level, source_cid=source_cid)
        assert pair.recorder_of(server).dropped[-1][2] == "unknown_connection_id"
    pair.drop = None
    pair.run_for(500 * MS)
    assert server.stats.packets_received > before
    theirs = parse_long_header(pair.sent[0].payload, 0).source_cid
    replies = [header for datagram in pair.sent if not datagram.to_server for header in long_headers(datagram)]
    assert len(replies) > 1
    assert {header.destination_cid for header in replies} == {theirs}
    assert server.remote_ids.current == theirs


@pytest.mark.requirement("rfc9000:19.16:2")
def test_an_id_is_retired_in_packets_to_another_one() -> None:
    pair = Pair()
    client, server = pair.established()
    old = client.remote_ids.current
    number = max(server.local_ids.by_sequence) + 1
    pair.inject(server, encode_new_connection_id(number, number, b"the next", bytes(16)))
    before = len(pair.sent)
    pair.drop = lambda datagram: True
    pair.flush()
    retirements = pair.sent[before:]
    assert retirements
    for datagram in retirements:
        assert datagram.payload[1:9] != old
        assert datagram.payload[1:9] == b"the next"


@pytest.mark.requirement("rfc9000:5.1.1:2")
@pytest.mark.requirement("rfc9000:5.1.2:2")
def test_ids_issued_before_work_until_they_are_retired() -> None:
    pair = Pair()
    client, server = pair.established()
    issued = list(server.local_ids.by_sequence.values())
    assert len(issued) == 4
    for connection_id in (*reversed(issued), *issued):
        received = server.stats.packets_received
        pair.inject(client, b"\x01", destination_cid=connection_id)
        assert server.stats.packets_received == received + 1


# Frames that only servers send


@pytest.mark.requirement("rfc9000:19.20:1")
@pytest.mark.requirement("rfc9000:19.7:1")
@pytest.mark.requirement("rfc9000:19.7:3")
@pytest.mark.parametrize("fields", RUNS)
def test_handshake_done_and_new_token_come_from_servers_after_the_handshake(fields: dict[str, Any]) -> None:
    pair, client, server = busy({**fields, "client": {"new_token": True}})
    recorder = pair.recorder_of(client)
    assert recorder.sent_frames(HandshakeDoneFrame) == recorder.sent_frames(NewTokenFrame) == []
    recorder = pair.recorder_of(server)
    finished = next(packet.at for packet in recorder.received if packet.packet_type == "handshake")
    done = [p.at for p in recorder.sent for frame in p.frames if isinstance(frame, HandshakeDoneFrame)]
    assert min(done) >= finished
    tokens = [frame.token for frame in recorder.sent_frames(NewTokenFrame) if isinstance(frame, NewTokenFrame)]
    assert all(tokens)
    assert bool(tokens) == bool(fields.get("server", {}).get("new_token"))


@pytest.mark.requirement("rfc9000:19.20:1")
def test_without_the_clients_finished_there_is_no_handshake_done() -> None:
    def no_handshake(datagram: Datagram) -> bool:
        return datagram.to_server and any(header.packet_type == HANDSHAKE_PACKET for header in long_headers(datagram))

    pair = Pair(drop=no_handshake)
    pair.connect()
    pair.run_for(3_000 * MS)
    server = pair.server_connection
    assert server is not None
    assert pair.recorder_of(server).sent_frames(HandshakeDoneFrame) == []
    pair.drop = None
    pair.run(lambda: bool(pair.recorder_of(server).sent_frames(HandshakeDoneFrame)))
    assert server.handshake_complete


@pytest.mark.requirement("rfc9000:19.19:1")
@pytest.mark.parametrize("reason", ["naïve", "x" * 5000, "x" + "é" * 3000, "日本" * 200, "🙂" * 500])
def test_reasons_are_sent_as_utf_8_even_when_cut(reason: str) -> None:
    pair = Pair()
    client, _ = pair.established()
    client.close(pair.now, 1, reason)
    pair.flush()
    (frame,) = pair.recorder_of(client).sent_frames(ConnectionCloseFrame)
    assert isinstance(frame, ConnectionCloseFrame)
    assert reason.startswith(frame.reason.decode("utf-8"))
    assert frame.reason


# ACK frames


@pytest.mark.requirement("rfc9000:13.2:1")
@pytest.mark.requirement("rfc9000:13.2.1:5")
def test_an_ack_that_could_wait_goes_with_data_that_does_not() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    pair.inject(client, b"\x01")
    number = client.spaces[2].next_packet_number - 1
    pair.flush()
    assert server.spaces[2].acks.ack_at == pair.now + 25 * MS
    server.write(stream_id, b"data")
    pair.flush()
    frames = pair.recorder_of(server).sent[-1].frames
    assert {AckFrame, StreamFrame} <= set(map(type, frames))
    assert next(frame.largest for frame in frames if isinstance(frame, AckFrame)) == number


@pytest.mark.requirement("rfc9000:13.2.6:2")
@pytest.mark.parametrize("fields", RUNS)
def test_packets_are_acknowledged_in_packets_of_their_own_kind(fields: dict[str, Any]) -> None:
    """The numbers in the ACKs of each kind of packet are such as the other end has sent in that kind."""
    pair, client, server = busy({**fields, "delay_ns": 30 * MS}, loss=0)
    for connection, peer in ((client, server), (server, client)):
        for packet_type in ("initial", "handshake", "1RTT"):
            sent = {p.number: p.at for p in pair.recorder_of(peer).sent if p.packet_type == packet_type}
            acked: set[int] = set()
            for packet in pair.recorder_of(connection).sent:
                for frame in packet.frames:
                    if isinstance(frame, AckFrame) and packet.packet_type == packet_type:
                        acked |= {n for low, high in frame.ranges for n in range(low, high + 1)}
            assert acked <= set(sent)
            asking = {
                packet.number
                for packet in pair.recorder_of(connection).received
                if packet.packet_type == packet_type
                and set(map(type, packet.frames)) - {AckFrame, PaddingFrame, ConnectionCloseFrame}
            }
            if packet_type == "1RTT":
                assert len(asking & acked) > 40
                assert len(asking - acked) <= 2, "the last may still wait"


@pytest.mark.requirement("rfc9000:13.2.3:1")
def test_the_newest_packets_are_in_the_ack_however_many_gaps_there_are() -> None:
    acks = Acknowledgments(0, 3)
    for number in range(0, 20 * MAX_RECEIVED_RANGES, 2):
        acks.on_received(number, True, number)
        (frame,) = decode_frames(acks.frame(number))
        assert isinstance(frame, AckFrame)
        assert frame.ranges[0] == (number, number)
        assert [low for low, _ in frame.ranges[:3]] == [each for each in (number, number - 2, number - 4) if each >= 0]


@pytest.mark.requirement("rfc9000:13.2.3:5")
def test_numbers_of_one_byte_are_understood_long_after_the_ranges_were_forgotten() -> None:
    """Everything received is told and acknowledged again and again; the largest number remains to count from."""
    pair = Pair(delay_ns=MS)
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    for _ in range(700):
        client.write(stream_id, b"x")
        pair.run_for(30 * MS)
        server.read(stream_id)
    space = client.spaces[2]
    assert space.next_packet_number > 600
    assert space.next_packet_number - space.largest_acked < 64
    assert server.stats.packets_dropped == 0
    assert server.spaces[2].acks.largest_received == space.next_packet_number - 1
    sizes = {packet.size for packet in pair.recorder_of(client).sent[-100:] if len(packet.frames) == 1}
    assert sizes, "with numbers of one byte"
    assert min(sizes) <= 32


@pytest.mark.requirement("rfc9000:11.2:1")
def test_streams_are_reset_by_applications_alone() -> None:
    """Neither losses, limits, a read that stops nor the end of a connection makes RESET_STREAM or STOP_SENDING."""
    pair, client, server = busy({"server": {"initial_max_stream_data_bidi_remote": 2_000, "initial_max_data": 3_000}})
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(50_000))
    pair.run_for(200 * MS)
    server.close(pair.now)
    pair.settle()
    for connection in (client, server):
        kinds = {type(frame).__name__ for packet in pair.recorder_of(connection).sent for frame in packet.frames}
        assert not kinds & {"ResetStreamFrame", "StopSendingFrame"}
