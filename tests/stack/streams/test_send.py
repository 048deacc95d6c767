"""The sending part of a stream: whatever is lost and acknowledged, the receiver gets the same bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import StreamError, StreamStopped
from stack.events import StreamSent, StreamWritable
from stack.sent_frame import SentFrame
from stack.streams.flow import ReceiveWindow
from stack.streams.receive import ReceiveStream
from stack.streams.send import TRANSITIONS, SendBuffer, SendState, Trigger
from stack.wire.decoded_frames import ResetStreamFrame, StreamDataBlockedFrame, StreamFrame
from stack.wire.frames import encode_max_stream_data, encode_stop_sending
from tests.support.stream_bench import StreamBench


@given(st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.booleans()), max_size=80))
def test_a_buffer_offers_every_byte_until_it_is_acknowledged(
    content: bytes, fates: list[tuple[int, int, bool]]
) -> None:
    """Fates pick a range in flight, the size of the next range, and whether the picked one arrived."""
    buffer = SendBuffer()
    buffer.append(content)
    in_flight: list[tuple[int, int]] = []
    arrived: set[int] = set()

    def send(room: int) -> None:
        start, end = buffer.next_range(room, buffer.written)
        assert end - start <= room
        assert buffer.slice(start, end) == content[start:end]
        assert not arrived & set(range(start, end)), "acknowledged bytes are not sent again"
        if start < end:
            in_flight.append((start, end))

    for pick, room, ok in fates:
        send(room)
        if in_flight:
            start, end = in_flight.pop(pick % len(in_flight))
            if ok:
                arrived.update(range(start, end))
                buffer.on_acked(start, end)
            else:
                buffer.on_lost(start, end)
        assert buffer.all_acked == (len(arrived) == len(content))
    while in_flight or buffer.pending:
        while buffer.pending:
            send(1000)
        start, end = in_flight.pop()
        arrived.update(range(start, end))
        buffer.on_acked(start, end)
    assert buffer.all_acked
    assert buffer.held == 0


def test_an_end_without_data_may_be_acknowledged_before_the_data() -> None:
    buffer = SendBuffer()
    buffer.append(b"abc")
    assert buffer.next_range(10, buffer.written) == (0, 3)
    buffer.on_acked(3, 3)
    assert not buffer.all_acked
    buffer.on_acked(0, 3)
    assert buffer.all_acked


@pytest.mark.requirement("rfc9000:2.2:1")
@pytest.mark.requirement("rfc9000:13.3:6")
@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.lists(st.tuples(st.integers(24, 90), st.integers(0, 9), st.sampled_from("dla")), max_size=60),
)
def test_the_receiver_gets_the_same_bytes_whatever_is_lost(
    pieces: list[bytes], fates: list[tuple[int, int, str]]
) -> None:
    """A frame is delivered (d), lost (l), or delivered and acknowledged (a), in any order."""
    bench = StreamBench()
    stream_id = bench.open(unidirectional=True)
    for piece in pieces:
        assert bench.table.write(stream_id, piece, False) == len(piece)
    bench.table.write(stream_id, b"", True)
    receiver, received = ReceiveStream(stream_id, ReceiveWindow(1 << 20)), bytearray()
    in_flight: list[tuple[list[StreamFrame], list[SentFrame]]] = []

    def deliver(frames: list[StreamFrame]) -> None:
        for frame in frames:
            receiver.on_data(frame.offset, frame.data, frame.fin, 0x08)
            received.extend(receiver.read(None))

    def send(room: int) -> None:
        frames, sent = bench.send(room)
        if sent:
            in_flight.append(([frame for frame in frames if isinstance(frame, StreamFrame)], sent))

    for room, pick, fate in fates:
        send(room)
        if not in_flight:
            continue
        frames, sent = in_flight[pick % len(in_flight)]
        if fate != "l":
            deliver(frames)
        if fate == "a":
            bench.acked(sent)
        elif fate == "l":
            bench.lost(sent)
        if fate != "d":
            in_flight.remove((frames, sent))
    while bench.table.streams:
        send(1200)
        frames, sent = in_flight.pop(0)
        deliver(frames)
        bench.acked(sent)
    assert bytes(received) == b"".join(pieces)
    assert receiver.finished
    assert bench.events == [StreamSent(stream_id)]
    assert not bench.frames()


def test_a_late_acknowledgment_cancels_the_retransmission() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, b"abcdef", False)
    _, sent = bench.send()
    bench.lost(sent)
    bench.acked(sent)
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:13.3:4")
def test_lost_bytes_go_before_new_ones() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, bytes(1000), False)
    _, first = bench.send(200)
    bench.lost(first)
    frame = bench.frames(200)[0]
    assert isinstance(frame, StreamFrame)
    assert frame.offset == 0
    assert bench.stats.stream_bytes_retransmitted == len(frame.data)


def test_a_write_takes_what_the_buffer_has_room_for_and_goes_on_when_half_is_free() -> None:
    bench = StreamBench(send_buffer=100)
    stream_id = bench.open()
    assert bench.table.write(stream_id, bytes(150), True) == 100
    assert bench.table.write(stream_id, bytes(50), True) == 0
    packets = [bench.send(60)[1] for _ in range(2)]
    bench.acked(packets[0])
    assert bench.events == [StreamWritable(stream_id)]
    taken = bench.table.write(stream_id, bytes(50), True)
    assert taken == 50
    bench.acked(packets[1])
    frames, sent = bench.send()
    assert frames == [StreamFrame(stream_id, 100, bytes(50), True)]
    bench.acked(sent)
    assert bench.events[-1] == StreamSent(stream_id)


@pytest.mark.requirement("rfc9000:2.2:4")
@pytest.mark.requirement("rfc9000:19.10:3")
@pytest.mark.requirement("rfc9000:19.13:1")
def test_the_peers_stream_limit_holds_new_data_back_and_is_reported() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    limit = 1 << 20
    bench.table.write(stream_id, bytes(limit), False)
    sent_bytes = 0
    while frames := [frame for frame in bench.frames() if isinstance(frame, StreamFrame)]:
        sent_bytes += sum(len(frame.data) for frame in frames)
    assert sent_bytes == limit
    stream = bench.table.streams[stream_id].send
    assert stream is not None
    stream.buffer.on_acked(0, limit)
    assert bench.table.write(stream_id, b"more", False) == 4
    assert bench.frames() == []
    bench.feed(encode_max_stream_data(stream_id, limit + 1))
    assert bench.frames() == [StreamFrame(stream_id, limit, b"m", False)]
    assert bench.frames() == [StreamDataBlockedFrame(stream_id, limit + 1)]


@pytest.mark.requirement("rfc9000:4.1:3")
def test_a_smaller_stream_limit_is_ignored() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.feed(encode_max_stream_data(stream_id, 5))
    bench.table.write(stream_id, bytes(500), True)
    assert len(bench.frames()[0].data) == 500  # type: ignore[union-attr]  # the one frame is a STREAM frame


@pytest.mark.requirement("rfc9000:3.5:2")
@pytest.mark.requirement("rfc9000:3.5:5")
@pytest.mark.requirement("rfc9000:3.3:2")
def test_stop_sending_is_answered_with_a_reset_of_the_same_code() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, bytes(500), False)
    bench.send(200)
    sent = bench.table.streams[stream_id].send
    assert sent is not None
    size = sent.buffer.next_offset
    bench.feed(encode_stop_sending(stream_id, 9))
    assert bench.events == [StreamWritable(stream_id)]
    with pytest.raises(StreamStopped) as caught:
        bench.table.write(stream_id, b"x", False)
    assert caught.value.code == 9
    assert bench.frames() == [ResetStreamFrame(stream_id, 9, size)]
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:13.3:1")
@pytest.mark.requirement("rfc9000:3.3:1")
def test_a_reset_is_repeated_unchanged_until_acknowledged_and_data_is_not() -> None:
    bench = StreamBench()
    stream_id = bench.open(unidirectional=True)
    bench.table.write(stream_id, bytes(500), True)
    _, data = bench.send(200)
    bench.table.reset(stream_id, 3)
    with pytest.raises(StreamError):
        bench.table.write(stream_id, b"x", False)
    frames, reset = bench.send()
    assert [type(frame) for frame in frames] == [ResetStreamFrame]
    bench.lost(data)
    bench.lost(reset)
    again, reset = bench.send()
    assert again == frames
    bench.acked(reset)
    bench.acked(data)
    assert bench.table.streams == {}
    assert bench.frames() == []


def test_writing_after_the_end_is_a_misuse() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, b"x", True)
    with pytest.raises(StreamError, match="ended"):
        bench.table.write(stream_id, b"y", False)


def test_transition_table() -> None:
    """RFC 9000 figure 2."""
    table = {(old.value, trigger.name): new.value for old, row in TRANSITIONS.items() for trigger, new in row.items()}
    assert table == {
        ("send", "FIN"): "data_sent",
        ("send", "RESET"): "reset_sent",
        ("data_sent", "ALL_ACKED"): "data_recvd",
        ("data_sent", "RESET"): "reset_sent",
        ("reset_sent", "RESET_ACKED"): "reset_recvd",
    }
    assert set(TRANSITIONS) == set(SendState)
    assert {trigger for row in TRANSITIONS.values() for trigger in row} == set(Trigger)
