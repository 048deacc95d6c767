"""Packets that arrive before their keys: when they count as arrived, and when they are acknowledged."""

import pytest

from stack.connection import Connection
from stack.tls.engine import APPLICATION, HANDSHAKE
from stack.wire.decoded_frames import AckFrame
from stack.wire.frames import encode_stream_header
from tests.support.pair import MS, Pair

DELAY = 10 * MS
LATE = 80 * MS


def overtaken() -> tuple[Pair, Connection, Connection]:
    """A server that has sent data, whose client's Finished is lost, and that gets the ACK of the data: pair, both ends.

    The server sends at 10 ms and the client's first 1-RTT packet arrives at 30 ms; its Finished comes later.
    """
    pair = Pair(delay_ns=DELAY, server={"ack_delay_exponent": 0})
    client = pair.connect()
    pair.run_until(DELAY)
    server = pair.server_connection
    assert server is not None
    stream_id = server.open_stream(unidirectional=True)
    assert stream_id is not None
    server.write(stream_id, b"early")
    pair.drop = lambda datagram: datagram.to_server
    pair.run_until(2 * DELAY)
    assert client.handshake_complete
    pair.run_until(3 * DELAY)
    pair.drop = None
    pair.inject(client, b"\x02\x00\x00\x00\x00" + encode_stream_header(0, 0, 2, False) + b"hi")
    assert [kind for _, kind in pair.recorder_of(server).buffered] == ["1RTT"]
    return pair, client, server


def finish(pair: Pair, client: Connection) -> None:
    """Deliver the client's Finished, in the packet that was lost, without what came with it."""
    for datagram, packets in pair.datagrams_of(client):
        start = 0
        for packet in packets:
            if packet.packet_type == "handshake":
                pair.deliver(datagram.payload[start : start + packet.size], to_server=True)
                return
            start += packet.size


@pytest.mark.requirement("rfc9000:13.1:1")
@pytest.mark.requirement("rfc9000:13.2.5:2")
@pytest.mark.requirement("rfc9000:13.2.5:3")
def test_the_ack_tells_how_long_a_packet_has_waited_for_its_keys() -> None:
    pair, client, server = overtaken()
    number = client.spaces[2].next_packet_number - 1
    pair.flush()
    acks = server.spaces[2].acks
    assert number not in acks.received
    assert not acks.unsent
    pair.now += LATE
    finish(pair, client)
    assert number in acks.received
    pair.flush()
    frames = pair.recorder_of(server).sent_frames(AckFrame, since=pair.now)
    (ack,) = [frame for frame in frames if isinstance(frame, AckFrame) and frame.largest == number]
    assert ack.delay == LATE // 1000


@pytest.mark.requirement("rfc9002:5.3:7")
def test_the_wait_for_keys_is_no_part_of_the_round_trip() -> None:
    pair, client, server = overtaken()
    pair.now += LATE
    finish(pair, client)
    assert server.path.rtt.latest_rtt_ns == 2 * DELAY


@pytest.mark.requirement("rfc9000:13.2.5:1")
def test_the_ack_delay_is_the_time_that_the_receiver_let_pass() -> None:
    """Whatever the network and the pacing of earlier packets did before and after."""
    pair = Pair(delay_ns=37 * MS, server={"ack_delay_exponent": 0, "max_ack_delay_ms": 11})
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    for wait_ms, expected_ms in ((0, 11), (4, 4)):
        client.write(stream_id, b"x")
        pair.run_for(37 * MS + wait_ms * MS)
        if wait_ms:
            server.write(stream_id, b"y")
        arrived = pair.now - wait_ms * MS
        pair.run_for(20 * MS)
        (ack,) = pair.recorder_of(server).sent_frames(AckFrame, since=arrived)
        assert isinstance(ack, AckFrame)
        assert ack.delay == expected_ms * 1000
        pair.settle()


@pytest.mark.requirement("rfc9000:13.1:1")
@pytest.mark.parametrize("level", [HANDSHAKE, APPLICATION])
def test_a_packet_that_is_not_authentic_is_not_acknowledged(level: int) -> None:
    if level == APPLICATION:
        pair = Pair()
        client, server = pair.established()
    else:
        pair = Pair(chain=4)
        client = pair.connect()
        pair.run_until(20 * MS)
        pair.drop = lambda datagram: True
        assert pair.server_connection is not None
        server = pair.server_connection
    packet = bytearray(pair.craft(client, b"\x01" + bytes(30), level))
    space = next(space for space in client.spaces if space.level == level)
    number = space.next_packet_number - 1
    packet[-1] ^= 1
    pair.deliver(bytes(packet), to_server=True)
    acks = next(space for space in server.spaces if space.level == level).acks
    assert number not in acks.received
    assert not acks.unsent
