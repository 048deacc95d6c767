"""Looking at a link: how long datagrams wait and are sent, and what is dropped. Built only where somebody looks."""

from collections.abc import Callable
from typing import Final, Protocol

from links.datagram import Datagram
from links.element import DROPPED, Element, Forward, Queue, Server

Receive = Callable[[Datagram, int], int]


class Watcher(Protocol):
    """Who looks at a link. Times are in ns and may lie ahead of the clock."""

    def served(self, server: Server, datagram: Datagram, arrived_at: int, starts_at: int, leaves_at: int) -> None:
        """A datagram came to a server, or the queue before it, begins to be sent, and will have been sent."""

    def dropped(self, datagram: Datagram, at: int, arrived_at: int | None) -> None:
        """A datagram was dropped, by whom and why it says itself; `arrived_at` in the queue, if it waited there."""


class Watched:
    """Stands between a pipeline and its elements, of which it wraps those that a watcher wants to know of."""

    def __init__(self, watcher: Watcher, lose: Forward) -> None:
        self._watcher: Final = watcher
        self._lose: Final = lose
        self._arrivals: Final[dict[Datagram, int]] = {}  # of what waits in a queue that holds datagrams

    def lose(self, datagram: Datagram, at: int) -> None:
        """A datagram is dropped."""
        self._lose(datagram, at)
        self._watcher.dropped(datagram, at, self._arrivals.pop(datagram, None))

    def receive(self, element: Element, receive: Receive) -> Receive:
        """Return what the pipeline is to call in the place of an element's `receive`."""
        if isinstance(element, Server):
            return self._server(element, receive)
        return self._holding(receive) if isinstance(element, Queue) and element.alone else receive

    def _holding(self, receive: Receive) -> Receive:
        arrivals = self._arrivals

        def note(datagram: Datagram, now: int) -> int:
            arrivals[datagram] = now
            at = receive(datagram, now)
            if at == DROPPED:
                del arrivals[datagram]
            return at

        return note

    def _server(self, server: Server, receive: Receive) -> Receive:
        arrivals, served = self._arrivals, self._watcher.served

        def note(datagram: Datagram, now: int) -> int:
            starts_at = max(now, server.idle_at)
            leaves_at = receive(datagram, now)
            arrived_at = arrivals.pop(datagram, now)
            if leaves_at >= 0:
                served(server, datagram, arrived_at, starts_at, leaves_at)
            return leaves_at

        return note
