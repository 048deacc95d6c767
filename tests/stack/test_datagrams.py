"""Datagrams between two endpoints (RFC 9221)."""

import random
from typing import Any

import pytest

from stack.connection import Connection
from stack.errors import (
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    ConfigError,
    ConnectionClosed,
    DatagramError,
    DatagramQueueFull,
)
from stack.events import DatagramAcked, DatagramLost, DatagramReceived, HandshakeCompleted
from stack.limits import MAX_QUEUED_DATAGRAMS
from stack.tls.engine import HANDSHAKE, INITIAL
from stack.wire.decoded_frames import AckFrame, DatagramFrame, PingFrame, StreamFrame
from stack.wire.frames import encode_datagram_header, encode_new_connection_id
from tests.support.pair import MS, SECOND, Pair

TAKES_ALL = {"max_datagram_frame_size": 65_535}
LARGEST = 1200 - 1 - 8 - 4 - 16 - 3  # in a packet of 1200 bytes with a packet number of any length


def pair_of(**changes: Any) -> tuple[Pair, Connection, Connection]:
    """An established pair whose ends both take datagrams; `changes` are further fields of Config."""
    pair = Pair(client=TAKES_ALL | changes, server=TAKES_ALL | changes)
    client, server = pair.established()
    forget_events(pair)
    return pair, client, server


def forget_events(pair: Pair) -> None:
    pair.client_events.clear()
    pair.server_events.clear()


def received(pair: Pair, connection: Connection) -> list[bytes]:
    return [event.data for event in pair.events_of(connection) if isinstance(event, DatagramReceived)]


def fates(pair: Pair, connection: Connection) -> list[DatagramAcked | DatagramLost]:
    return [event for event in pair.events_of(connection) if isinstance(event, DatagramAcked | DatagramLost)]


def code_of(connection: Connection) -> int | None:
    ended = connection.closing.ended
    return None if ended is None or ended.remote else ended.code


def frames_of(pair: Pair, connection: Connection, since: int) -> list[tuple[str, ...]]:
    """For each packet sent since, the kinds of its frames: "data" of streams and datagrams, "ack" and so on."""
    names = {StreamFrame: "stream", DatagramFrame: "datagram", AckFrame: "ack", PingFrame: "ping"}
    sent = pair.recorder_of(connection).sent
    return [tuple(names[type(frame)] for frame in packet.frames) for packet in sent if packet.at >= since]


# Announcing (section 3)


@pytest.mark.requirement("rfc9221:3:1")
@pytest.mark.parametrize("by_client", [True, False])
def test_nothing_is_sent_to_a_peer_that_takes_no_datagrams(by_client: bool) -> None:
    pair = Pair(**{"client" if by_client else "server": TAKES_ALL})
    client, server = pair.established()
    sender = client if by_client else server
    with pytest.raises(DatagramError, match="takes no datagrams"):
        sender.send_datagram(b"data")
    assert sender.max_datagram_payload() == 0


@pytest.mark.requirement("rfc9221:3:1")
def test_nothing_is_sent_before_the_peer_has_announced_what_it_takes() -> None:
    pair = Pair(client=TAKES_ALL, server=TAKES_ALL)
    client = pair.connect()
    with pytest.raises(DatagramError, match="announced no max_datagram_frame_size"):
        client.send_datagram(b"early")
    pair.run(lambda: client.handshake_complete)
    client.send_datagram(b"now")
    pair.settle()
    assert pair.server_connection is not None
    assert received(pair, pair.server_connection) == [b"now"]


@pytest.mark.requirement("rfc9221:3:2")
@pytest.mark.parametrize(("limit", "largest"), [(2, 0), (65, 63), (66, 63), (67, 64), (100, 97)])
def test_no_frame_is_larger_than_the_peer_takes(limit: int, largest: int) -> None:
    pair = Pair(server={"max_datagram_frame_size": limit})
    client, server = pair.established()
    assert client.max_datagram_payload() == largest
    client.send_datagram(bytes(largest))
    with pytest.raises(DatagramError, match=f"{largest + 1} bytes: peer and path take at most {largest}"):
        client.send_datagram(bytes(largest + 1))
    pair.settle()
    assert received(pair, server) == [bytes(largest)]
    assert server.closing.ended is None


def test_no_datagram_is_larger_than_a_packet() -> None:
    pair, client, server = pair_of()
    assert client.max_datagram_payload() == LARGEST
    client.send_datagram(bytes(LARGEST))
    with pytest.raises(DatagramError, match="at most 1168"):
        client.send_datagram(bytes(LARGEST + 1))
    pair.settle()
    assert received(pair, server) == [bytes(LARGEST)]


