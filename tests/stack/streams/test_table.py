"""Frames about streams: what each may be said of, and what must be refused (RFC 9000 sections 3, 4.6 and 19)."""

from collections.abc import Callable

import pytest

from stack.errors import (
    FLOW_CONTROL_ERROR,
    FRAME_ENCODING_ERROR,
    STREAM_LIMIT_ERROR,
    STREAM_STATE_ERROR,
    StreamError,
    StreamReset,
)
from stack.events import StreamOpened, StreamReadable, StreamsAvailable
from stack.wire.decoded_frames import (
    MaxStreamsFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamFrame,
    StreamsBlockedFrame,
)
from stack.wire.frames import (
    encode_max_stream_data,
    encode_max_streams,
    encode_reset_stream,
    encode_stop_sending,
    encode_stream_data_blocked,
    encode_stream_header,
    encode_streams_blocked,
)
from stack.wire.parameters import TransportParameters
from tests.support.stream_bench import StreamBench

# Stream IDs seen from a client
CLIENT_BIDI, SERVER_BIDI, CLIENT_UNI, SERVER_UNI = 0, 1, 2, 3

FrameMaker = Callable[[int], bytes]


def stream_frame(stream_id: int, data: bytes = b"data", offset: int = 0, fin: bool = False) -> bytes:
    return encode_stream_header(stream_id, offset, len(data), fin) + data


def reset_frame(stream_id: int) -> bytes:
    return encode_reset_stream(stream_id, 0, 4)


def blocked_frame(stream_id: int) -> bytes:
    return encode_stream_data_blocked(stream_id, 4)


def stop_frame(stream_id: int) -> bytes:
    return encode_stop_sending(stream_id, 0)


def credit_frame(stream_id: int) -> bytes:
    return encode_max_stream_data(stream_id, 4)


ABOUT_RECEIVING = [
    pytest.param(stream_frame, marks=pytest.mark.requirement("rfc9000:19.8:1")),
    pytest.param(reset_frame, marks=pytest.mark.requirement("rfc9000:19.4:1")),
    pytest.param(blocked_frame, marks=pytest.mark.requirement("rfc9000:19.13:2")),
]
ABOUT_SENDING = [
    pytest.param(stop_frame, marks=pytest.mark.requirement("rfc9000:19.5:2")),
    pytest.param(credit_frame, marks=pytest.mark.requirement("rfc9000:19.10:2")),
]
NOT_CREATED = [
    pytest.param(stream_frame, marks=pytest.mark.requirement("rfc9000:19.8:1")),
    pytest.param(stop_frame, marks=pytest.mark.requirement("rfc9000:19.5:1")),
    pytest.param(credit_frame, marks=pytest.mark.requirement("rfc9000:19.10:1")),
]
EVERY_FRAME = [stream_frame, reset_frame, blocked_frame, stop_frame, credit_frame]


def finish(bench: StreamBench, stream_id: int) -> None:
    """Let a unidirectional stream of either side come to its end."""
    if stream_id == CLIENT_UNI:
        bench.table.write(stream_id, b"x", True)
        bench.acked(bench.send()[1])
    else:
        bench.feed(stream_frame(stream_id, fin=True))
        assert bench.table.read(stream_id, None) == (b"data", True)
    assert bench.table.streams == {}


@pytest.mark.parametrize("make", ABOUT_RECEIVING)
@pytest.mark.parametrize("finished", [False, True])
def test_frames_about_receiving_are_refused_for_send_only_streams(make: FrameMaker, finished: bool) -> None:
    bench = StreamBench()
    assert bench.open(unidirectional=True) == CLIENT_UNI
    if finished:
        finish(bench, CLIENT_UNI)
    assert bench.error(make(CLIENT_UNI)) == STREAM_STATE_ERROR


@pytest.mark.parametrize("make", ABOUT_SENDING)
@pytest.mark.parametrize("finished", [False, True])
def test_frames_about_sending_are_refused_for_receive_only_streams(make: FrameMaker, finished: bool) -> None:
    bench = StreamBench()
    if finished:
        finish(bench, SERVER_UNI)
    assert bench.error(make(SERVER_UNI)) == STREAM_STATE_ERROR


@pytest.mark.parametrize("make", NOT_CREATED)
@pytest.mark.parametrize("stream_id", [CLIENT_BIDI, CLIENT_BIDI + 4])
def test_local_streams_that_were_not_created_are_refused(make: FrameMaker, stream_id: int) -> None:
    bench = StreamBench()
    assert bench.error(make(stream_id)) == STREAM_STATE_ERROR


