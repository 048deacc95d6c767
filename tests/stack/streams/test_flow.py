"""Flow control over all streams of a connection, both directions, and the order in which streams send."""

import pytest

from stack.errors import FLOW_CONTROL_ERROR
from stack.events import StreamReadable
from stack.wire.decoded_frames import DataBlockedFrame, MaxDataFrame, MaxStreamDataFrame, StreamFrame
from stack.wire.frames import (
    encode_data_blocked,
    encode_max_data,
    encode_reset_stream,
    encode_stream_data_blocked,
    encode_stream_header,
)
from stack.wire.parameters import TransportParameters
from tests.support.stream_bench import StreamBench

NARROW = TransportParameters(
    initial_max_data=100,
    initial_max_stream_data_bidi_local=1000,
    initial_max_stream_data_bidi_remote=1000,
    initial_max_streams_bidi=10,
)


def stream_frame(stream_id: int, offset: int, data: bytes, fin: bool = False) -> bytes:
    return encode_stream_header(stream_id, offset, len(data), fin) + data


def data_sent(bench: StreamBench) -> int:
    """Send all that can go; return the bytes of stream data."""
    total = 0
    while frames := bench.frames():
        total += sum(len(frame.data) for frame in frames if isinstance(frame, StreamFrame))
    return total


@pytest.mark.requirement("rfc9000:4.1:1")
@pytest.mark.requirement("rfc9000:4.1:4")
@pytest.mark.requirement("rfc9000:19.12:1")
def test_all_streams_together_stay_below_the_connections_limit() -> None:
    bench = StreamBench(peer=NARROW)
    streams = [bench.open() for _ in range(3)]
    for stream_id in streams:
        bench.table.write(stream_id, bytes(60), True)
    frames = bench.frames()
    assert sum(len(frame.data) for frame in frames if isinstance(frame, StreamFrame)) == 100
    assert bench.frames() == [DataBlockedFrame(100)]
    assert bench.frames() == []
    bench.feed(encode_max_data(130))
    assert data_sent(bench) == 30
    bench.feed(encode_max_data(1000))
    assert data_sent(bench) == 50


@pytest.mark.requirement("rfc9000:4.1:3")
@pytest.mark.requirement("rfc9000:13.3:5")
def test_a_smaller_limit_of_the_connection_is_ignored() -> None:
    bench = StreamBench(peer=NARROW)
    bench.feed(encode_max_data(5))
    bench.table.write(bench.open(), bytes(500), True)
    assert data_sent(bench) == 100


@pytest.mark.requirement("rfc9000:13.3:4")
def test_what_is_lost_goes_again_although_the_connections_limit_is_reached() -> None:
    """The receiver may need exactly these bytes before it can raise the limit."""
    bench = StreamBench(peer=NARROW)
    stream_id = bench.open()
    bench.table.write(stream_id, bytes(500), True)
    frames, sent = bench.send()
    assert frames == [StreamFrame(stream_id, 0, bytes(100), False)]
    assert bench.frames() == [DataBlockedFrame(100)]
    bench.lost(sent)
    assert bench.frames() == [StreamFrame(stream_id, 0, bytes(100), False)]
    bench.feed(encode_max_data(1000))
    assert data_sent(bench) == 400


def test_a_held_back_stream_that_is_reset_does_not_disturb_the_others() -> None:
    bench = StreamBench(peer=NARROW)
    first, second = bench.open(), bench.open()
    bench.table.write(first, bytes(100), False)
    bench.table.write(second, bytes(50), True)
    data_sent(bench)
    bench.table.write(first, bytes(50), True)
    assert data_sent(bench) == 0
    bench.table.reset(first, 1)
    bench.feed(encode_max_data(150))
    assert [type(frame).__name__ for frame in bench.frames()] == ["ResetStreamFrame", "StreamFrame"]


def test_streams_take_turns() -> None:
    bench = StreamBench()
    streams = [bench.open() for _ in range(4)]
    for stream_id in streams:
        bench.table.write(stream_id, bytes(1000), True)
    order = [frame.stream_id for _ in range(8) for frame in bench.frames(200) if isinstance(frame, StreamFrame)]
    assert order == streams * 2


