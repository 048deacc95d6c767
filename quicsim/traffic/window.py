"""Congestion windows of the TCP model, in segments: NewReno and CUBIC.

Only basic operations on floats and integers are used, which give the same result on every machine.
"""

from abc import ABC, abstractmethod
from typing import Final

from quicsim.series import NS_PER_S
from stack.congestion.cubic import ALPHA, BETA, C, cube_root_ns

INITIAL_WINDOW: Final = 10.0  # segments (RFC 6928)
_LEAST: Final = 2.0  # segments of a slow start threshold (RFC 5681, equation 4)


class Window(ABC):
    """A congestion window: `size` and `threshold` (of slow start) in segments.

    Slow start adds what was acknowledged (RFC 5681 section 3.1, counted by bytes as RFC 3465 has it).
    """

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.threshold = float("inf")

    def on_acknowledged(self, count: int, now: int, rtt: int) -> None:
        """`count` segments were delivered outside of recovery; `now` and the smoothed `rtt` are in ns."""
        if self.size < self.threshold:
            self.size = min(self.size + count, max(self.threshold, self.size))
        else:
            self._avoid(count, now, rtt)

    def on_loss(self, now: int) -> None:
        """Segments were lost for the first time in this window of data."""
        self._reduce(now)
        self.size = self.threshold

    def on_timeout(self, now: int) -> None:
        """The retransmission timer has expired: begin anew with one segment."""
        self._reduce(now)
        self.size = 1.0

    @abstractmethod
    def _avoid(self, count: int, now: int, rtt: int) -> None:
        """Grow in congestion avoidance."""

    @abstractmethod
    def _reduce(self, now: int) -> None:
        """Set the threshold after a loss."""


class NewReno(Window):
    """One segment more in each round trip, half the window after a loss (RFC 5681, RFC 6582)."""

    def _avoid(self, count: int, now: int, rtt: int) -> None:
        self.size += count / self.size

    def _reduce(self, now: int) -> None:
        self.threshold = max(self.size / 2, _LEAST)


class Cubic(Window):
    """A cubic function of the time since the last loss, with fast convergence (RFC 9438, without HyStart)."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0.0  # the window before the last loss
        self._maximum = 0.0  # where the cubic is flat: the same, or less while it converges
        self._epoch_at: int | None = None  # when congestion avoidance began
        self._time_to_maximum = 0  # from there, ns
        self._reno = 0.0

    def _avoid(self, count: int, now: int, rtt: int) -> None:
        if self._epoch_at is None:
            self._epoch_at = now
            self._reno = self.size
            self._maximum = max(self._maximum, self.size)
            self._time_to_maximum = cube_root_ns((self._maximum - self.size) / C)
        elapsed = now - self._epoch_at
        self._reno += (ALPHA if self._reno < self._before else 1.0) * count / self.size
        if self._cubic(elapsed) < self._reno:
            self.size = max(self.size, self._reno)  # the Reno-friendly region
            return
        target = min(max(self._cubic(elapsed + rtt), self.size), 1.5 * self.size)
        self.size += count * (target - self.size) / self.size

    def _cubic(self, elapsed: int) -> float:
        seconds = (elapsed - self._time_to_maximum) / NS_PER_S
        return C * (seconds * seconds * seconds) + self._maximum

    def _reduce(self, now: int) -> None:
        self._before = self.size
        converging = self.size < self._maximum  # give others room (RFC 9438 section 4.7)
        self._maximum = self.size * (1 + BETA) / 2 if converging else self.size
        self.threshold = max(self.size * BETA, _LEAST)
        self._epoch_at = None


WINDOWS: Final[dict[str, type[Window]]] = {"newreno": NewReno, "cubic": Cubic}
