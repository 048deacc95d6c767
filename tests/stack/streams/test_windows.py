"""Windows of flow control and send buffers that grow where they would hold a fast transfer back, and only there."""

import pytest

from stack.errors import INTERNAL_ERROR
from stack.limits import BYTES_PER_PIECE, MAX_PIECES
from stack.wire.decoded_frames import Frame, MaxDataFrame, MaxStreamDataFrame
from stack.wire.frames import encode_stream_header
from tests.support.pair import MS, Pair
from tests.support.stream_bench import StreamBench

WINDOW = 1000  # bytes, of a stream at first


def receiver(**config: int) -> StreamBench:
    bench = StreamBench(
        is_client=False, initial_max_stream_data_bidi_remote=WINDOW, initial_max_data=10 * WINDOW, **config
    )
    bench.rtt.smoothed_rtt_ns = 100 * MS
    return bench


def consume(bench: StreamBench, size: int, after_ns: int) -> list[Frame]:
    """Let the peer's next `size` bytes arrive and be read, `after_ns` later; return the frames that follow."""
    stream = bench.table.streams.get(0)
    offset = 0 if stream is None or stream.receive is None else stream.receive.window.received
    bench.now += after_ns
    bench.feed(encode_stream_header(0, offset, size, False) + bytes(size))
    bench.table.read(0, None)
    return bench.frames()


def test_a_window_doubles_when_half_of_it_is_consumed_within_two_round_trips() -> None:
    bench = receiver()
    assert consume(bench, 500, 0) == [MaxStreamDataFrame(0, 500 + WINDOW)]
    assert consume(bench, 500, 200 * MS - 1) == [MaxStreamDataFrame(0, 1000 + 2 * WINDOW)]
    assert consume(bench, 1000, 200 * MS - 1) == [MaxStreamDataFrame(0, 2000 + 4 * WINDOW)]


def test_a_window_stays_when_its_half_takes_two_round_trips() -> None:
    bench = receiver()
    for number in range(1, 5):
        assert consume(bench, 500, 200 * MS) == [MaxStreamDataFrame(0, number * 500 + WINDOW)]


def test_a_window_grows_to_its_largest() -> None:
    bench = receiver(max_stream_data_window=1500)
    consume(bench, 500, 0)
    assert consume(bench, 500, 1) == [MaxStreamDataFrame(0, 1000 + 1500)]
    assert consume(bench, 750, 1) == [MaxStreamDataFrame(0, 1750 + 1500)]


def test_a_largest_window_of_zero_turns_growth_off() -> None:
    bench = receiver(max_stream_data_window=0)
    assert [consume(bench, 500, 1) for _ in range(3)] == [
        [MaxStreamDataFrame(0, number * 500 + WINDOW)] for number in (1, 2, 3)
    ]


def test_the_window_of_the_connection_grows_too() -> None:
    bench = receiver(max_stream_data_window=0, max_data_window=15 * WINDOW)
    frames = [frame for _ in range(25) for frame in consume(bench, 500, 1) if isinstance(frame, MaxDataFrame)]
    assert frames == [MaxDataFrame(5000 + 10 * WINDOW), MaxDataFrame(10_000 + 15 * WINDOW)]


def test_the_window_of_the_connection_stays_half_as_large_again_as_a_streams() -> None:
    bench = receiver(max_data_window=18 * WINDOW)
    consume(bench, 500, 0)
    sizes = []
    while len(sizes) < 5:
        stream = bench.table.streams[0].receive
        assert stream is not None
        consume(bench, stream.window.size // 2, 1)
        sizes.append((stream.window.size // WINDOW, bench.table.flow.window.size // WINDOW))
    assert sizes == [(2, 10), (4, 10), (8, 12), (16, 18), (32, 18)]


def test_a_limit_that_is_repeated_after_a_loss_does_not_make_the_window_grow() -> None:
    bench = receiver()
    bench.feed(encode_stream_header(0, 0, 500, False) + bytes(500))
    bench.table.read(0, None)
    for _ in range(5):
        frames, sent = bench.send()
        assert frames == [MaxStreamDataFrame(0, 500 + WINDOW)]
        bench.lost(sent)


def test_a_slow_readers_memory_stays_at_the_first_window() -> None:
    """10,000 bytes per 100 ms, while the sender would send 60 times that: 1 MiB takes 10 s, and 2 round trips 40 ms."""
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    waiting = memoryview(bytes(8 << 20))
    most, taken = 0, 0
    for _ in range(200):
        waiting = waiting[client.write(stream_id, waiting) :]
        pair.run_for(100 * MS)
        receive = server.streams.streams[stream_id].receive
        assert receive is not None
        most = max(most, receive.window.received - receive.consumed)
        taken += len(server.read(stream_id, 10_000)[0])
    assert taken == 2_000_000
    assert most == 1 << 20
    assert receive.window.size == 1 << 20
    assert server.flow.window.size == 2 << 20


# What a write may leave in memory


def test_a_send_buffer_holds_two_congestion_windows() -> None:
    bench = StreamBench(send_buffer=1000, max_send_buffer=5000)
    stream_id = bench.open()
    assert bench.table.write(stream_id, bytes(9000), False) == 1000
    bench.congestion.congestion_window = 2000
    assert bench.table.write(stream_id, bytes(9000), False) == 3000
    bench.congestion.congestion_window = 3000
    assert bench.table.write(stream_id, bytes(9000), False) == 1000
    bench.congestion.congestion_window = 400
    assert bench.table.write(stream_id, bytes(9000), False) == 0


# Fragments


@pytest.mark.requirement("rfc9000:21.7:1")
def test_small_pieces_on_many_streams_close_the_connection_before_each_stream_has_many() -> None:
    bench = StreamBench(is_client=False, initial_max_data=1 << 20)
    limit = MAX_PIECES + (1 << 20) // BYTES_PER_PIECE
    for number in range(limit):
        bench.feed(encode_stream_header(4 * (number % 64), 2 * (number // 64) + 1, 1, False) + b"x")
    assert bench.error(encode_stream_header(400 - 4, 1, 1, False) + b"x") == INTERNAL_ERROR


def test_pieces_count_until_their_gap_is_filled_or_their_stream_is_reset() -> None:
    bench = StreamBench(is_client=False)
    for stream_id in (0, 4, 8):
        for offset in range(1, 100, 2):
            bench.feed(encode_stream_header(stream_id, offset, 1, False) + b"x")
    assert bench.table.pieces.count == 150
    bench.feed(encode_stream_header(0, 0, 50, False) + bytes(50))
    assert bench.table.pieces.count == 125
    bench.feed(b"\x04\x04\x00\x40\x64")  # RESET_STREAM of stream 4, 100 bytes
    assert bench.table.pieces.count == 75
    bench.feed(encode_stream_header(0, 0, 100, False) + bytes(100))
    bench.feed(encode_stream_header(8, 0, 100, False) + bytes(100))
    assert bench.table.pieces.count == 0
