"""One end of a connected SEQPACKET socket that never blocks: messages in and out, and who watches for them."""

import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

MAX_PACKET: Final = 1 << 18  # bytes of one message
MAX_WAITING: Final = 1 << 20  # bytes that may wait to be sent, because the other end does not read


class ChannelError(Exception):
    """The other end does not read, or sends too much at once."""


class Watcher(Protocol):
    """Whoever waits until sockets can be read from or written to."""

    def watch(self, endpoint: socket.socket, ready: Callable[[], None], writing: bool) -> None:
        """Call `ready` whenever `endpoint` can be read from, or with `writing` also written to; replaces the last."""

    def forget(self, endpoint: socket.socket) -> None:
        """Watch it no more, before it is closed."""

    def run(self) -> bool:
        """Let whoever answers in this process do so now; false if nobody had anything to do."""
        ...


class Channel:
    """Messages over a SEQPACKET socket, which it owns. `ready` is called when some have come, or the end."""

    def __init__(self, endpoint: socket.socket, watcher: Watcher, ready: Callable[[], None]) -> None:
        endpoint.setblocking(False)
        self._socket: socket.socket | None = endpoint
        self._watcher = watcher
        self._ready = ready
        self._outbox: deque[bytes] = deque()
        self._waiting = 0  # bytes in it
        self.ended = False  # the other end has closed: nothing more will come
        watcher.watch(endpoint, self._on_ready, False)

    def send(self, message: bytes, *sockets: socket.socket) -> None:
        """Send a message, now or as soon as there is room. `sockets` go with it, if there is room now.

        What is sent after the end is lost. Raises ChannelError if too much waits already.
        """
        if self._socket is None or self.ended:
            return
        if not self._outbox and self._try(message, sockets):
            return
        if sockets or self._waiting + len(message) > MAX_WAITING:
            raise ChannelError(f"the other end does not read: {self._waiting} bytes wait for it")
        if not self._outbox:
            self._watcher.watch(self._socket, self._on_ready, True)
        self._outbox.append(message)
        self._waiting += len(message)

    def receive(self) -> tuple[bytes, list[socket.socket]] | None:
        """Return the next message and the sockets that came with it; None if there is none, now or ever.

        Raises ChannelError for a message that is too long.
        """
        if self._socket is None or self.ended:
            return None
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._socket, MAX_PACKET, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError:  # also what a close with unread data looks like
            data, descriptors, flags = b"", [], 0
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not data:
            self.ended = True
            self.close()
            return None
        if flags & socket.MSG_TRUNC:
            for each in sockets:
                each.close()
            raise ChannelError(f"a message of more than {MAX_PACKET} bytes")
        return data, sockets

    def close(self) -> None:
        """Close the socket; what still waits is lost."""
        if self._socket is None:
            return
        self._watcher.forget(self._socket)
        self._socket.close()
        self._socket = None
        self._outbox.clear()

    def _try(self, message: bytes, sockets: tuple[socket.socket, ...] = ()) -> bool:
        """Send a message if there is room; false if there is not."""
        assert self._socket is not None
        try:
            if sockets:
                socket.send_fds(self._socket, [message], [each.fileno() for each in sockets], socket.MSG_DONTWAIT)
            else:
                self._socket.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # the end is seen by `receive`, behind what was sent before it
        return True

    def _on_ready(self) -> None:
        if self._outbox:
            while self._outbox and self._try(self._outbox[0]):
                self._waiting -= len(self._outbox.popleft())
            if not self._outbox and self._socket is not None:
                self._watcher.watch(self._socket, self._on_ready, False)
        self._ready()
