"""What the two parts of a stream may still send and must still take, state by state (RFC 9000 sections 3 and 4.4)."""

from contextlib import suppress

import pytest

from stack.errors import FLOW_CONTROL_ERROR, StreamReset
from stack.wire.decoded_frames import MaxDataFrame, MaxStreamDataFrame, ResetStreamFrame, StreamFrame
from stack.wire.frames import encode_max_stream_data, encode_reset_stream, encode_stop_sending, encode_stream_header
from stack.wire.parameters import TransportParameters
from tests.support.pair import MS, Pair
from tests.support.stream_bench import StreamBench


def stream_frame(stream_id: int, offset: int, data: bytes, fin: bool = False) -> bytes:
    return encode_stream_header(stream_id, offset, len(data), fin) + data


def content(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@pytest.mark.requirement("rfc9000:2.2:3")
def test_an_offset_has_the_same_byte_each_time_that_it_is_sent() -> None:
    """Frames are cut differently each time, and the application writes more between."""
    bench = StreamBench()
    stream_id = bench.open()
    data = content(3000)
    bench.table.write(stream_id, data[:1500], False)
    seen: dict[int, int] = {}
    repeated = 0
    for number, room in enumerate((300, 700, 200, 450, 1200, 333, 800, 1200, 1200, 1200)):
        if number == 4:
            bench.table.write(stream_id, data[1500:], True)
        frames, sent = bench.send(room)
        for frame in frames:
            assert isinstance(frame, StreamFrame)
            for index, value in enumerate(frame.data, frame.offset):
                repeated += index in seen
                assert seen.setdefault(index, value) == value == data[index]
        if number in (0, 2, 3, 5):
            bench.lost(sent)
    assert len(seen) == 3000
    assert repeated > 1000


@pytest.mark.requirement("rfc9000:3.5:4")
@pytest.mark.requirement("rfc9000:3.5:2")
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("lost_before", [False, True])
def test_a_stopped_stream_is_reset_and_what_is_lost_is_not_sent_again(ended: bool, lost_before: bool) -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, bytes(500), ended)
    frames, sent = bench.send()
    assert isinstance(frames[0], StreamFrame)
    if lost_before:
        bench.lost(sent)
    bench.feed(encode_stop_sending(stream_id, 6))
    assert bench.frames() == [ResetStreamFrame(stream_id, 6, 500)]
    if not lost_before:
        bench.lost(sent)
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:3.3:1")
def test_a_stop_after_everything_arrived_is_not_answered() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.write(stream_id, b"all", True)
    bench.acked(bench.send()[1])
    bench.feed(encode_stop_sending(stream_id, 6))
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:3.3:1")
@pytest.mark.requirement("rfc9000:13.3:6")
def test_a_reset_that_arrived_is_not_repeated_when_an_earlier_copy_turns_out_lost() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    bench.table.reset(stream_id, 1)
    _, first = bench.send()
    bench.lost(first)  # a probe, say
    _, second = bench.send()
    bench.acked(second)
    assert stream_id in bench.table.streams  # the receiving part is open
    bench.lost(first)
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:4.4:1")
def test_after_our_reset_the_peers_direction_keeps_its_flow_control() -> None:
    bench = StreamBench(initial_max_stream_data_bidi_local=100)
    stream_id = bench.open()
    bench.table.reset(stream_id, 1)
    bench.acked(bench.send()[1])
    bench.feed(stream_frame(stream_id, 0, bytes(60)))
    bench.table.read(stream_id, None)
    assert bench.frames() == [MaxStreamDataFrame(stream_id, 160)]
    assert bench.error(stream_frame(stream_id, 60, bytes(101))) == FLOW_CONTROL_ERROR