@pytest.mark.requirement("rfc9221:3:3")
@pytest.mark.parametrize("to_server", [True, False])
@pytest.mark.parametrize("payload", [b"\x30", b"\x30data", b"\x31\x04data"])
def test_a_datagram_that_was_never_announced_closes_the_connection(to_server: bool, payload: bytes) -> None:
    pair = Pair()
    client, server = pair.established()
    sender, receiver = (client, server) if to_server else (server, client)
    pair.inject(sender, payload)
    assert code_of(receiver) == PROTOCOL_VIOLATION
    assert received(pair, receiver) == []


@pytest.mark.requirement("rfc9221:3:4")
@pytest.mark.parametrize(("last", "largest"), [(True, 99), (False, 97)])
def test_a_frame_may_have_as_many_bytes_as_announced_with_type_and_length(last: bool, largest: int) -> None:
    pair = Pair(server={"max_datagram_frame_size": 100})
    client, server = pair.established()
    pair.inject(client, encode_datagram_header(largest, last) + bytes(largest))
    assert code_of(server) is None
    assert received(pair, server) == [bytes(largest)]
    pair.inject(client, encode_datagram_header(largest + 1, last) + bytes(largest + 1))
    assert code_of(server) == PROTOCOL_VIOLATION
    assert received(pair, server) == [bytes(largest)]


@pytest.mark.requirement("rfc9221:3:6")
def test_datagrams_may_go_one_way_only() -> None:
    pair = Pair(server=TAKES_ALL)
    client, server = pair.established()
    client.send_datagram(b"up")
    with pytest.raises(DatagramError):
        server.send_datagram(b"down")
    pair.settle()
    assert received(pair, server) == [b"up"]


@pytest.mark.parametrize("value", [-1, 65_536])
def test_configuration_checks_the_size(value: int) -> None:
    with pytest.raises(ConfigError, match=f"max_datagram_frame_size = {value}: must be from 0 to 65535"):
        Pair(client={"max_datagram_frame_size": value})
    with pytest.raises(ConfigError, match='datagram_overflow = \'wait\': must be "drop_oldest" or "refuse"'):
        Pair(client={"datagram_overflow": "wait"})


# Sending and receiving (section 5)


@pytest.mark.requirement("rfc9221:5:1")
@pytest.mark.requirement("rfc9221:5:2")
@pytest.mark.requirement("rfc9221:5.2:3")
def test_a_datagram_goes_at_once_beside_other_frames_and_is_delivered_on_arrival() -> None:
    pair, client, server = pair_of()
    start = pair.now
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"stream")
    number = client.send_datagram(b"datagram")
    pair.flush()
    assert frames_of(pair, client, start) == [("datagram", "stream")]
    pair.run_until(start + 10 * MS)
    assert received(pair, server) == [b"datagram"]
    pair.run(lambda: DatagramAcked(number) in pair.client_events)
    assert pair.now == start + (10 + 25 + 10) * MS  # after max_ack_delay


def test_datagrams_are_numbered_and_arrive_as_they_were_sent() -> None:
    pair, client, server = pair_of()
    contents = [b"", b"a", bytes(range(250)), bytes(memoryview(b"view"))]
    assert [client.send_datagram(data) for data in contents] == [0, 1, 2, 3]
    pair.settle()
    assert received(pair, server) == contents
    assert fates(pair, client) == [DatagramAcked(number) for number in range(4)]
    assert client.stats.datagram_frames_sent == server.stats.datagram_frames_received == 4


def test_the_length_may_be_left_out_at_the_end_of_a_packet_and_must_not_exceed_it() -> None:
    pair, client, server = pair_of()
    pair.inject(client, b"\x01\x31\x03one\x30the rest\x00")
    assert received(pair, server) == [b"one", b"the rest\x00"]
    pair.inject(client, b"\x31\x05four")
    assert code_of(server) == FRAME_ENCODING_ERROR


@pytest.mark.requirement("rfc9221:5:3")
@pytest.mark.requirement("rfc9221:6:1")
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_no_datagram_is_taken_from_a_packet_without_application_keys(level: int) -> None:
    pair = Pair(client=TAKES_ALL, server=TAKES_ALL, chain=8)
    pair.drop = lambda datagram: not datagram.to_server and datagram.number > 0  # so that the handshake goes on
    client = pair.connect()
    pair.run(lambda: pair.server_connection is not None and client.spaces[level > INITIAL].read_keys is not None)
    server = pair.server_connection
    assert server is not None
    pair.inject(server, b"\x31\x04data", level)
    assert code_of(client) == PROTOCOL_VIOLATION
    assert received(pair, client) == []


