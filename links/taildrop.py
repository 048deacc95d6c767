"""The bounded first-in first-out queue."""

from collections import deque
from collections.abc import Callable
from typing import Final

from links.datagram import Datagram
from links.element import Queue
from links.units import nanoseconds, size_in_bytes

_UNLIMITED: Final = 1 << 62


class TailDrop(Queue):
    """Drops datagrams that arrive when the queue in front of its Rate is full.

    `size` limits what waits in bytes on the wire (int or text such as "64kB"), `packets` in datagrams, `wait` how long
    a datagram will wait (ns or text such as "50ms"); any or all of them. The datagram that the Rate is sending does
    not wait: one that finds it idle is never dropped.

    `on_queue(now, queued_bytes)` is called whenever something joins or leaves the queue, in order of time.
    Leaving is noticed late, at the next arrival or `queued_at`, but told with the time at which it happened.

    Raises ValueError when no limit is given or one is negative.
    """

    def __init__(
        self,
        size: int | str | None = None,
        *,
        packets: int | None = None,
        wait: int | str | None = None,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__()
        if size is None and packets is None and wait is None:
            raise ValueError("TailDrop: must have a limit, TailDrop(64_000) in bytes or TailDrop(packets=25)")
        if packets is not None and packets < 0:
            raise ValueError(f"TailDrop: packets = {packets}: must not be negative")
        self.size_limit = _UNLIMITED if size is None else size_in_bytes(size)
        self.packet_limit = _UNLIMITED if packets is None else packets
        self.wait_limit = _UNLIMITED if wait is None else nanoseconds(wait)
        self.on_queue = on_queue
        self.queued_bytes = 0  # as of the latest arrival
        self.max_queued_bytes = 0
        self._waiting: deque[tuple[int, int]] = deque()  # (when its sending starts, bytes on the wire)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        waiting = self._waiting
        if waiting and waiting[0][0] <= now:
            self._leave(now)
        starts_at = self.server.idle_at
        if starts_at <= now:
            return now
        size = datagram.size + self.server.overhead
        queued = self.queued_bytes + size
        if queued > self.size_limit or len(waiting) >= self.packet_limit or starts_at - now > self.wait_limit:
            return self.drop(datagram, "queue full")
        waiting.append((starts_at, size))
        self.queued_bytes = queued
        if queued > self.max_queued_bytes:
            self.max_queued_bytes = queued
        if self.on_queue is not None:
            self.on_queue(now, queued)
        return now

    def queued_at(self, now: int) -> int:
        """Return the bytes that wait at `now`, which must not lie before the latest arrival."""
        self._leave(now)
        return self.queued_bytes

    def _leave(self, now: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            started_at, size = waiting.popleft()
            self.queued_bytes -= size
            if self.on_queue is not None:
                self.on_queue(started_at, self.queued_bytes)
