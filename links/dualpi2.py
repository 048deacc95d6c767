"""DualPI2: two coupled queues, one for low latency (L4S), one for all else (RFC 9332)."""

from collections.abc import Callable
from typing import Final

from links.holdingqueue import HoldingQueue, Line, Waiting
from links.units import interval, nanoseconds, number_from, whole_number

_CE: Final = 3
_L4S_BIT: Final = 1  # ECT(1) and CE have it
_SECOND: Final = 1_000_000_000


class DualPi2(HoldingQueue):
    """Serves ECT(1) and CE from a queue of their own, which is marked early; the other traffic keeps its share.

    A controller steers the base chance p' each `update`, by the distance of the longer delay to `target` (times
    `alpha`, per second) and by its growth (times `beta`). Classic datagrams are dropped, or marked if they are ECT(0),
    with the chance p'². Those of the low-latency queue are marked with the chance `coupling` · p', or with that of
    their own delay if it is more: from 0 at `ramp_from` to 1 at `ramp_to`, a step if both are the same, and none for
    one behind which nobody waits. When the coupled chance is at 1 the load does not give way: then p'² drops in both
    queues.

    While both queues wait, the classic one gets `protection` percent of the rate. The queues share the limits. Times
    are ns or text such as "15ms"; the chance starts at 0. `marked` counts; `chance` is p'. `HoldingQueue` has the other
    parameters. Source: RFC 9332, appendix A, with weighted round robin as its scheduler. Raises ValueError when
    `update` is 0, `ramp_to` is less than `ramp_from`, or a number is out of range.
    """

    def __init__(
        self,
        target: int | str = "15ms",
        *,
        update: int | str = "16ms",
        alpha: float = 0.16,
        beta: float = 3.2,
        coupling: float = 2.0,
        ramp_from: int | str = "800us",
        ramp_to: int | str = "1200us",
        protection: int = 10,
        size: int | str | None = None,
        packets: int | None = 10_000,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(size, packets=packets, on_queue=on_queue)
        self.target_ns = nanoseconds(target)
        self.update_ns = interval("DualPi2: update", update)
        self.alpha = number_from("alpha", alpha, 0, 1000)
        self.beta = number_from("beta", beta, 0, 1000)
        self.coupling = number_from("coupling", coupling, 0, 1000)
        self.ramp_from_ns = nanoseconds(ramp_from)
        self.ramp_to_ns = nanoseconds(ramp_to)
        if self.ramp_to_ns < self.ramp_from_ns:
            raise ValueError(f"DualPi2: ramp_to {ramp_to!r}: must not be less than ramp_from {ramp_from!r}")
        self.protection = whole_number("protection", protection)
        if self.protection > 100:
            raise ValueError(f"protection {protection!r}: must be at most 100 percent")
        self.chance = 0.0  # p'
        self.marked = 0
        self._classic = Line()
        self._low_latency = Line()
        self._delay = 0  # at the latest update, ns
        self._update_at = self.update_ns
        self._credit: int | None = None  # of the classic queue while both wait, in hundredths of a byte

    @property
    def classic_chance(self) -> float:
        """The chance of a drop or mark in the classic queue: p'²."""
        return self.chance * self.chance

    @property
    def coupled_chance(self) -> float:
        """The chance of a mark in the low-latency queue that comes from the classic one."""
        return min(1.0, self.coupling * self.chance)

    def _join(self, waiting: Waiting) -> None:
        self._catch_up(waiting.since)
        (self._low_latency if waiting.datagram.ecn & _L4S_BIT else self._classic).join(waiting)

    def _next(self, now: int) -> Waiting | None:
        self._catch_up(now)
        while self._classic or self._low_latency:
            line = self._schedule_line()
            waiting = line.pop()
            drops = self._drops_low_latency if line is self._low_latency else self._drops_classic
            if not drops(waiting, now):
                return waiting
            self._discard(waiting, now, "DualPI2")
        return None

    def _schedule_line(self) -> Line:
        """Choose the queue whose turn it is, of those in which something waits."""
        classic, low_latency = self._classic, self._low_latency
        if not classic or not low_latency:
            self._credit = None
            return classic or low_latency
        turn = (100 - self.protection) * classic.waiting[0].size
        credit = -turn if self._credit is None else self._credit  # the low-latency queue goes first
        if credit >= 0:
            self._credit = credit - turn
            return classic
        self._credit = credit + self.protection * low_latency.waiting[0].size
        return low_latency

    def _drops_low_latency(self, waiting: Waiting, now: int) -> bool:
        coupled = self.coupled_chance
        if coupled >= 1:
            if self.rng.random() < self.classic_chance:
                return True
        elif self._low_latency:
            coupled = max(coupled, self._ramp(now - waiting.since))
        if coupled and self.rng.random() < coupled:
            self._mark(waiting)
        return False

    def _drops_classic(self, waiting: Waiting, now: int) -> bool:
        chance = self.classic_chance
        if not chance or self.rng.random() >= chance:
            return False
        if not waiting.datagram.ecn or self.coupled_chance >= 1:
            return True
        self._mark(waiting)
        return False

    def _mark(self, waiting: Waiting) -> None:
        self.marked += waiting.datagram.ecn != _CE
        waiting.datagram.ecn = _CE

    def _ramp(self, delay: int) -> float:
        """The low-latency queue's own chance of a mark, for one that has waited so long (ns)."""
        if delay >= self.ramp_to_ns:
            return 1.0
        if delay <= self.ramp_from_ns:
            return 0.0
        return (delay - self.ramp_from_ns) / (self.ramp_to_ns - self.ramp_from_ns)

    def _catch_up(self, now: int) -> None:
        """Do the updates that are due: nothing came or went since the latest of them, so what they saw is known."""
        while self._update_at <= now:
            at = self._update_at
            delay = max([at - line.waiting[0].since for line in (self._classic, self._low_latency) if line], default=0)
            change = self.alpha * (delay - self.target_ns) + self.beta * (delay - self._delay)
            self.chance = min(1.0, max(0.0, self.chance + change / _SECOND))
            self._delay = delay
            self._update_at += self.update_ns
            if not self.chance and not self.queued_packets and not delay and self._update_at < now:  # it stays so
                self._update_at += (now - self._update_at) // self.update_ns * self.update_ns
