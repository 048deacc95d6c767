"""How small and how large packets and datagrams are (RFC 9000 sections 10.3, 13.2.7 and 14)."""

import pytest

from stack.lifecycle import State
from stack.wire.decoded_frames import AckFrame, PaddingFrame, PingFrame
from stack.wire.frames import encode_stream_header
from tests.support.pair import MS, SECOND, Datagram, Pair

PING = b"\x01"
LENGTHS = [(8, 8), (8, 0), (0, 8), (20, 0), (20, 20), (4, 20), (0, 0)]


def lengths(ours: int, peers: int) -> dict[str, dict[str, int]]:
    return {"server": {"connection_id_length": ours}, "client": {"connection_id_length": peers}}


@pytest.mark.requirement("rfc9000:10.3:4")
@pytest.mark.parametrize(("ours", "peers"), LENGTHS)
def test_every_packet_is_longer_than_a_reset_that_answers_it(ours: int, peers: int) -> None:
    pair = Pair(**lengths(ours, peers))
    client, server = pair.established()
    assert len(server.local_ids.first) == ours
    pair.transfer(client, server, bytes(30_000))
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, b"x")
    pair.settle()
    server.close(pair.now)
    pair.settle()
    sizes = [packet.size for packet in pair.recorder_of(server).sent]
    assert min(sizes) >= ours + 22
    assert any(ours + 22 <= size < ours + 42 for size in sizes), "some are small"


@pytest.mark.requirement("rfc9000:13.2.7:1")
def test_padded_acks_leave_the_window_because_pings_ask_for_acks_now_and_then() -> None:
    """With IDs of 20 bytes at one end and none at the other, every ACK needs padding."""
    pair = Pair(**lengths(20, 0))
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    for _ in range(400):
        client.write(stream_id, b"x")
        pair.run_for(60 * MS)
        server.read(stream_id)
    acks = [
        packet for packet in pair.recorder_of(server).sent if {AckFrame, PaddingFrame} == set(map(type, packet.frames))
    ]
    assert len(acks) > 300
    assert PingFrame() in pair.recorder_of(server).sent_frames(PingFrame)
    assert server.path.bytes_in_flight < 70 * 50
    assert server.path.bytes_in_flight < sum(packet.size for packet in acks) / 4


def test_acks_go_without_padding_when_the_window_is_full() -> None:
    pair = Pair(**lengths(20, 0))
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    pair.drop = lambda datagram: not datagram.to_server
    server.write(stream_id, bytes(100_000))
    pair.run_for(30 * MS)
    assert server.path.window_available() < 60
    held = server.path.bytes_in_flight
    for _ in range(2):
        pair.inject(client, PING)
    pair.flush()
    packet = pair.recorder_of(server).sent[-1]
    assert [type(frame) for frame in packet.frames] == [AckFrame]
    assert server.path.bytes_in_flight == held


@pytest.mark.requirement("rfc9000:14:1")
def test_a_path_without_room_for_1200_bytes_carries_no_connection() -> None:
    def too_large(datagram: Datagram) -> bool:
        return len(datagram.payload) >= 1200

    pair = Pair(drop=too_large)
    client = pair.connect()
    pair.run(lambda: client.closed)
    assert not client.handshake_complete
    assert client.closing.state is State.CLOSED
    assert pair.now >= 30 * SECOND
    assert len(pair.sent) > 3
    assert all(len(datagram.payload) >= 1200 for datagram in pair.sent)
    assert pair.server_connection is None


@pytest.mark.requirement("rfc9000:6:1")
@pytest.mark.parametrize("versions", [(1, 0x6B3343CF), (0x6B3343CF, 1), (1,), (0x6B3343CF,)])
def test_the_first_datagram_is_as_large_as_any_of_the_versions_asks_for(versions: tuple[int, ...]) -> None:
    """Both versions ask for 1200 bytes."""
    pair = Pair(client={"versions": versions})
    pair.connect()
    pair.flush()
    assert len(pair.sent[0].payload) >= 1200


@pytest.mark.requirement("rfc9000:14:4")
@pytest.mark.parametrize("size", [0, 1, 20, 21, 30, 1199, 1500, 9000, 65_527])
@pytest.mark.parametrize("to_server", [True, False])
def test_no_size_of_a_datagram_closes_a_connection(size: int, to_server: bool) -> None:
    pair = Pair(client={"max_udp_payload_size": 1200}, server={"max_udp_payload_size": 1200})
    client, server = pair.established()
    sender, receiver = (client, server) if to_server else (server, client)
    overhead = len(pair.craft(sender, PING)) - 1
    if size > overhead:
        pair.inject(sender, PING + bytes(size - overhead - 1))
    else:
        pair.deliver((b"\x40" + receiver.local_ids.first + bytes(20))[:size], to_server)
    pair.inject(sender, encode_stream_header(0 if to_server else 1, 0, 2, False) + b"hi")
    assert not receiver.closed
    assert receiver.read(0 if to_server else 1)[0] == b"hi"
