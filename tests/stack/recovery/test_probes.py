"""Probe packets and ACKs on the wire: what they carry and what holds them back (RFC 9002 sections 6.2.4 and 7)."""

import pytest

from stack.connection import Connection
from stack.recovery.acknowledgments import NEVER
from stack.recovery.sent import SentPacket
from stack.wire.decoded_frames import AckFrame, PaddingFrame, PingFrame, StreamFrame
from stack.wire.frames import encode_path_challenge
from tests.support.pair import MS, Pair
from tests.support.recorder import Packet

PING = b"\x01"


def probes(pair: Pair, client: Connection) -> list[Packet]:
    """Let the client's next probe timeout expire; return what it then sends."""
    expired = client.stats.pto_expired
    pair.run(lambda: client.stats.pto_expired > expired)
    return [packet for packet in pair.recorder_of(client).sent if packet.at == pair.now]


@pytest.mark.requirement("rfc9002:6.2.4:3")
@pytest.mark.requirement("rfc9002:6.2.4:8")
def test_a_probe_with_nothing_to_say_is_one_packet_with_ping() -> None:
    """The lost packet held a PATH_RESPONSE, which nobody repeats."""
    pair = Pair()
    client, server = pair.established()
    pair.drop = lambda datagram: datagram.to_server
    pair.inject(server, encode_path_challenge(b"12345678"))
    pair.flush()
    armed_at = client.recovery.timer.at
    (probe,) = probes(pair, client)
    assert probe.at == armed_at
    assert PingFrame() in probe.frames
    assert all(isinstance(frame, PingFrame | PaddingFrame | AckFrame) for frame in probe.frames)
    assert pair.now < client.recovery.timer.at < NEVER


@pytest.mark.requirement("rfc9002:6.2.4:3")
@pytest.mark.requirement("rfc9002:6.2.4:5")
@pytest.mark.requirement("rfc9002:7.5:1")
@pytest.mark.requirement("rfc9002:7.5:2")
def test_probes_go_beyond_a_full_window_count_in_flight_and_carry_new_data() -> None:
    """Small packets fill the window and are lost; what is written after that has to wait for the probes."""
    pair = Pair(client={"pacing": False}, drop=lambda datagram: False)
    client, _ = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    pair.drop = lambda datagram: datagram.to_server
    path, offset = client.path, 0
    while path.window_available() >= path.datagram_size:
        offset += client.write(stream_id, bytes(50))
        pair.flush()
    client.write(stream_id, bytes(10_000))
    before, held = len(pair.sent), path.bytes_in_flight
    pair.flush()
    assert len(pair.sent) == before
    sent = probes(pair, client)
    assert len(sent) == 2
    for probe in sent:
        assert any(isinstance(frame, StreamFrame) for frame in probe.frames)
    assert path.bytes_in_flight == held + sum(probe.size for probe in sent)
    assert path.bytes_in_flight > path.congestion.congestion_window
    new = [frame.offset + len(frame.data) for probe in sent for frame in probe.frames if isinstance(frame, StreamFrame)]
    assert max(new) > offset


@pytest.mark.requirement("rfc9002:6.2.4:6")
def test_both_probes_carry_what_finds_room_in_one() -> None:
    """So that what was lost need not wait for another timeout if the first probe is lost too."""
    pair = Pair()
    client, _ = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    pair.drop = lambda datagram: datagram.to_server
    client.write(stream_id, b"little", True)
    pair.flush()
    sent = probes(pair, client)
    assert [[frame for frame in probe.frames if isinstance(frame, StreamFrame)] for probe in sent] == [
        [StreamFrame(stream_id, 0, b"little", True)]
    ] * 2


@pytest.mark.requirement("rfc9000:13.2.7:1")
def test_padded_acks_that_fill_the_window_are_acknowledged_when_data_waits() -> None:
    """Packets with PADDING count as in flight, but a peer need not acknowledge what is no more than that."""
    pair = Pair(client={"pacing": False})
    client, server = pair.established()
    space, path = client.spaces[2], client.path
    while path.window_available() >= path.datagram_size:
        client.recovery.on_packet_sent(space, SentPacket(space.next_packet_number, 0, 1200, False, True, [], path))
        space.next_packet_number += 1
    _, received = pair.transfer(client, server, bytes(20_000))
    assert len(received) == 20_000


@pytest.mark.requirement("rfc9002:7.7:5")
@pytest.mark.requirement("rfc9002:7.8:2")
def test_pacing_holds_back_data_and_no_acks_and_is_not_for_want_of_data() -> None:
    pair = Pair(delay_ns=50 * MS)
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(500_000))
    pair.flush()
    assert pair.now < client.sender.pacing_at < NEVER
    assert client.path.window_available() >= client.path.datagram_size
    assert not client.path.app_limited
    pair.inject(server, PING)
    pair.inject(server, PING)
    before = len(pair.recorder_of(client).sent)
    pair.flush()
    (packet,) = pair.recorder_of(client).sent[before:]
    assert [type(frame) for frame in packet.frames] == [AckFrame]
    assert packet.at == pair.now < client.sender.pacing_at
