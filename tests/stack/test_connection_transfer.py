"""Data between two endpoints: through losses and small windows, in both directions, and the same each time."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.errors import StreamReset, StreamStopped
from stack.events import StreamReadable, StreamsAvailable, StreamSent, StreamWritable
from stack.limits import MAX_NON_ELICITING_PACKETS
from stack.wire.decoded_frames import AckFrame, DataBlockedFrame, MaxStreamsFrame, PingFrame, StreamDataBlockedFrame
from tests.support.pair import MS, SECOND, Datagram, Drop, Pair


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def losing(rate: float, seed: int) -> Drop:
    rng = random.Random(seed)
    return lambda datagram: rng.random() < rate


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    rate=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    window=st.sampled_from([3_000, 20_000, 1 << 20]),
    send_buffer=st.sampled_from([1_000, 1 << 20]),
)
def test_all_bytes_arrive_whatever_is_lost(seed: int, rate: float, window: int, send_buffer: int) -> None:
    limits = {
        "initial_max_data": window,
        "initial_max_stream_data_bidi_local": window,
        "initial_max_stream_data_bidi_remote": window // 2,
        "send_buffer": send_buffer,
        "max_send_buffer": send_buffer,
        "max_idle_timeout_ms": 0,
    }
    pair = Pair(client=limits, server=limits)
    client, server = pair.established()
    pair.drop = losing(rate, seed)
    upload, download = content(60_000), content(90_000)
    stream_id, received = pair.transfer(client, server, upload)
    assert received == upload
    assert pair.pump(server, client, stream_id, download) == download
    pair.drop = None
    pair.settle(60 * SECOND)  # a backed-off PTO may be seconds away
    assert client.streams.streams == server.streams.streams == {}
    assert client.path.bytes_in_flight == server.path.bytes_in_flight == 0
    assert StreamSent(stream_id) in pair.client_events
    assert StreamSent(stream_id) in pair.server_events


def test_two_runs_are_the_same_to_the_byte() -> None:
    digests = []
    for _ in range(2):
        pair = Pair(seed=7)
        client, server = pair.established()
        pair.drop = losing(0.05, 3)
        pair.transfer(server, client, content(100_000))
        digest = hashlib.sha256()
        for datagram in pair.sent:
            digest.update(b"%d %d " % (datagram.at, datagram.to_server) + datagram.payload)
        digests.append(digest.digest())
    assert digests[0] == digests[1]


@pytest.mark.requirement("rfc9002:7:3")
@pytest.mark.parametrize("pacing", [False, True])
def test_the_congestion_window_is_never_exceeded(pacing: bool) -> None:
    pair = Pair(server={"pacing": pacing})
    client, server = pair.established()
    pair.drop = losing(0.02, 1)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, content(500_000), True)
    path, window, excess = server.path, 0, 0
    while server.stats.stream_bytes_sent - server.stats.stream_bytes_retransmitted < 500_000:
        assert pair.step()
        if StreamReadable(stream_id) in pair.client_events:
            pair.client_events.clear()
            while client.read(stream_id)[0]:
                pass
        if path.congestion.congestion_window >= window and not server.recovery.timer.pto_count:
            assert path.bytes_in_flight - path.congestion.congestion_window <= excess
        # what a reduction leaves above the new window may only become less
        window = path.congestion.congestion_window
        excess = max(path.bytes_in_flight - window, 0)


@pytest.mark.requirement("rfc9002:7.7:1")
def test_pacing_spreads_a_window_over_the_round_trip() -> None:
    """After the first burst of ten, datagrams leave one by one at twice the window per round trip."""
    pair = Pair(delay_ns=50 * MS)
    _, server = pair.established()
    start = pair.now
    before = len(pair.sent)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, content(400_000), True)
    pair.run_for(450 * MS)
    times = [datagram.at - start for datagram in pair.sent[before:] if not datagram.to_server]
    per_instant = max(times.count(at) for at in set(times))
    assert per_instant <= 10
    assert len(set(times)) > 20


@pytest.mark.parametrize("size", [1200, 1452, 9000, 65_527])
def test_datagrams_are_never_larger_than_configured(size: int) -> None:
    pair = Pair(client={"datagram_size": size}, server={"datagram_size": size}, chain=60)
    client, server = pair.established()
    pair.transfer(server, client, content(600_000))
    sizes = [len(datagram.payload) for datagram in pair.sent]
    assert max(sizes) <= size
    assert max(sizes) > size - 40


def test_a_datagram_is_never_larger_than_the_peer_takes() -> None:
    pair = Pair(client={"max_udp_payload_size": 1300}, server={"datagram_size": 1452})
    client, server = pair.established()
    before = len(pair.sent)
    pair.transfer(server, client, content(50_000))
    assert max(len(datagram.payload) for datagram in pair.sent[before:]) <= 1300


# Acknowledgments


@pytest.mark.requirement("rfc9000:13.2.1:1")
def test_a_lone_packet_is_acknowledged_after_max_ack_delay() -> None:
    pair = Pair(delay_ns=10 * MS, server={"max_ack_delay_ms": 40})
    client, server = pair.established()
    start = pair.now
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"x")
    pair.run_for(1 * SECOND)
    acks = [packet for packet in pair.recorder_of(server).sent if packet.at > start]
    assert [(packet.at - start, type(packet.frames[0])) for packet in acks] == [(50 * MS, AckFrame)]
    assert len(acks[0].frames) == 1


@pytest.mark.requirement("rfc9000:13.2.1:3")
@pytest.mark.requirement("rfc9000:13.2.2:1")
def test_a_receiver_sends_an_ack_for_every_second_packet_and_a_ping_now_and_then() -> None:
    pair = Pair()
    client, server = pair.established()
    start = pair.now
    pair.transfer(server, client, content(1_000_000))
    data = [packet for packet in pair.recorder_of(server).sent if packet.at >= start]
    answers = [packet for packet in pair.recorder_of(client).sent if packet.at >= start]
    assert len(answers) <= len(data) // 2 + 10
    assert pair.recorder_of(client).sent_frames(PingFrame, since=start)
    pair.settle(200 * MS)
    assert len(client.spaces[2].sent) <= MAX_NON_ELICITING_PACKETS, "acknowledged ACKs are forgotten"


# Streams


@pytest.mark.requirement("rfc9000:4.6:5")
def test_streams_wait_for_credit_and_get_it() -> None:
    pair = Pair(server={"initial_max_streams_bidi": 2})
    client, server = pair.established()
    pair.client_events.clear()
    first = [client.open_stream() for _ in range(3)]
    assert first == [0, 4, None]
    for stream_id in (0, 4):
        client.write(stream_id, b"ask", True)
    pair.run_for(50 * MS)
    for stream_id in (0, 4):
        assert server.read(stream_id) == (b"ask", True)
        server.write(stream_id, b"", True)
    pair.run(lambda: StreamsAvailable(False) in pair.client_events)
    assert client.open_stream() == 8
    assert pair.recorder_of(server).sent_frames(MaxStreamsFrame)


def test_a_reset_and_a_stop_reach_the_other_application() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"a question")
    pair.run_for(11 * MS)
    assert server.read(stream_id) == (b"a question", False)
    client.reset(stream_id, 3)
    client.stop_sending(stream_id, 4)
    pair.run_for(11 * MS)
    with pytest.raises(StreamReset) as reset:
        server.read(stream_id)
    assert reset.value.code == 3
    with pytest.raises(StreamStopped) as stopped:
        server.write(stream_id, b"an answer")
    assert stopped.value.code == 4
    assert StreamWritable(stream_id) in pair.server_events
    pair.settle()
    assert client.streams.streams == server.streams.streams == {}


@pytest.mark.requirement("rfc9000:4.1:4")
def test_a_reader_that_stops_reading_stops_the_sender_and_lets_it_go_on() -> None:
    pair = Pair(server={"initial_max_stream_data_bidi_remote": 10_000})
    client, server = pair.established()
    data = content(30_000)
    stream_id = client.open_stream()
    assert stream_id is not None
    assert client.write(stream_id, data, True) == len(data)
    pair.settle()
    assert server.streams.flow.window.received == 10_000
    assert pair.recorder_of(client).sent_frames(StreamDataBlockedFrame) == [StreamDataBlockedFrame(stream_id, 10_000)]
    assert not pair.recorder_of(client).sent_frames(DataBlockedFrame)
    received = b""
    while len(received) < len(data):
        chunk, _ = server.read(stream_id)
        received += chunk
        pair.run_for(100 * MS)
    assert received == data


def test_lost_data_is_repeated_even_when_the_connection_window_is_full() -> None:
    """The reader waits for exactly the bytes that were lost, and raises no limit before it has them."""
    pair = Pair(server={"initial_max_data": 10_000})
    client, server = pair.established()
    first = next(datagram.number for datagram in reversed(pair.sent) if datagram.to_server) + 1

    def drop(datagram: Datagram) -> bool:
        return datagram.to_server and datagram.number == first

    pair.drop = drop
    data = content(40_000)
    assert pair.transfer(client, server, data)[1] == data
    assert client.stats.stream_bytes_retransmitted > 0


def test_an_application_that_waits_costs_no_wakeups() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 0}, server={"max_idle_timeout_ms": 0})
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"x")
    pair.settle()
    assert pair.next_at() is None
    assert server.read(stream_id) == (b"x", False)