@pytest.mark.parametrize("room", [1200, 9000, 40_000, 65_000])
def test_frames_fit_into_whatever_room_there_is(room: int) -> None:
    """StreamBench.send checks the bytes used against the room."""
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, bytes(500_000), True)
    assert data_sent(bench) == 500_000
    bench.table.write(bench.open(), bytes(200_000), False)
    frame = bench.frames(room)[0]
    assert isinstance(frame, StreamFrame)
    assert len(frame.data) > room - 30


# Receiving


@pytest.mark.requirement("rfc9000:4.1:2")
@pytest.mark.requirement("rfc9000:19.9:2")
def test_more_than_the_connections_limit_is_a_flow_control_error() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    bench.feed(stream_frame(0, 0, bytes(60)))
    bench.feed(stream_frame(4, 30, bytes(10)))  # the gap counts too
    bench.feed(stream_frame(4, 0, bytes(30)))
    assert bench.error(stream_frame(8, 0, b"x")) == FLOW_CONTROL_ERROR


@pytest.mark.requirement("rfc9000:4.5:1")
@pytest.mark.requirement("rfc9000:19.9:1")
def test_a_resets_final_size_counts_for_the_connection() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    bench.feed(stream_frame(0, 0, bytes(10)))
    bench.feed(encode_reset_stream(0, 1, 60))
    assert bench.error(stream_frame(4, 0, bytes(41))) == FLOW_CONTROL_ERROR
    assert bench.error(encode_reset_stream(8, 0, 101)) == FLOW_CONTROL_ERROR


@pytest.mark.requirement("rfc9000:4.2:2")
def test_limits_rise_as_the_application_reads_without_being_asked() -> None:
    bench = StreamBench(is_client=False, initial_max_data=150, initial_max_stream_data_bidi_remote=100)
    bench.feed(stream_frame(0, 0, bytes(100)))
    assert bench.frames() == []
    bench.table.read(0, 49)
    assert bench.frames() == []
    bench.table.read(0, 40)
    assert bench.frames() == [MaxDataFrame(239), MaxStreamDataFrame(0, 189)]
    bench.feed(stream_frame(0, 100, bytes(89)))
    assert bench.error(stream_frame(0, 189, b"x")) == FLOW_CONTROL_ERROR


def test_a_lost_limit_is_told_again_with_todays_value() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    bench.feed(stream_frame(0, 0, bytes(90)))
    bench.table.read(0, 60)
    frames, sent = bench.send()
    assert frames == [MaxDataFrame(160)]
    bench.table.read(0, None)
    bench.lost(sent)
    assert bench.frames() == [MaxDataFrame(190)]


def test_unread_bytes_of_a_reset_stream_give_their_credit_back() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    bench.feed(stream_frame(0, 0, bytes(30)))
    bench.table.read(0, 10)
    bench.feed(encode_reset_stream(0, 1, 90))
    assert bench.frames() == [MaxDataFrame(190)]


def test_a_stopped_stream_gives_its_credit_back_as_data_arrives() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    bench.feed(stream_frame(0, 0, bytes(30)))
    bench.table.stop_sending(0, 1)
    bench.frames()
    bench.feed(stream_frame(0, 30, bytes(40)))
    assert MaxDataFrame(170) in bench.frames()


@pytest.mark.requirement("rfc9000:13.3:2")
def test_a_stream_whose_size_is_known_gets_no_more_credit() -> None:
    bench = StreamBench(is_client=False, initial_max_stream_data_bidi_remote=100)
    bench.feed(stream_frame(0, 0, bytes(50)))
    bench.feed(stream_frame(0, 60, bytes(30), fin=True))
    bench.table.read(0, None)
    assert bench.frames() == []


def test_blocked_frames_only_inform() -> None:
    bench = StreamBench(is_client=False)
    bench.feed(encode_data_blocked(7))
    bench.feed(encode_stream_data_blocked(0, 7))
    assert StreamReadable(0) not in bench.events
    assert bench.frames() == []