@pytest.mark.parametrize("make", EVERY_FRAME)
def test_frames_about_a_finished_stream_change_nothing(make: FrameMaker) -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, b"x", True)
    bench.acked(bench.send()[1])
    bench.feed(stream_frame(stream_id, fin=True))
    bench.table.read(stream_id, None)
    assert bench.table.streams == {}
    bench.events.clear()
    assert bench.error(make(stream_id)) is None
    assert bench.table.streams == {}
    assert bench.events == []


@pytest.mark.requirement("rfc9000:4.6:3")
@pytest.mark.requirement("rfc9000:19.11:4")
@pytest.mark.parametrize("make", EVERY_FRAME)
def test_streams_beyond_the_limit_are_refused(make: FrameMaker) -> None:
    bench = StreamBench(initial_max_streams_bidi=2)
    assert bench.error(make(SERVER_BIDI + 4)) is None
    assert bench.error(make(SERVER_BIDI + 8)) == STREAM_LIMIT_ERROR


@pytest.mark.parametrize("make", EVERY_FRAME)
def test_any_frame_opens_the_peers_stream(make: FrameMaker) -> None:
    bench = StreamBench()
    bench.feed(make(SERVER_BIDI))
    assert bench.events[0] == StreamOpened(SERVER_BIDI)
    assert list(bench.table.streams) == [SERVER_BIDI]


@pytest.mark.requirement("rfc9000:19.8:2")
def test_an_offset_above_the_largest_is_refused() -> None:
    bench = StreamBench()
    largest = (1 << 62) - 1
    assert bench.error(stream_frame(SERVER_BIDI, b"x", largest)) == FRAME_ENCODING_ERROR
    assert bench.error(stream_frame(SERVER_BIDI, b"", largest)) == FLOW_CONTROL_ERROR


@pytest.mark.requirement("rfc9000:4.6:1")
@pytest.mark.requirement("rfc9000:19.11:1")
@pytest.mark.requirement("rfc9000:19.14:2")
@pytest.mark.parametrize("unidirectional", [False, True])
def test_more_streams_than_there_are_numbers_are_refused(unidirectional: bool) -> None:
    bench = StreamBench()
    for encode in (encode_max_streams, encode_streams_blocked):
        assert bench.error(encode(1 << 60, unidirectional)) is None
        assert bench.error(encode((1 << 60) + 1, unidirectional)) == FRAME_ENCODING_ERROR


# Opening streams


@pytest.mark.requirement("rfc9000:4.6:2")
@pytest.mark.requirement("rfc9000:4.6:5")
@pytest.mark.requirement("rfc9000:19.11:3")
@pytest.mark.requirement("rfc9000:19.14:1")
@pytest.mark.parametrize("unidirectional", [False, True])
def test_no_more_streams_than_the_peer_allows(unidirectional: bool) -> None:
    limits = TransportParameters(initial_max_streams_bidi=2, initial_max_streams_uni=2)
    bench = StreamBench(peer=limits)
    kind = CLIENT_UNI if unidirectional else CLIENT_BIDI
    assert [bench.table.open(unidirectional) for _ in range(3)] == [kind, kind + 4, None]
    assert bench.frames() == [StreamsBlockedFrame(unidirectional, 2)]
    bench.feed(encode_max_streams(3, unidirectional))
    assert bench.events == [StreamsAvailable(unidirectional)]
    assert bench.table.open(unidirectional) == kind + 8


@pytest.mark.requirement("rfc9000:4.6:4")
@pytest.mark.requirement("rfc9000:19.11:2")
def test_a_smaller_stream_limit_is_ignored() -> None:
    bench = StreamBench()
    bench.feed(encode_max_streams(1, False))
    assert bench.events == []
    assert [bench.open() for _ in range(100)] == list(range(0, 400, 4))


@pytest.mark.requirement("rfc9000:2.1:1")
@pytest.mark.parametrize("is_client", [False, True])
def test_stream_ids_ascend_and_name_their_side_and_kind(is_client: bool) -> None:
    bench = StreamBench(is_client=is_client)
    server = 0 if is_client else 1
    assert [bench.open() for _ in range(3)] == [server, server + 4, server + 8]
    assert [bench.open(unidirectional=True) for _ in range(3)] == [server + 2, server + 6, server + 10]


def test_a_lost_streams_blocked_is_not_repeated_when_there_is_credit_again() -> None:
    bench = StreamBench(peer=TransportParameters(initial_max_streams_bidi=0))
    assert bench.table.open(False) is None
    frames, sent = bench.send()
    assert frames == [StreamsBlockedFrame(False, 0)]
    bench.feed(encode_max_streams(1, False))
    bench.lost(sent)
    assert bench.frames() == []


