"""Streams that are reset, but whose beginning arrives (draft-ietf-quic-reliable-stream-reset)."""

import pytest

from stack.errors import (
    FINAL_SIZE_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_ENCODING_ERROR,
    STREAM_STATE_ERROR,
    StreamError,
    StreamReset,
)
from stack.events import StreamReadable
from stack.streams.receive import ReceiveState
from stack.streams.send import SendState
from stack.wire.decoded_frames import (
    MaxDataFrame,
    ResetStreamAtFrame,
    ResetStreamFrame,
    StreamDataBlockedFrame,
    StreamFrame,
)
from stack.wire.frames import (
    encode_max_stream_data,
    encode_reset_stream,
    encode_reset_stream_at,
    encode_stop_sending,
    encode_stream_header,
)
from stack.wire.parameters import TransportParameters
from tests.support.pair import Pair
from tests.support.stream_bench import StreamBench

CODE = 7


def sender(**limits: int) -> tuple[StreamBench, int]:
    values = {"initial_max_data": 10_000, "initial_max_stream_data_uni": 10_000, **limits}
    bench = StreamBench(peer=TransportParameters(initial_max_streams_uni=10, reset_stream_at=True, **values))
    return bench, bench.open(unidirectional=True)


def state(bench: StreamBench, stream_id: int) -> SendState:
    send = bench.table.streams[stream_id].send
    assert send is not None
    return send.state


def receiver(**config: int) -> StreamBench:
    return StreamBench(is_client=False, reset_stream_at=True, **config)


STREAM = 2  # of the client's, unidirectional


def stream_frame(offset: int, data: bytes, fin: bool = False) -> bytes:
    return encode_stream_header(STREAM, offset, len(data), fin) + data


def reset_at(final_size: int, reliable_size: int, code: int = CODE) -> bytes:
    return encode_reset_stream_at(STREAM, code, final_size, reliable_size)


# Sending


def test_bytes_up_to_the_reliable_size_are_sent_again_and_those_beyond_are_not() -> None:
    bench, stream_id = sender()
    bench.table.write(stream_id, bytes(100), False)
    _, data = bench.send()
    bench.table.reset(stream_id, CODE, 40)
    frames, reset = bench.send()
    assert frames == [ResetStreamAtFrame(stream_id, CODE, 100, 40)]
    assert state(bench, stream_id) is SendState.DATA_SENT
    bench.lost(data)
    bench.lost(reset)
    frames, again = bench.send()
    assert frames == [ResetStreamAtFrame(stream_id, CODE, 100, 40), StreamFrame(stream_id, 0, bytes(40), False)]
    bench.acked(again[:1])
    assert state(bench, stream_id) is SendState.DATA_SENT
    bench.acked(again[1:])
    assert bench.table.streams == {}
    assert bench.frames() == []


def test_the_frame_waits_until_the_peers_limits_admit_the_final_size() -> None:
    bench, stream_id = sender(initial_max_stream_data_uni=30)
    bench.table.write(stream_id, bytes(100), True)
    bench.table.reset(stream_id, CODE, 50)
    assert bench.frames() == [StreamFrame(stream_id, 0, bytes(30), False)]
    assert bench.frames() == [StreamDataBlockedFrame(stream_id, 30)]
    assert state(bench, stream_id) is SendState.SEND
    bench.feed(encode_max_stream_data(stream_id, 1000))
    assert bench.frames() == [StreamFrame(stream_id, 30, bytes(20), False)]
    assert bench.frames() == [ResetStreamAtFrame(stream_id, CODE, 50, 50)]


def test_a_reset_after_fin_keeps_the_final_size() -> None:
    bench, stream_id = sender()
    bench.table.write(stream_id, bytes(100), True)
    assert bench.frames() == [StreamFrame(stream_id, 0, bytes(100), True)]
    bench.table.reset(stream_id, CODE, 1)
    assert bench.frames() == [ResetStreamAtFrame(stream_id, CODE, 100, 1)]