@pytest.mark.requirement("rfc9000:4.4:1")
def test_after_the_peers_reset_our_direction_keeps_its_flow_control() -> None:
    limits = TransportParameters(
        initial_max_data=1000, initial_max_stream_data_bidi_remote=100, initial_max_streams_bidi=1
    )
    bench = StreamBench(peer=limits)
    stream_id = bench.open()
    bench.feed(encode_reset_stream(stream_id, 5, 0))
    with pytest.raises(StreamReset):
        bench.table.read(stream_id, None)
    bench.table.write(stream_id, bytes(300), True)
    assert bench.frames() == [StreamFrame(stream_id, 0, bytes(100), False)]
    bench.frames()  # STREAM_DATA_BLOCKED
    bench.feed(encode_max_stream_data(stream_id, 150))
    assert bench.frames() == [StreamFrame(stream_id, 100, bytes(50), False)]


def test_a_reset_that_comes_twice_counts_once() -> None:
    bench = StreamBench(is_client=False, initial_max_data=100)
    for _ in range(3):
        bench.feed(encode_reset_stream(0, 1, 60))
    assert bench.table.flow.window.received == bench.table.flow.window.consumed == 60
    assert bench.frames() == [MaxDataFrame(160)]


@pytest.mark.requirement("rfc9000:13.3:2")
def test_a_lost_stream_limit_is_not_repeated_once_the_peer_has_reset_the_stream() -> None:
    bench = StreamBench(is_client=False, initial_max_stream_data_bidi_remote=100)
    bench.feed(stream_frame(0, 0, bytes(60)))
    bench.table.read(0, None)
    frames, sent = bench.send()
    assert frames == [MaxStreamDataFrame(0, 160)]
    bench.feed(encode_reset_stream(0, 1, 60))
    bench.lost(sent)
    assert bench.frames() == []


@pytest.mark.requirement("rfc9000:11.2:1")
def test_nothing_but_an_application_resets_a_stream() -> None:
    """Losses, probes, full windows and a connection that is closed in the middle lead to no RESET_STREAM."""
    pair = Pair(
        client={"initial_max_data": 5000, "max_data_window": 0},
        server={"initial_max_data": 5000, "max_data_window": 0},
        drop=lambda datagram: datagram.number % 7 == 6,
    )
    client, server = pair.established()
    data = content(50_000)
    assert pair.transfer(client, server, data)[1] == data
    for sender in (client, server):
        stream_id = sender.open_stream()
        assert stream_id is not None
        sender.write(stream_id, data)
    pair.run_for(500 * MS)
    server.close(pair.now, 1, "enough")
    pair.settle()
    for recorder in (pair.recorder_of(client), pair.recorder_of(server)):
        assert not recorder.sent_frames(ResetStreamFrame)


def test_ten_thousand_streams_leave_both_ends_as_they_were() -> None:
    pair = Pair()
    client, server = pair.established()
    sizes = []
    for number in range(100):
        opened = [client.open_stream(unidirectional=bool(number % 2)) for _ in range(100)]
        for stream_id in opened:
            assert stream_id is not None
            if number % 10 == 9:
                client.reset(stream_id, 1)
            else:
                client.write(stream_id, b"a question", True)
        pair.run_for(15 * MS)
        for stream_id in list(server.streams.streams):
            with suppress(StreamReset):
                server.read(stream_id)
            if not stream_id & 2:
                server.write(stream_id, b"an answer", True)
        pair.run_for(100 * MS)
        for stream_id in list(client.streams.streams):
            client.read(stream_id)
        pair.client_events.clear()
        pair.server_events.clear()
        sizes.append([count for side in (client, server) for count in footprint(side)])
        assert client.streams.limits.local[0].next_index == 100 * (number // 2 + 1)
    assert sizes[-1] == sizes[0]
    assert sum(sizes[-1][:4]) == 0


def footprint(connection: object) -> list[int]:
    """How much a connection holds for its streams: objects in tables, frames owed, ranges of IDs."""
    streams = connection.streams  # type: ignore[attr-defined]  # a Connection
    return [
        len(streams.streams),
        len(streams.scheduler.held_back),
        streams.scheduler.ready,
        streams.pieces.count,
        *(len(streams.limits.peer[kind].untouched) for kind in (0, 2)),
    ]