# The peer's streams


@pytest.mark.requirement("rfc9000:4.6:6")
def test_the_limit_slides_as_streams_end() -> None:
    bench = StreamBench(initial_max_streams_uni=4)
    for index in range(4):
        bench.feed(stream_frame(SERVER_UNI + 4 * index, fin=True))
    assert bench.error(stream_frame(SERVER_UNI + 16)) == STREAM_LIMIT_ERROR
    bench.table.read(SERVER_UNI, None)
    assert bench.frames() == []
    bench.table.read(SERVER_UNI + 4, None)
    frames, sent = bench.send()
    assert frames == [MaxStreamsFrame(True, 6)]
    bench.table.read(SERVER_UNI + 8, None)
    bench.lost(sent)
    assert bench.frames() == [MaxStreamsFrame(True, 7)]
    assert bench.error(stream_frame(SERVER_UNI + 24)) is None


@pytest.mark.requirement("rfc9000:3.2:1")
def test_jumping_to_the_last_stream_costs_nothing_and_opens_the_ones_below() -> None:
    count = 1 << 60
    bench = StreamBench(initial_max_streams_uni=count)
    last = (count - 1) * 4 + SERVER_UNI
    bench.feed(stream_frame(last, fin=True))
    assert list(bench.table.streams) == [last]
    assert bench.events == [StreamOpened(SERVER_UNI, count), StreamReadable(last)]
    middle = SERVER_UNI + 4 * 12_345
    bench.feed(stream_frame(middle, fin=True))
    assert bench.table.read(middle, None) == (b"data", True)
    assert bench.events[2:] == [StreamReadable(middle)]
    bench.events.clear()
    bench.feed(stream_frame(middle, fin=True))
    assert bench.events == []
    assert list(bench.table.streams) == [last]


@pytest.mark.requirement("rfc9000:3.2:1")
@pytest.mark.parametrize("make", EVERY_FRAME)
def test_a_stream_opens_the_lower_ones_of_its_type_in_order(make: FrameMaker) -> None:
    bench = StreamBench()
    bench.feed(make(SERVER_BIDI + 8))
    bench.feed(make(SERVER_BIDI + 12))
    bench.feed(make(SERVER_BIDI))
    opened = [event for event in bench.events if isinstance(event, StreamOpened)]
    assert opened == [StreamOpened(SERVER_BIDI, 3), StreamOpened(SERVER_BIDI + 12)]


@pytest.mark.requirement("rfc9000:3.2:1")
def test_a_stream_that_was_opened_by_a_higher_one_can_be_used_at_once() -> None:
    bench = StreamBench()
    bench.feed(stream_frame(SERVER_BIDI + 16))
    first, second, third, fourth = range(SERVER_BIDI, SERVER_BIDI + 16, 4)
    assert bench.table.write(first, b"answer", True) == 6
    assert bench.table.read(second, None) == (b"", False)
    bench.table.reset(third, 7)
    bench.table.stop_sending(fourth, 8)
    frames = bench.frames()
    assert frames == [
        ResetStreamFrame(third, 7, 0),
        StopSendingFrame(fourth, 8),
        StreamFrame(first, 0, b"answer", True),
    ]
    with pytest.raises(StreamError, match="not open"):
        bench.table.write(SERVER_BIDI + 20, b"x", False)
    assert sorted(bench.table.streams) == [first, second, third, fourth, SERVER_BIDI + 16]


def test_every_second_stream_of_a_peer_leaves_no_more_ranges_than_streams_may_be_open() -> None:
    bench = StreamBench(initial_max_streams_uni=100)
    index = 0
    while bench.error(stream_frame(SERVER_UNI + 4 * index, fin=True)) is None:
        bench.table.read(SERVER_UNI + 4 * index, None)
        bench.frames()
        index += 2
    assert index <= 200
    assert len(bench.table.limits.peer[2].untouched) <= 100


def test_ten_thousand_streams_in_a_row_leave_nothing_behind() -> None:
    bench = StreamBench(is_client=False, initial_max_streams_bidi=8)
    limit = 8
    for index in range(10_000):
        stream_id = 4 * index
        assert index < limit
        bench.feed(stream_frame(stream_id, b"ask", fin=True))
        assert bench.table.read(stream_id, None) == (b"ask", True)
        bench.table.write(stream_id, b"answer", True)
        frames, sent = bench.send()
        bench.acked(sent)
        limit = max([limit] + [frame.maximum for frame in frames if isinstance(frame, MaxStreamsFrame)])
        bench.events.clear()
    assert bench.table.streams == {}


