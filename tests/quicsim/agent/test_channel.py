"""Messages over a SEQPACKET socket that never blocks."""

import socket
from collections.abc import Iterator

import pytest

from quicsim.agent.channel import MAX_PACKET, MAX_WAITING, Channel, ChannelError
from quicsim.agent.watchers import PollWatcher

Ends = tuple[Channel, socket.socket, PollWatcher]


@pytest.fixture
def ends() -> Iterator[Ends]:
    watcher = PollWatcher()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours, watcher, lambda: None)
    yield channel, theirs, watcher
    channel.close()
    theirs.close()


def test_what_has_no_room_goes_when_there_is_some_in_order(ends: Ends) -> None:
    channel, theirs, watcher = ends
    messages = [number.to_bytes(2) * 500 for number in range(1000)]
    for message in messages:
        channel.send(message)
    received = []
    for _ in messages:
        received.append(theirs.recv(MAX_PACKET, socket.MSG_DONTWAIT))
        watcher.run()
    assert received == messages


def test_an_end_that_does_not_read_is_given_up(ends: Ends) -> None:
    channel, _, _ = ends
    with pytest.raises(ChannelError, match=r"the other end does not read: 10\d+ bytes wait for it"):
        fill(channel)


def fill(channel: Channel) -> None:
    for _ in range(2 * MAX_WAITING // 1000):
        channel.send(bytes(1000))


def test_a_close_with_unread_data_is_an_end_like_any_other(ends: Ends) -> None:
    channel, theirs, _ = ends
    channel.send(b"unread")
    theirs.close()
    assert channel.receive() is None
    assert channel.ended
    channel.send(b"lost")


def test_what_was_sent_before_the_end_arrives(ends: Ends) -> None:
    channel, theirs, _ = ends
    theirs.send(b"last words")
    theirs.close()
    assert channel.receive() == (b"last words", [])
    assert channel.receive() is None
    assert channel.ended


def test_a_message_that_is_too_long_is_refused(ends: Ends) -> None:
    channel, theirs, _ = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_PACKET)
    try:
        theirs.send(bytes(MAX_PACKET + 1))
    except OSError:
        pytest.skip("this machine takes no message of that size")
    with pytest.raises(ChannelError, match=f"more than {MAX_PACKET} bytes"):
        channel.receive()
