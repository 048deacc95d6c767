"""FQ-CoDel: a CoDel queue for each flow, which take turns (RFC 8290)."""

from collections import deque
from collections.abc import Callable
from typing import Final

from links.codel import Control
from links.datagram import Address
from links.holdingqueue import HoldingQueue, Line, Waiting
from links.units import nanoseconds, size_in_bytes, whole_number

_MOST_AT_ONCE: Final = 64  # datagrams dropped when there is no room (section 4.1)


class _Flow:
    """The datagrams of one flow, and how many bytes it may still send in its turn."""

    __slots__ = ("control", "credit", "is_active", "line")

    def __init__(self, control: Control) -> None:
        self.control = control
        self.line = Line()
        self.credit = 0
        self.is_active = False


class FqCoDel(HoldingQueue):
    """Serves flows in turn, `quantum` bytes each, with CoDel for each of them; flows that are new go first.

    A flow is a pair of addresses with their ports; each has a queue of its own, where RFC 8290 shares 1024 by a hash.
    When the limits are exceeded the flow with the most bytes loses half of its datagrams from its head, 64 at most.
    `CoDel` has the other parameters. Source: RFC 8290. Raises ValueError when `quantum` is 0.
    """

    def __init__(
        self,
        target: int | str = "5ms",
        interval: int | str = "100ms",
        *,
        quantum: int | str = 1514,
        ecn: bool = False,
        size: int | str | None = None,
        packets: int | None = 10_240,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(size, packets=packets, on_queue=on_queue)
        self.target_ns = nanoseconds(target)
        self.interval_ns = nanoseconds(interval)
        self.quantum = whole_number("quantum", size_in_bytes(quantum), 1)
        self.ecn = ecn
        self._flows: dict[tuple[Address, Address], _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()

    @property
    def marked(self) -> int:
        """Datagrams that were marked CE."""
        return sum(flow.control.marked for flow in self._flows.values())

    def _join(self, waiting: Waiting) -> None:
        key = (waiting.datagram.source, waiting.datagram.destination)
        flow = self._flows.get(key)
        if flow is None:
            self._flows[key] = flow = _Flow(Control(self.target_ns, self.interval_ns, ecn=self.ecn))
        flow.line.join(waiting)
        if not flow.is_active:
            flow.is_active = True
            flow.credit = self.quantum
            self._new.append(flow)

    def _next(self, now: int) -> Waiting | None:
        while True:
            flows = self._new or self._old
            if not flows:
                return None
            flow = flows[0]
            if flow.credit <= 0:
                flow.credit += self.quantum
                self._old.append(flows.popleft())
                continue
            waiting = flow.control.next(flow.line, now, self._discard)
            if waiting is not None:
                flow.credit -= waiting.size
                return waiting
            flows.popleft()
            if flows is self._new and self._old:
                self._old.append(flow)  # so that it can't come back as new before the others had their turn
            else:
                flow.is_active = False

    def _make_room(self, waiting: Waiting) -> bool:
        while self.queued_packets and not self._fits(waiting):
            line = max(self._flows.values(), key=lambda flow: flow.line.bytes).line
            for _ in range(min(_MOST_AT_ONCE, max(1, len(line) // 2))):
                self._discard(line.pop(), waiting.since, "queue full")
        return self._fits(waiting)