# Reset and stop


@pytest.mark.requirement("rfc9000:3.1:1")
def test_a_stream_may_begin_with_its_reset() -> None:
    bench = StreamBench()
    bench.feed(encode_reset_stream(SERVER_BIDI, 5, 0))
    assert bench.events == [StreamOpened(SERVER_BIDI), StreamReadable(SERVER_BIDI)]
    with pytest.raises(StreamReset) as caught:
        bench.table.read(SERVER_BIDI, None)
    assert caught.value.code == 5
    assert bench.table.write(SERVER_BIDI, b"still open", True) == 10


@pytest.mark.requirement("rfc9000:3.5:1")
@pytest.mark.parametrize("fin", [False, True])
def test_stop_sending_goes_out_while_data_is_missing(fin: bool) -> None:
    bench = StreamBench()
    bench.feed(stream_frame(SERVER_UNI, offset=8, fin=fin))
    bench.table.stop_sending(SERVER_UNI, 6)
    frames, sent = bench.send()
    assert frames == [StopSendingFrame(SERVER_UNI, 6)]
    bench.lost(sent)
    assert bench.frames() == [StopSendingFrame(SERVER_UNI, 6)]
    bench.feed(encode_reset_stream(SERVER_UNI, 6, 12))
    assert bench.table.streams == {}


@pytest.mark.requirement("rfc9000:3.5:7")
def test_stop_sending_is_pointless_after_all_data_or_a_reset() -> None:
    bench = StreamBench()
    bench.feed(stream_frame(SERVER_UNI, fin=True))
    bench.feed(reset_frame(SERVER_UNI + 4))
    for stream_id in (SERVER_UNI, SERVER_UNI + 4):
        bench.table.stop_sending(stream_id, 6)
    assert bench.frames() == []
    assert bench.table.streams == {}


def test_both_directions_end_by_themselves() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.reset(stream_id, 1)
    frames, sent = bench.send()
    assert frames == [ResetStreamFrame(stream_id, 1, 0)]
    bench.acked(sent)
    bench.feed(stream_frame(stream_id, b"answer", fin=True))
    assert bench.table.read(stream_id, 3) == (b"ans", False)
    assert bench.table.read(stream_id, 3) == (b"wer", True)
    assert bench.table.streams == {}


@pytest.mark.parametrize("verb", ["write", "reset", "read", "stop_sending"])
def test_verbs_on_the_wrong_direction_or_an_unknown_stream_are_misuse(verb: str) -> None:
    bench = StreamBench()
    bench.open(unidirectional=True)
    bench.feed(stream_frame(SERVER_UNI))
    wrong = CLIENT_UNI if verb in ("read", "stop_sending") else SERVER_UNI
    arguments = {"write": (b"x", False), "reset": (1,), "read": (None,), "stop_sending": (1,)}[verb]
    for stream_id in (wrong, 400):
        with pytest.raises(StreamError, match=f"stream {stream_id} is not open"):
            getattr(bench.table, verb)(stream_id, *arguments)


def test_readable_is_said_once_until_a_read_found_nothing() -> None:
    bench = StreamBench()
    bench.feed(stream_frame(SERVER_UNI, b"ab"))
    bench.feed(stream_frame(SERVER_UNI, b"cd", 2))
    assert bench.events == [StreamOpened(SERVER_UNI), StreamReadable(SERVER_UNI)]
    assert bench.table.read(SERVER_UNI, 3) == (b"abc", False)
    assert bench.table.read(SERVER_UNI, 3) == (b"d", False)
    bench.feed(stream_frame(SERVER_UNI, b"ef", 4))
    assert len(bench.events) == 2
    assert bench.table.read(SERVER_UNI, None) == (b"ef", False)
    assert bench.table.read(SERVER_UNI, None) == (b"", False)
    bench.feed(stream_frame(SERVER_UNI, b"", 6, fin=True))
    assert bench.events[2:] == [StreamReadable(SERVER_UNI)]
    assert bench.table.read(SERVER_UNI, None) == (b"", True)


@pytest.mark.requirement("rfc9000:4.5:2")
def test_an_empty_stream_is_one_frame_with_fin() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, b"", True)
    frames, sent = bench.send()
    assert frames == [StreamFrame(stream_id, 0, b"", True)]
    bench.lost(sent)
    assert bench.frames() == frames