@pytest.mark.requirement("rfc9221:5:3")
@pytest.mark.requirement("rfc9221:6:1")
def test_datagrams_sent_during_the_handshake_wait_for_application_keys() -> None:
    pair = Pair(client=TAKES_ALL, server=TAKES_ALL, chain=4, drop=lambda datagram: 1 <= datagram.number <= 2)
    client = pair.connect()
    pair.run(lambda: pair.server_connection is not None)
    server = pair.server_connection
    assert server is not None
    for number in range(10):
        server.send_datagram(bytes((number,)) * 900)
    pair.run(lambda: client.handshake_complete)
    client.send_datagram(b"up")
    pair.settle()
    for connection in (client, server):
        packets = pair.recorder_of(connection).sent
        kinds = {packet.packet_type for packet in packets if any(isinstance(f, DatagramFrame) for f in packet.frames)}
        assert kinds == {"1RTT"}
    completed_at = pair.client_events.index(next(e for e in pair.client_events if isinstance(e, HandshakeCompleted)))
    assert not any(isinstance(event, DatagramReceived) for event in pair.client_events[:completed_at])


@pytest.mark.requirement("rfc9000:19.21:3")
@pytest.mark.requirement("rfc9221:5.2:1")
def test_the_acknowledgment_of_a_datagram_may_wait_for_max_ack_delay() -> None:
    pair, client, server = pair_of(max_ack_delay_ms=40)
    start = pair.now
    client.send_datagram(b"data")
    pair.settle()
    acks = [packet.at for packet in pair.recorder_of(server).sent if packet.at > start]
    assert acks == [start + (10 + 40) * MS]


@pytest.mark.requirement("rfc9221:5.2:2")
def test_a_lost_datagram_is_reported_once_and_never_sent_again() -> None:
    pair, client, server = pair_of()
    start = pair.now
    first = len([datagram for datagram in pair.sent if datagram.to_server])
    pair.drop = lambda datagram: datagram.to_server and datagram.number == first
    numbers = []
    for content in (b"lost", b"second", b"third", b"fourth"):
        numbers.append(client.send_datagram(content))
        pair.flush()
    pair.settle()
    assert received(pair, server) == [b"second", b"third", b"fourth"]
    assert sorted(fates(pair, client), key=lambda fate: fate.datagram_id) == [
        DatagramLost(0, "lost"),
        *(DatagramAcked(number) for number in numbers[1:]),
    ]
    sent = pair.recorder_of(client).sent_frames(DatagramFrame, start)
    assert [frame.data for frame in sent] == [b"lost", b"second", b"third", b"fourth"]
    assert client.stats.datagram_frames_lost == 1


def test_a_probe_timeout_is_no_loss_and_the_datagram_may_still_be_acknowledged() -> None:
    pair, client, server = pair_of()
    pair.drop = lambda datagram: not datagram.to_server  # the ACK gets lost
    number = client.send_datagram(b"data")
    pair.run(lambda: client.stats.pto_expired == 2)
    assert fates(pair, client) == []
    pair.drop = None
    pair.settle()
    assert fates(pair, client) == [DatagramAcked(number)]
    assert received(pair, server) == [b"data"]
    assert PingFrame() in pair.recorder_of(client).sent_frames(PingFrame)


def test_a_datagram_that_no_ack_ever_comes_for_stays_without_fate_until_the_connection_ends() -> None:
    pair, client, _ = pair_of()
    pair.drop = lambda datagram: True
    client.send_datagram(b"data")
    pair.run(lambda: client.closing.ended is not None)
    assert fates(pair, client) == []
    with pytest.raises(ConnectionClosed):
        client.send_datagram(b"late")


@pytest.mark.requirement("rfc9000:19.21:3")
@pytest.mark.requirement("rfc9221:5.4:1")
def test_datagrams_wait_for_the_congestion_window() -> None:
    pair, client, server = pair_of(pacing=False, datagram_send_buffer=1 << 20)
    contents = [number.to_bytes(2) * 500 for number in range(200)]
    for data in contents:
        client.send_datagram(data)
    window = client.path.congestion.congestion_window
    pair.flush()
    sent = len(pair.recorder_of(client).sent_frames(DatagramFrame, pair.now))
    assert 0 < sent < 20
    assert window - 1200 < client.path.bytes_in_flight <= window
    assert client.datagrams.queued == 200 - sent
    pair.settle()
    assert received(pair, server) == contents


