"""A thousand streams between our endpoint and aioquic's connection, in both roles."""

import pytest

from tests.interop.aioquic_memory import MILLISECOND, End, Pair, make_pair
from tests.interop.test_aioquic_memory import both_roles, content

pytestmark = pytest.mark.peer("aioquic")

COUNT = 1_000


def open_stream(pair: Pair, opener: End) -> int:
    """Open a stream; when aioquic allows us no more, once it does."""
    if opener is pair.theirs:
        return opener.open()
    stream_id = pair.ours.connection.open_stream()
    for _ in range(10):
        if stream_id is not None:
            return stream_id
        pair.link.settle(50 * MILLISECOND)
        stream_id = pair.ours.connection.open_stream()
    raise AssertionError("aioquic never allows another stream")


@both_roles
@pytest.mark.parametrize("opener", ["client", "server"])
def test_a_thousand_streams_at_once(ours: str, opener: str) -> None:
    pair = make_pair(ours, config={"initial_max_streams_bidi": COUNT})
    pair.handshake()
    first: End = pair.client if opener == "client" else pair.server
    second: End = pair.server if opener == "client" else pair.client
    # We allow all at once; aioquic allows 128, and later more
    wave_size = COUNT if first is pair.theirs else COUNT // 10
    sent: dict[int, bytes] = {}
    while len(sent) < COUNT:
        wave = {}
        for _ in range(wave_size):
            stream_id = open_stream(pair, first)
            wave[stream_id] = content(stream_id % 97, stream_id)
            first.send(stream_id, wave[stream_id])
        pair.run(lambda wave=wave: all(stream_id in second.finished for stream_id in wave))
        for stream_id, data in wave.items():
            second.send(stream_id, data[::-1])
        pair.run(lambda wave=wave: all(stream_id in first.finished for stream_id in wave))
        sent |= wave
    assert {stream_id: bytes(data) for stream_id, data in second.received.items()} == sent
    assert {stream_id: bytes(data)[::-1] for stream_id, data in first.received.items()} == sent


@both_roles
def test_a_thousand_streams_one_after_another(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    for number in range(COUNT):
        sender, receiver = (pair.client, pair.server) if number % 2 else (pair.server, pair.client)
        stream_id = sender.open(unidirectional=True)
        data = content(number, number)
        sender.send(stream_id, data)
        pair.run(lambda stream_id=stream_id, receiver=receiver: stream_id in receiver.finished)
        assert receiver.received[stream_id] == data
