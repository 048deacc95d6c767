"""Who waits for sockets: an asyncio event loop, or whoever calls `run`."""

import asyncio
import select
import socket
from collections.abc import Callable


class LoopWatcher:
    """Watches on an event loop: for consumers on real nets, whose agent is another process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def watch(self, endpoint: socket.socket, ready: Callable[[], None], writing: bool) -> None:
        """See `Watcher`."""
        self._loop.add_reader(endpoint, ready)
        if writing:
            self._loop.add_writer(endpoint, ready)
        else:
            self._loop.remove_writer(endpoint)

    def forget(self, endpoint: socket.socket) -> None:
        """See `Watcher`."""
        self._loop.remove_reader(endpoint)
        self._loop.remove_writer(endpoint)

    def run(self) -> bool:
        """Do nothing: the loop calls."""
        return False


class PollWatcher:
    """Watches while `run` is called: for the agent's process, and for both ends in one process, as in a simulation."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}  # by descriptor, in the order in which they came

    def watch(self, endpoint: socket.socket, ready: Callable[[], None], writing: bool) -> None:
        """See `Watcher`."""
        self._ready[endpoint.fileno()] = ready
        self._poll.register(endpoint, select.POLLIN | select.POLLOUT * writing)

    def forget(self, endpoint: socket.socket) -> None:
        """See `Watcher`."""
        if self._ready.pop(endpoint.fileno(), None) is not None:
            self._poll.unregister(endpoint)

    def run(self, timeout_ms: float | None = 0) -> bool:
        """Call those whose sockets are ready, waiting for one so long, None: for ever. False if none was."""
        found = {descriptor for descriptor, _ in self._poll.poll(timeout_ms)}
        for descriptor, ready in list(self._ready.items()):
            # One called before may have closed the next
            if descriptor in found and self._ready.get(descriptor) is ready:
                ready()
        return bool(found)
