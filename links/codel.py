"""CoDel: a queue that keeps its delay low by dropping from its head (RFC 8289)."""

from collections.abc import Callable
from math import isqrt
from typing import Final

from links.holdingqueue import HoldingQueue, Line, Waiting
from links.units import nanoseconds

_CE: Final = 3
_REASON: Final = "CoDel"

Discard = Callable[[Waiting, int, str], object]


class Control:
    """CoDel's state for one line of datagrams, by the names and rules of RFC 8289, section 5.

    `largest` is the largest datagram so far (bytes): while no more than that waits behind, nothing is dropped.
    """

    def __init__(self, target_ns: int, interval_ns: int, *, ecn: bool) -> None:
        self.target_ns = target_ns
        self.interval_ns = interval_ns
        self.ecn = ecn
        self.marked = 0
        self.dropping = False
        self.count = 0
        self._last_count = 0
        self._first_above_at: int | None = None
        self._drop_next_at = 0
        self._largest = 0

    def next(self, line: Line, now: int, discard: Discard) -> Waiting | None:
        """Take the next datagram to send from a line, None if there is none; `discard` is told of those dropped."""
        waiting, may_drop = self._pop(line, now)
        if self.dropping:
            self.dropping = may_drop
            while self.dropping and now >= self._drop_next_at:
                assert waiting is not None
                self.count += 1
                if self._mark(waiting):
                    self._drop_next_at = self._later(self._drop_next_at)
                    break
                discard(waiting, now, _REASON)
                waiting, self.dropping = self._pop(line, now)
                if self.dropping:
                    self._drop_next_at = self._later(self._drop_next_at)
        elif may_drop:
            assert waiting is not None
            if not self._mark(waiting):
                discard(waiting, now, _REASON)
                waiting, _ = self._pop(line, now)
            self.dropping = True
            # A rate of drops that was right a moment ago is where to start again.
            since = self.count - self._last_count
            recent = now - self._drop_next_at < 16 * self.interval_ns
            self.count = self._last_count = since if since > 1 and recent else 1
            self._drop_next_at = self._later(now)
        return waiting

    def _later(self, at: int) -> int:
        """The control law: the more drops, the sooner the next."""
        return at + isqrt(self.interval_ns**2 // self.count)

    def _pop(self, line: Line, now: int) -> tuple[Waiting | None, bool]:
        """Take the first datagram; the delay has been above the target for an interval if the flag is true."""
        if not line:
            self._first_above_at = None
            return None, False
        waiting = line.pop()
        if waiting.size > self._largest:
            self._largest = waiting.size
        if now - waiting.since < self.target_ns or line.bytes <= self._largest:
            self._first_above_at = None
            return waiting, False
        if self._first_above_at is None:
            self._first_above_at = now + self.interval_ns
            return waiting, False
        return waiting, now >= self._first_above_at

    def _mark(self, waiting: Waiting) -> bool:
        if not self.ecn or not waiting.datagram.ecn:
            return False
        waiting.datagram.ecn = _CE
        self.marked += 1
        return True


class CoDel(HoldingQueue):
    """Drops from the head of the queue, ever more often, while datagrams wait `target` or longer for an `interval`.

    Both are ns or text such as "5ms", and should be the worst acceptable standing delay and the round-trip time. With
    `ecn` it marks ECN-capable datagrams instead of dropping them, which `marked` counts. `HoldingQueue` has the other
    parameters. Source: RFC 8289.
    """

    def __init__(
        self,
        target: int | str = "5ms",
        interval: int | str = "100ms",
        *,
        ecn: bool = False,
        size: int | str | None = None,
        packets: int | None = 1000,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(size, packets=packets, on_queue=on_queue)
        self.control = Control(nanoseconds(target), nanoseconds(interval), ecn=ecn)
        self._line = Line()

    @property
    def marked(self) -> int:
        """Datagrams that were marked CE."""
        return self.control.marked

    def _join(self, waiting: Waiting) -> None:
        self._line.join(waiting)

    def _next(self, now: int) -> Waiting | None:
        return self.control.next(self._line, now, self._discard)