def test_datagrams_are_paced() -> None:
    pair, client, _ = pair_of()
    start = pair.now
    for _ in range(40):
        client.send_datagram(bytes(1000))
    pair.run_for(10 * MS)
    times = [packet.at - start for packet in pair.recorder_of(client).sent if packet.at >= start]
    size = pair.recorder_of(client).sent[-1].size
    burst = (10 * 1200 - 1200) // size + 1  # while the bucket, an initial window, holds a full datagram
    assert times[:burst] == [0] * burst
    assert times[burst] > 0


def test_flow_control_does_not_bind_datagrams() -> None:
    limits = {"initial_max_data": 0, "initial_max_stream_data_bidi_remote": 0}
    pair, client, server = pair_of(**limits)
    for _ in range(30):
        client.send_datagram(bytes(1000))
    pair.settle()
    assert len(received(pair, server)) == 30


# Giving up before sending


def test_what_expires_before_it_can_be_sent_is_given_up_at_that_time() -> None:
    pair, client, _ = pair_of(pacing=False, datagram_send_buffer=1 << 20)
    start = pair.now
    pair.drop = lambda datagram: True  # nothing opens the window
    in_time = [client.send_datagram(bytes(1000), expires_at=start + 1) for _ in range(5)]
    for _ in range(30):
        client.send_datagram(bytes(1000))
    late = client.send_datagram(b"late", expires_at=start + 7 * MS)
    later = client.send_datagram(b"later", expires_at=start + 8 * MS, urgency=7)
    pair.run_until(start + 7 * MS - 1)
    assert fates(pair, client) == []
    pair.run_until(start + 7 * MS)
    assert fates(pair, client) == [DatagramLost(late, "expired")]
    pair.run_until(start + 8 * MS)
    assert fates(pair, client) == [DatagramLost(late, "expired"), DatagramLost(later, "expired")]
    assert client.stats.datagram_frames_dropped == 2
    assert client.datagrams.expires_at > pair.now + SECOND
    assert client.stats.datagram_frames_sent > len(in_time)


def test_a_datagram_that_has_expired_already_is_not_sent() -> None:
    pair, client, server = pair_of()
    number = client.send_datagram(b"late", expires_at=pair.now)
    pair.settle()
    assert received(pair, server) == []
    assert fates(pair, client) == [DatagramLost(number, "expired")]


def test_a_full_queue_gives_up_the_oldest() -> None:
    pair, client, server = pair_of(datagram_send_buffer=2_500)
    numbers = [client.send_datagram(bytes((number,)) * 1000) for number in range(5)]
    assert client.datagrams.queued == 2
    pair.settle()
    assert [data[0] for data in received(pair, server)] == [3, 4]
    assert fates(pair, client)[:3] == [DatagramLost(number, "dropped") for number in numbers[:3]]


def test_a_full_queue_gives_up_the_least_urgent_even_if_it_is_the_new_one() -> None:
    pair, client, server = pair_of(datagram_send_buffer=2_500)
    for number, urgency in enumerate((3, 1, 1, 5)):
        client.send_datagram(bytes((number,)) * 1000, urgency=urgency)
    pair.settle()
    assert [data[0] for data in received(pair, server)] == [1, 2]
    assert fates(pair, client)[:2] == [DatagramLost(0, "dropped"), DatagramLost(3, "dropped")]


def test_one_datagram_always_has_room_in_the_queue() -> None:
    pair, client, server = pair_of(datagram_send_buffer=1)
    client.send_datagram(b"first")
    client.send_datagram(b"second")
    pair.settle()
    assert received(pair, server) == [b"second"]


def test_the_queue_has_a_limit_for_empty_datagrams_too() -> None:
    _, client, _ = pair_of()
    for _ in range(MAX_QUEUED_DATAGRAMS + 10):
        client.send_datagram(b"")
    assert client.datagrams.queued == MAX_QUEUED_DATAGRAMS


def test_a_full_queue_may_refuse_instead() -> None:
    pair, client, server = pair_of(datagram_send_buffer=2_500, datagram_overflow="refuse")
    contents = [bytes((number,)) * 1000 for number in range(3)]
    for data in contents[:2]:
        client.send_datagram(data)
    with pytest.raises(DatagramQueueFull, match="2 datagrams of 2000 bytes wait"):
        client.send_datagram(contents[2])
    pair.flush()
    client.send_datagram(contents[2])
    pair.settle()
    assert received(pair, server) == contents


