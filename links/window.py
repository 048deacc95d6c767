"""Times at which something happens: once, or over and over."""

from typing import Final

from links.units import interval, nanoseconds


class Window:
    """The time from `start` for `duration`, and again each `period` if there is one; all in ns or text such as "2s".

    Raises ValueError when the duration is 0, or not shorter than the period.
    """

    def __init__(self, start: int | str, duration: int | str, period: int | str | None) -> None:
        self.start_ns: Final = nanoseconds(start)
        self.duration_ns: Final = interval("duration", duration)
        self.period_ns: Final = None if period is None else nanoseconds(period)
        if self.period_ns is not None and self.period_ns <= self.duration_ns:
            raise ValueError(f"period {period!r}: must be longer than the duration {duration!r}")

    def left(self, now: int) -> int:
        """Return how much of the window is left at `now` (ns); 0 outside."""
        phase = now - self.start_ns
        if phase < 0:
            return 0
        if self.period_ns is not None:
            phase %= self.period_ns
        return max(0, self.duration_ns - phase)
