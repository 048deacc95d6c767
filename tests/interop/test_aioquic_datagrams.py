"""Datagrams (RFC 9221) between our endpoint and aioquic's connection, in both roles, in memory and in virtual time."""

from typing import Any

import pytest

from stack.errors import DatagramError
from stack.events import DatagramAcked, DatagramLost, DatagramReceived
from tests.interop.aioquic_memory import SECOND, Drop, Pair, aioquic_events, make_pair
from tests.interop.test_aioquic_memory import both_roles, content, digest, seeded_loss

pytestmark = pytest.mark.peer("aioquic")

SIZES = [0, 1, 63, 64, 500, 1_100]


def datagram_pair(ours: str, drop: Drop | None = None, **config: Any) -> Pair:
    """A pair that has completed the handshake and takes datagrams at both ends."""
    pair = make_pair(
        ours,
        drop=drop,
        config={"max_datagram_frame_size": 65_535, "datagram_send_buffer": 1 << 20} | config,
        aioquic={"max_datagram_frame_size": 65_535},
    )
    pair.handshake()
    return pair


def received_by_ours(pair: Pair) -> list[bytes]:
    return [event.data for event in pair.ours.events if isinstance(event, DatagramReceived)]


def received_by_theirs(pair: Pair) -> list[bytes]:
    return [event.data for event in pair.theirs.events if isinstance(event, aioquic_events.DatagramFrameReceived)]


@both_roles
def test_datagrams_of_all_sizes_arrive_in_both_directions(ours: str) -> None:
    pair = datagram_pair(ours)
    contents = [content(size, size) for size in SIZES]
    for data in contents:
        pair.ours.connection.send_datagram(data)
        pair.theirs.quic.send_datagram_frame(data)
    pair.link.settle(SECOND)
    assert received_by_theirs(pair) == received_by_ours(pair) == contents
    acked = [event.datagram_id for event in pair.ours.events if isinstance(event, DatagramAcked)]
    assert acked == list(range(len(SIZES)))


@both_roles
def test_our_largest_datagram_is_one_that_they_take(ours: str) -> None:
    pair = make_pair(ours, aioquic={"max_datagram_frame_size": 300})
    pair.handshake()
    # aioquic refuses a frame as large as it announced
    data = content(pair.ours.connection.max_datagram_payload() - 1, 1)
    assert len(data) == 296
    pair.ours.connection.send_datagram(data)
    pair.link.settle(SECOND)
    assert received_by_theirs(pair) == [data]


@both_roles
def test_without_support_at_their_end_nothing_is_sent(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    with pytest.raises(DatagramError):
        pair.ours.connection.send_datagram(b"data")


@both_roles
@pytest.mark.parametrize("seed", range(3))
def test_datagrams_beside_streams_with_loss(ours: str, seed: int) -> None:
    pair = datagram_pair(ours, seeded_loss(0.05, seed))
    sent = [number.to_bytes(2) + content(1_000, number) for number in range(200)]
    streams = [
        (sender, receiver, sender.open()) for sender, receiver in ((pair.ours, pair.theirs), (pair.theirs, pair.ours))
    ]
    data = content(200_000, seed)
    for sender, _, stream_id in streams:
        sender.send(stream_id, data)
    for datagram in sent:
        pair.ours.connection.send_datagram(datagram)
        pair.theirs.quic.send_datagram_frame(datagram)
    pair.run(lambda: all(stream_id in receiver.finished for _, receiver, stream_id in streams))
    pair.link.settle(10 * SECOND)
    for _, receiver, stream_id in streams:
        assert digest(receiver.received[stream_id]) == digest(data)
    for received in (received_by_ours(pair), received_by_theirs(pair)):
        assert len(set(received)) == len(received)
        assert set(received) <= set(sent)
        assert 160 < len(received) < 200
    told = [event for event in pair.ours.events if isinstance(event, DatagramAcked | DatagramLost)]
    assert sorted(event.datagram_id for event in told) == list(range(200))
    acked = {sent[event.datagram_id] for event in told if isinstance(event, DatagramAcked)}
    assert acked <= set(received_by_theirs(pair))
