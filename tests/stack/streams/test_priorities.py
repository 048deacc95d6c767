"""Which stream sends first: strictly by urgency, in turns among equals."""

import pytest

from stack.errors import StreamError
from stack.wire.decoded_frames import StreamFrame
from stack.wire.frames import encode_max_data
from stack.wire.parameters import TransportParameters
from tests.support.pair import Pair
from tests.support.stream_bench import StreamBench


def order(bench: StreamBench, packets: int) -> list[int]:
    """The streams of the frames in the next packets, which each have room for one frame."""
    return [frame.stream_id for _ in range(packets) for frame in bench.frames(200) if isinstance(frame, StreamFrame)]


def full_streams(bench: StreamBench, count: int) -> list[int]:
    streams = [bench.open() for _ in range(count)]
    for stream_id in streams:
        bench.table.write(stream_id, bytes(10_000), False)
    return streams


@pytest.mark.requirement("rfc9000:2.3:1")
def test_an_urgent_stream_sends_everything_before_a_less_urgent_one() -> None:
    bench = StreamBench()
    usual, urgent = bench.open(), bench.open()
    bench.table.set_priority(urgent, 0, True)
    bench.table.write(usual, bytes(1000), False)
    bench.table.write(urgent, bytes(400), False)
    assert order(bench, 2) == [urgent, urgent]
    sent = order(bench, 10)
    assert sent[0] == urgent
    assert set(sent[1:]) == {usual}


@pytest.mark.requirement("rfc9000:2.3:1")
def test_equally_urgent_streams_get_equal_shares() -> None:
    bench = StreamBench()
    streams = full_streams(bench, 3)
    for stream_id in streams:
        bench.table.set_priority(stream_id, 5, True)
    assert order(bench, 9) == streams * 3


def test_a_stream_that_is_not_incremental_goes_on_until_it_is_done() -> None:
    bench = StreamBench()
    streams = [bench.open() for _ in range(2)]
    for stream_id in streams:
        bench.table.set_priority(stream_id, 3, False)
        bench.table.write(stream_id, bytes(500), True)
    sent = order(bench, 10)
    assert sent == sorted(sent)
    assert set(sent) == set(streams)


def test_a_priority_counts_at_once_for_a_stream_that_waits() -> None:
    bench = StreamBench()
    first, second, third = full_streams(bench, 3)
    bench.table.set_priority(third, 1, True)
    assert order(bench, 2) == [third, third]
    bench.table.set_priority(third, 7, True)
    assert order(bench, 4) == [first, second, first, second]


def test_the_urgent_goes_first_when_the_connection_gets_credit() -> None:
    limits = TransportParameters(
        initial_max_data=1, initial_max_stream_data_bidi_remote=1 << 20, initial_max_streams_bidi=10
    )
    bench = StreamBench(peer=limits)
    usual, urgent = full_streams(bench, 2)
    assert order(bench, 3) == [usual]
    bench.table.set_priority(urgent, 0, True)
    bench.feed(encode_max_data(1000))
    assert order(bench, 3) == [urgent] * 3


def test_impossible_priorities_are_refused() -> None:
    bench = StreamBench()
    stream_id = bench.open()
    with pytest.raises(StreamError, match="urgency 8 must be from 0 to 7"):
        bench.table.set_priority(stream_id, 8, True)
    with pytest.raises(StreamError, match="not open for writing"):
        bench.table.set_priority(stream_id + 4, 3, True)


def test_an_urgent_stream_of_a_connection_arrives_first() -> None:
    pair = Pair()
    client, server = pair.established()
    usual, urgent = client.open_stream(), client.open_stream()
    assert usual is not None
    assert urgent is not None
    client.set_priority(urgent, urgency=1)
    client.write(usual, bytes(200_000), True)
    client.write(urgent, bytes(100_000), True)
    received = 0
    while received < 100_000:
        assert pair.step()
        if urgent in server.streams.streams:
            received += len(server.read(urgent)[0])
    assert len(server.read(usual)[0]) < 5_000  # what followed in the last packets