def test_what_no_longer_fits_with_a_longer_connection_id_is_given_up() -> None:
    pair, client, server = pair_of()
    largest = client.send_datagram(bytes(LARGEST))
    small = client.send_datagram(b"small")
    pair.inject(server, encode_new_connection_id(9, 9, bytes(range(20)), bytes(16)))
    assert len(client.remote_ids.current) == 20
    assert client.max_datagram_payload() == LARGEST - 12
    pair.flush()
    assert fates(pair, client) == [DatagramLost(largest, "too_large")]
    sent = pair.recorder_of(client).sent_frames(DatagramFrame, pair.now)
    assert [frame.data for frame in sent] == [b"small"]
    assert small == largest + 1


# Beside streams


def bulk(sender: Connection, size: int, urgency: int | None = None) -> int:
    stream_id = sender.open_stream()
    assert stream_id is not None
    sender.write(stream_id, bytes(size))
    if urgency is not None:
        sender.set_priority(stream_id, urgency)
    return stream_id


@pytest.mark.parametrize("size", [100, 1000, LARGEST])
def test_streams_and_datagrams_take_turns_packet_by_packet(size: int) -> None:
    pair, client, _ = pair_of(pacing=False, datagram_send_buffer=1 << 20)
    bulk(client, 200_000)
    for _ in range(800):
        client.send_datagram(bytes(size))
    start = pair.now
    pair.run_for(100 * MS)
    first = [packet[0] for packet in frames_of(pair, client, start) if packet[0] != "ack"]
    assert len(first) > 40
    assert first[:40] == ["datagram", "stream"] * 20


def test_a_datagram_that_fits_beside_no_ack_gets_the_next_packet() -> None:
    pair, client, server = pair_of(pacing=False)
    bulk(client, 100_000)
    client.send_datagram(bytes(LARGEST))
    start = pair.now
    client.path.congestion.congestion_window = 1200
    pair.inject(server, b"\x01")
    pair.flush()
    assert frames_of(pair, client, start) == [("ack",), ("datagram",)]


def test_large_datagrams_and_streams_in_both_directions_share_the_packets() -> None:
    pair, client, server = pair_of(datagram_send_buffer=1 << 20)
    bulk(client, 1_000_000)
    bulk(server, 1_000_000)
    numbers = [client.send_datagram(bytes(LARGEST)) for _ in range(100)]
    pair.run(lambda: DatagramAcked(numbers[-1]) in pair.client_events)
    assert client.stats.stream_bytes_sent >= 90 * 1000
    assert client.stats.packets_lost == 0
    assert sum(isinstance(event, DatagramAcked) for event in pair.client_events) == 100


@pytest.mark.requirement("rfc9221:5.1:1")
def test_the_more_urgent_goes_first_among_datagrams_and_against_streams() -> None:
    pair, client, server = pair_of(pacing=False, datagram_send_buffer=1 << 20)
    pair.transfer(client, server, bytes(300_000))  # a window for what follows
    start = pair.now
    bulk(client, 20_000, urgency=3)
    for urgency in (5, 2, 5, 1):
        client.send_datagram(bytes((urgency,)) * LARGEST, urgency=urgency)
    pair.flush()
    order = [
        frame.data[0] if isinstance(frame, DatagramFrame) else "stream"
        for packet in pair.recorder_of(client).sent
        if packet.at >= start
        for frame in packet.frames
        if isinstance(frame, DatagramFrame | StreamFrame)
    ]
    assert order == [1, 2, *["stream"] * 18, 5, 5]


# Loss


@pytest.mark.parametrize("seed", range(5))
def test_every_datagram_has_one_fate_and_none_arrives_twice(seed: int) -> None:
    rng = random.Random(seed)
    pair, client, server = pair_of(datagram_send_buffer=1 << 20, max_idle_timeout_ms=0)
    pair.drop = lambda datagram: rng.random() < 0.1
    stream_id = bulk(client, 100_000)
    for number in range(300):
        client.send_datagram(number.to_bytes(2) + bytes(rng.randrange(LARGEST - 1)))
        if number % 3 == 0:
            pair.run_for(MS)
    pair.settle(10 * SECOND)
    pair.drop = None
    client.write(stream_id, b"the end", True)
    pair.settle(60 * SECOND)
    told = fates(pair, client)
    assert sorted(fate.datagram_id for fate in told) == list(range(300))
    arrived = [int.from_bytes(data[:2]) for data in received(pair, server)]
    assert len(set(arrived)) == len(arrived)
    acked = {fate.datagram_id for fate in told if isinstance(fate, DatagramAcked)}
    assert acked <= set(arrived)
    assert 0 < client.stats.datagram_frames_lost < 100
    assert client.path.bytes_in_flight == 0