def test_the_reliable_size_can_be_reduced_and_only_the_smallest_counts() -> None:
    bench, stream_id = sender()
    bench.table.write(stream_id, bytes(100), False)
    _, data = bench.send()
    bench.table.reset(stream_id, CODE, 80)
    _, first = bench.send()
    bench.table.reset(stream_id, CODE, 20)
    frames, second = bench.send()
    assert frames == [ResetStreamAtFrame(stream_id, CODE, 100, 20)]
    bench.acked(data)
    bench.acked(first)
    assert stream_id in bench.table.streams
    bench.lost(second)
    frames, second = bench.send()
    assert frames == [ResetStreamAtFrame(stream_id, CODE, 100, 20)]
    bench.acked(second)
    assert bench.table.streams == {}
    bench.lost(first)
    assert bench.frames() == []


@pytest.mark.parametrize("by_peer", [False, True])
def test_an_ordinary_reset_may_follow_with_the_same_code_and_final_size(by_peer: bool) -> None:
    bench, stream_id = sender()
    bench.table.write(stream_id, bytes(100), False)
    _, data = bench.send()
    bench.table.reset(stream_id, CODE, 80)
    _, first = bench.send()
    if by_peer:
        bench.feed(encode_stop_sending(stream_id, 99))
    else:
        bench.table.reset(stream_id, 99)
    frames, second = bench.send()
    assert frames == [ResetStreamFrame(stream_id, CODE, 100)]
    bench.lost(data)
    bench.lost(first)
    assert bench.frames() == []
    bench.acked(second)
    assert bench.table.streams == {}


def test_misuse_is_refused() -> None:
    bench, stream_id = sender()
    bench.table.write(stream_id, bytes(10), False)
    with pytest.raises(StreamError, match="reliable_size 11 must be at most 10"):
        bench.table.reset(stream_id, CODE, 11)
    bench.table.reset(stream_id, CODE, 5)
    with pytest.raises(StreamError, match="reliable_size 6 must be at most 5"):
        bench.table.reset(stream_id, CODE, 6)
    with pytest.raises(StreamError, match="was reset with code 7, now 8"):
        bench.table.reset(stream_id, 8, 4)
    with pytest.raises(StreamError, match="was reset by this end"):
        bench.table.write(stream_id, b"x", False)
    unable = StreamBench()
    stream_id = unable.open()
    unable.table.write(stream_id, bytes(10), False)
    with pytest.raises(StreamError, match="no reset_stream_at"):
        unable.table.reset(stream_id, CODE, 5)


# Receiving


def test_the_reliable_bytes_are_read_before_the_reset_is_told() -> None:
    bench = receiver(initial_max_data=1000)
    bench.feed(reset_at(600, 6))
    assert not any(isinstance(event, StreamReadable) for event in bench.events)
    bench.feed(stream_frame(3, b"def"))
    assert bench.table.read(STREAM, None) == (b"", False)
    bench.feed(stream_frame(0, b"abc"))
    assert bench.events[-1] == StreamReadable(STREAM)
    assert bench.table.read(STREAM, 4) == (b"abcd", False)
    assert bench.table.read(STREAM, 0) == (b"", False)
    assert bench.table.read(STREAM, 4) == (b"ef", False)
    assert bench.frames() == []
    with pytest.raises(StreamReset) as caught:
        bench.table.read(STREAM, None)
    assert caught.value.code == CODE
    assert bench.table.streams == {}
    assert bench.frames() == [MaxDataFrame(1600)]  # what will never come gave its credit back


def test_a_reset_whose_bytes_are_there_already_is_told_at_once() -> None:
    bench = receiver()
    bench.feed(stream_frame(0, b"abcdef"))
    bench.feed(stream_frame(10, b"beyond a gap"))
    bench.feed(reset_at(100, 4))
    assert bench.table.read(STREAM, None) == (b"abcdef", False)
    with pytest.raises(StreamReset):
        bench.table.read(STREAM, None)
    assert bench.table.pieces.count == 0


def test_all_data_and_fin_do_not_hide_the_reset() -> None:
    bench = receiver()
    bench.feed(reset_at(3, 2))
    bench.feed(stream_frame(0, b"abc", fin=True))
    assert bench.table.read(STREAM, None) == (b"abc", False)
    with pytest.raises(StreamReset):
        bench.table.read(STREAM, None)


