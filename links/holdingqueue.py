"""The base of queues that choose what is sent when their Rate falls idle, not when a datagram arrives."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from links.datagram import Datagram
from links.element import HELD, Queue
from links.units import size_in_bytes, whole_number

UNLIMITED: Final = 1 << 62


class Waiting(NamedTuple):
    """A datagram that waits: since when (ns), and how much it takes on the wire (bytes)."""

    datagram: Datagram
    since: int
    size: int


class Line:
    """Datagrams that wait one behind the other, and how many bytes they are together."""

    __slots__ = ("bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.waiting)

    def join(self, waiting: Waiting) -> None:
        """Put a datagram at the end."""
        self.waiting.append(waiting)
        self.bytes += waiting.size

    def pop(self) -> Waiting:
        """Take the first datagram."""
        waiting = self.waiting.popleft()
        self.bytes -= waiting.size
        return waiting


class HoldingQueue(Queue):
    """Holds datagrams until its Rate is idle and then chooses the next one; so it can drop what waits already.

    `size` limits what waits in bytes on the wire (int or text such as "64kB"), `packets` in datagrams; without either
    it is unbounded. What is being sent does not wait. `queued_bytes` and `queued_packets` are what waits now, and
    `on_queue(now, queued_bytes)` is told of every change. It is the only queue of its Rate.

    A subclass keeps the datagrams: `_join` takes one, `_next` gives the next one to send, after `_discard` for each
    that it drops instead, and `_make_room` is called when one comes that is beyond the limits.
    """

    in_order = False
    on_time = True
    alone: ClassVar[bool] = True

    def __init__(
        self,
        size: int | str | None = None,
        *,
        packets: int | None = None,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__()
        self.size_limit = UNLIMITED if size is None else size_in_bytes(size)
        self.packet_limit = UNLIMITED if packets is None else whole_number("packets", packets)
        self.on_queue = on_queue
        self.queued_bytes = 0
        self.queued_packets = 0
        self._told = 0  # what on_queue was told last
        self._busy = False  # an event will come that sends the next datagram, or finds none

    @abstractmethod
    def _join(self, waiting: Waiting) -> None:
        """Take a datagram."""

    @abstractmethod
    def _next(self, now: int) -> Waiting | None:
        """Return the datagram to send at `now`, which leaves the queue; None if none is left."""

    def _make_room(self, waiting: Waiting) -> bool:
        """Drop what it takes to let a datagram in; return False if it must be dropped itself."""
        return False

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        waiting = Waiting(datagram, now, datagram.size + self.server.overhead)
        is_idle = not self._busy and self.server.idle_at <= now
        if not is_idle and not self._fits(waiting) and not self._make_room(waiting):
            return self.drop(datagram, "queue full")
        self.queued_bytes += waiting.size
        self.queued_packets += 1
        self._join(waiting)
        if is_idle:
            self._send(now)
        else:
            self._tell(now)
            if not self._busy:
                self._await_server(now)
        return HELD

    def _fits(self, waiting: Waiting) -> bool:
        return self.queued_bytes + waiting.size <= self.size_limit and self.queued_packets < self.packet_limit

    def _discard(self, waiting: Waiting, now: int, reason: str) -> None:
        """Drop a datagram that has left its line."""
        self._leaves(waiting)
        self.drop(waiting.datagram, reason)
        self.lose(waiting.datagram, now)

    def _leaves(self, waiting: Waiting) -> None:
        self.queued_bytes -= waiting.size
        self.queued_packets -= 1

    def _await_server(self, now: int) -> None:
        """Send the next datagram when the server will have sent what it has, unless nothing waits."""
        self._busy = self.queued_packets > 0
        if self._busy:
            at = max(now, self.server.idle_at)
            self.schedule(at, self._send, at)

    def _send(self, now: int) -> None:
        self._busy = True
        waiting = self._next(now)
        if waiting is not None:
            self._leaves(waiting)
            self.forward(waiting.datagram, now)
        self._tell(now)
        # Behind the event that takes the datagram to the server, which then knows when it will be idle.
        self.schedule(now, self._await_server, now)

    def _tell(self, now: int) -> None:
        if self.on_queue is not None and self.queued_bytes != self._told:
            self._told = self.queued_bytes
            self.on_queue(now, self.queued_bytes)


class DropHead(HoldingQueue):
    """A first-in first-out queue that makes room at its head: when it is full, the oldest are dropped.

    So its sender hears of the loss earlier than with a TailDrop. Raises ValueError when neither limit is given or one
    is negative; `HoldingQueue` has the parameters.
    """

    def __init__(
        self,
        size: int | str | None = None,
        *,
        packets: int | None = None,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        if size is None and packets is None:
            raise ValueError("DropHead: must have a limit, DropHead(64_000) in bytes or DropHead(packets=25)")
        super().__init__(size, packets=packets, on_queue=on_queue)
        self._line = Line()

    def _join(self, waiting: Waiting) -> None:
        self._line.join(waiting)

    def _next(self, now: int) -> Waiting | None:
        return self._line.pop() if self._line else None

    def _make_room(self, waiting: Waiting) -> bool:
        while self._line and not self._fits(waiting):
            self._discard(self._line.pop(), waiting.since, "queue full")
        return self._fits(waiting)
