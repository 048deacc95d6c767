"""PIE: a queue that keeps its delay near a target by dropping arrivals at random (RFC 8033)."""

from collections.abc import Callable
from typing import Final

from links.datagram import Datagram
from links.taildrop import TailDrop
from links.units import interval, nanoseconds

_CE: Final = 3
_MARKED_UP_TO: Final = 0.1  # beyond this chance what could be marked is dropped too (section 5.1)
_MEAN_SIZE: Final = 1500  # bytes; while less than two of them wait nothing is dropped
_ALPHA: Final = 0.125  # per second of the distance to the target
_BETA: Final = 1.25  # per second of growth
_SECOND: Final = 1_000_000_000
# While the chance is small its changes are too: up to each bound they are divided (section 4.2).
_DIVISORS: Final = ((1e-6, 2048), (1e-5, 512), (1e-4, 128), (1e-3, 32), (1e-2, 8), (1e-1, 2))


class Pie(TailDrop):
    """A TailDrop that drops arrivals with a chance that is steered so that the delay comes to `target`.

    The chance changes every `update`, by the delay's distance to the target and its growth; a burst is let through
    within the first `burst` after quiet times. The delay is known exactly here, not estimated. With `ecn` ECN-capable
    datagrams are marked instead of dropped while the chance is at most 10 %; `marked` counts. Times are ns or text such
    as "15ms". `TailDrop` has the other parameters. Source: RFC 8033, without its optional derandomization and start
    threshold. Raises ValueError when `update` is 0.
    """

    def __init__(
        self,
        target: int | str = "15ms",
        *,
        update: int | str = "15ms",
        burst: int | str = "150ms",
        ecn: bool = False,
        size: int | str | None = None,
        packets: int | None = 1000,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(size, packets=packets, on_queue=on_queue)
        self.target_ns = nanoseconds(target)
        self.update_ns = interval("Pie: update", update)
        self.burst_ns = nanoseconds(burst)
        self.ecn = ecn
        self.marked = 0
        self.chance = 0.0
        self._delay = 0  # at the latest update, ns
        self._allowance = self.burst_ns  # how much longer a burst may last
        self._update_at = self.update_ns

    def receive(self, datagram: Datagram, now: int) -> int:
        # No datagram came since the latest arrival, so what the updates in between would have seen is known.
        while self._update_at <= now:
            self._update(max(0, self.server.idle_at - self._update_at))
            self._update_at += self.update_ns
            if not self.chance and not self._delay and self._update_at < now:  # then it stays so
                self._update_at += (now - self._update_at) // self.update_ns * self.update_ns
        if self._drops(now):
            if not self.ecn or not datagram.ecn or self.chance > _MARKED_UP_TO:
                self.received += 1
                return self.drop(datagram, "PIE")
            datagram.ecn = _CE
            self.marked += 1
        return super().receive(datagram, now)

    def _drops(self, now: int) -> bool:
        if self._allowance or not self.chance:
            return False
        if self._delay < self.target_ns // 2 and self.chance < 0.2:
            return False
        return self.queued_at(now) > 2 * _MEAN_SIZE and self.rng.random() < self.chance

    def _update(self, delay: int) -> None:
        """Steer the chance by the delay (ns) that an arrival would have now."""
        change = (_ALPHA * (delay - self.target_ns) + _BETA * (delay - self._delay)) / _SECOND
        for bound, divisor in _DIVISORS:
            if self.chance < bound:
                change /= divisor
                break
        else:
            change = min(change, 0.02)  # section 5.5
        self.chance += change
        if not delay and not self._delay:
            self.chance *= 0.98
        self.chance = min(1.0, max(0.0, self.chance))
        quiet = self.target_ns // 2
        if not self.chance and delay < quiet and self._delay < quiet:
            self._allowance = self.burst_ns
        else:
            self._allowance = max(0, self._allowance - self.update_ns)
        self._delay = delay
