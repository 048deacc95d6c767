"""Serialisation at a bit rate that changes at set times."""

from collections.abc import Sequence
from typing import Final

from links.datagram import Datagram
from links.element import Server
from links.units import bits_per_second, nanoseconds, size_in_bytes

_BIT_NS_PER_BYTE: Final = 8 * 10**9


class RateSchedule(Server):
    """Sends one datagram at a time, at a rate that changes: `steps` are pairs of a time and the rate from then on.

    Times are ns or text such as "5s", rates bit/s or text such as "10Mbps"; the first time is 0. With `period` the
    schedule starts again whenever that much time has passed. A datagram on its way when the rate changes goes on at the
    new rate; departures are the floor of the exact times, as of Rate, whose `overhead` this has too.

    Raises ValueError when the times do not ascend from 0, or `period` is not beyond the last.
    """

    def __init__(
        self, steps: Sequence[tuple[int | str, int | str]], period: int | str | None = None, overhead: int | str = 0
    ) -> None:
        super().__init__()
        pairs = [_step(step) for step in steps]
        self.times = [at for at, _ in pairs]
        self.rates = [rate for _, rate in pairs]
        self.period_ns = None if period is None else nanoseconds(period)
        ends = [*self.times[1:], *([] if self.period_ns is None else [self.period_ns])]
        if not pairs or self.times[0] or any(end <= at for at, end in zip(self.times, ends, strict=False)):
            raise ValueError(
                f"RateSchedule: times {', '.join(map(str, self.times))} ns, period {self.period_ns}: must ascend from 0"
            )
        self.overhead = size_in_bytes(overhead)
        self.idle_at = 0
        self._remainder = 0  # work that is left at idle_at, less than a ns of it
        self._step = 0
        self._cycle_at = 0  # when the present round of the schedule began

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        at = self.idle_at
        work = (datagram.size + self.overhead) * _BIT_NS_PER_BYTE
        if at < now:
            at = now
        else:
            work += self._remainder
        while True:
            ends_at = self._advance(at)
            rate = self.rates[self._step]
            if ends_at is None or work <= rate * (ends_at - at):
                break
            work -= rate * (ends_at - at)
            at = ends_at
        elapsed, self._remainder = divmod(work, rate)
        self.idle_at = at + elapsed
        return self.idle_at

    def capacity(self, until: int) -> float:
        if self.period_ns is None:
            return self._within(until)
        rounds, rest = divmod(until, self.period_ns)
        return rounds * self._within(self.period_ns) + self._within(rest)

    def _within(self, until: int) -> float:
        """Return the bits that can be sent in the first `until` ns of the schedule."""
        ends = [*self.times[1:], until]
        spans = (min(end, until) - at for at, end in zip(self.times, ends, strict=True))
        return sum(rate * max(0, span) for rate, span in zip(self.rates, spans, strict=True)) / 10**9

    def _advance(self, now: int) -> int | None:
        """Go to the step that holds at `now`; return when it ends (ns), None for never."""
        if self.period_ns is not None and now - self._cycle_at >= self.period_ns:
            self._cycle_at += (now - self._cycle_at) // self.period_ns * self.period_ns
            self._step = 0
        while self._step + 1 < len(self.times):
            ends_at = self._cycle_at + self.times[self._step + 1]
            if now < ends_at:
                return ends_at
            self._step += 1
        return None if self.period_ns is None else self._cycle_at + self.period_ns


def _step(step: tuple[int | str, int | str]) -> tuple[int, int]:
    if isinstance(step, str) or not isinstance(step, Sequence) or len(step) != 2:
        raise ValueError(f'step {step!r} of a rate schedule: must be a time and a rate, such as ("5s", "10Mbps")')
    return nanoseconds(step[0]), bits_per_second(step[1])