def test_a_smaller_reliable_size_counts_and_a_larger_is_ignored() -> None:
    bench = receiver()
    bench.feed(reset_at(100, 50))
    bench.feed(stream_frame(0, b"abc"))
    receive = bench.table.streams[STREAM].receive
    assert receive is not None
    assert receive.state is ReceiveState.SIZE_KNOWN
    bench.feed(reset_at(100, 60))
    assert receive.reliable_size == 50
    bench.feed(reset_at(100, 3))
    assert receive.state is ReceiveState.DATA_RECVD
    bench.feed(reset_at(100, 50))
    assert bench.table.read(STREAM, None) == (b"abc", False)
    with pytest.raises(StreamReset):
        bench.table.read(STREAM, None)


@pytest.mark.parametrize("frame", [encode_reset_stream(STREAM, CODE, 100), reset_at(100, 0)])
def test_a_reset_without_reliable_bytes_ends_the_stream(frame: bytes) -> None:
    bench = receiver()
    bench.feed(reset_at(100, 50))
    bench.feed(frame)
    with pytest.raises(StreamReset):
        bench.table.read(STREAM, None)
    assert bench.table.flow.window.consumed == 100


@pytest.mark.parametrize("before", [False, True])
def test_a_stopped_stream_needs_no_reliable_bytes(before: bool) -> None:
    bench = receiver()
    bench.feed(stream_frame(0, b"abc"))
    if before:
        bench.table.stop_sending(STREAM, 1)
        bench.feed(reset_at(100, 50))
    else:
        bench.feed(reset_at(100, 50))
        bench.table.stop_sending(STREAM, 1)
        bench.feed(stream_frame(3, bytes(47)))
    assert bench.table.streams == {}
    assert bench.table.flow.window.consumed == 100


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (b"", reset_at(4, 5), FRAME_ENCODING_ERROR),
        (b"", reset_at(1 << 30, 5), FLOW_CONTROL_ERROR),
        (reset_at(10, 5), reset_at(11, 5), FINAL_SIZE_ERROR),
        (reset_at(10, 5), reset_at(10, 4, CODE + 1), STREAM_STATE_ERROR),
        (reset_at(10, 5), encode_reset_stream(STREAM, CODE + 1, 10), STREAM_STATE_ERROR),
        (reset_at(10, 5), stream_frame(8, b"abc"), FINAL_SIZE_ERROR),
        (b"", encode_reset_stream_at(3, CODE, 1, 1), STREAM_STATE_ERROR),
    ],
)
def test_what_contradicts_is_refused(first: bytes, second: bytes, code: int) -> None:
    bench = receiver()
    bench.open(unidirectional=True)
    if first:
        bench.feed(first)
    assert bench.error(second) == code


def test_the_connections_limit_counts_the_final_size() -> None:
    bench = receiver(initial_max_data=100)
    assert bench.error(reset_at(101, 1)) == FLOW_CONTROL_ERROR


def test_a_frame_that_we_did_not_announce_is_refused() -> None:
    bench = StreamBench(is_client=False)
    assert bench.error(reset_at(10, 5)) == FRAME_ENCODING_ERROR


def test_the_beginning_of_a_stream_arrives_although_it_was_lost_and_reset() -> None:
    lost = iter([True, True, True])
    pair = Pair(server={"reset_stream_at": True})
    client, server = pair.established()
    pair.drop = lambda datagram: datagram.to_server and next(lost, False)
    stream_id = client.open_stream(unidirectional=True)
    assert stream_id is not None
    client.write(stream_id, b"who I am" + bytes(3000))
    pair.flush()
    client.reset(stream_id, CODE, reliable_size=8)
    pair.run(lambda: StreamReadable(stream_id) in pair.server_events)
    data, finished = server.read(stream_id)
    assert data[:8] == b"who I am"
    assert not finished
    with pytest.raises(StreamReset):
        server.read(stream_id)
    pair.settle()
    assert client.streams.streams == server.streams.streams == {}
    answer = server.open_stream()
    assert answer is not None
    server.write(answer, b"abc")
    with pytest.raises(StreamError, match="no reset_stream_at"):
        server.reset(answer, 1, reliable_size=2)
