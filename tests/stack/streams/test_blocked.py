"""Who is held back by the peer's limits says so, and says so again before the connection ends for idleness."""

import pytest

from stack.connection import Connection
from stack.events import ConnectionEnded
from stack.wire.decoded_frames import DataBlockedFrame, Frame, StreamDataBlockedFrame, StreamsBlockedFrame
from tests.support.pair import MS, SECOND, Pair

TIMEOUT = 4 * SECOND


def narrow(**server: int) -> tuple[Pair, Connection, Connection]:
    pair = Pair(client={"max_idle_timeout_ms": TIMEOUT // MS}, server={"max_idle_timeout_ms": TIMEOUT // MS, **server})
    return pair, *pair.established()


def repeated(pair: Pair, client: Connection, kind: type) -> list[tuple[int, Frame]]:
    """The frames of type `kind` that the client sends within some idle timeouts, with their times from now on."""
    start = pair.now
    pair.run_for(4 * TIMEOUT)
    packets = pair.recorder_of(client).sent
    return [
        (packet.at - start, frame)
        for packet in packets
        if packet.at >= start
        for frame in packet.frames
        if type(frame) is kind
    ]


# Half a timeout after the last ACK, which comes a round trip and, for a lone packet, 25 ms after the frame
AFTER_MANY = TIMEOUT // 2 + 20 * MS
AFTER_ONE = AFTER_MANY + 25 * MS


@pytest.mark.requirement("rfc9000:4.1:5")
def test_data_blocked_is_repeated_while_nothing_else_is_sent() -> None:
    pair, client, server = narrow(initial_max_data=1000, max_data_window=0)
    stream_id = client.open_stream(unidirectional=True)
    assert stream_id is not None
    client.write(stream_id, bytes(5000), True)
    frames = repeated(pair, client, DataBlockedFrame)
    assert frames == [(at, DataBlockedFrame(1000)) for at in (0, *range(AFTER_MANY, 4 * TIMEOUT, AFTER_ONE))]
    # The application reads at last
    received, finished = 0, False
    while not finished:
        data, finished = server.read(stream_id)
        received += len(data)
        assert pair.step()
    assert received == 5000


@pytest.mark.requirement("rfc9000:4.1:5")
def test_stream_data_blocked_is_repeated_while_nothing_else_is_sent() -> None:
    pair, client, _ = narrow(initial_max_stream_data_bidi_remote=1000)
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(5000), True)
    frames = repeated(pair, client, StreamDataBlockedFrame)
    expected = StreamDataBlockedFrame(stream_id, 1000)
    assert frames == [(at, expected) for at in (0, *range(AFTER_MANY, 4 * TIMEOUT, AFTER_ONE))]


@pytest.mark.parametrize("unidirectional", [False, True])
def test_streams_blocked_is_repeated_while_the_application_waits_for_a_stream(unidirectional: bool) -> None:
    pair, client, _ = narrow(initial_max_streams_bidi=0, initial_max_streams_uni=0)
    assert client.open_stream(unidirectional) is None
    assert client.open_stream(unidirectional) is None  # asking again is no news for the peer
    frames = repeated(pair, client, StreamsBlockedFrame)
    assert frames == [(at, StreamsBlockedFrame(unidirectional, 0)) for at in range(0, 4 * TIMEOUT, AFTER_ONE)]


@pytest.mark.parametrize("blocked", [False, True])
def test_nothing_is_repeated_once_the_blocked_stream_was_reset(blocked: bool) -> None:
    pair, client, _ = narrow(initial_max_data=1000 if blocked else 5000, initial_max_stream_data_bidi_remote=1000)
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(5000), True)
    pair.run_for(100 * MS)
    client.reset(stream_id, 1)
    pair.run_for(2 * TIMEOUT)
    assert any(isinstance(event, ConnectionEnded) and event.idle for event in pair.client_events)


def test_without_an_idle_timeout_there_is_nothing_to_prevent() -> None:
    pair = Pair(client={"max_idle_timeout_ms": 0}, server={"max_idle_timeout_ms": 0, "initial_max_data": 1000})
    client, _ = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(5000), True)
    pair.run_for(SECOND)
    assert pair.next_at() is None
