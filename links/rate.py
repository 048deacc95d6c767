"""Serialisation at a fixed bit rate."""

from typing import Final

from links.datagram import Datagram
from links.element import Server
from links.units import bits_per_second, size_in_bytes

_BIT_NS_PER_BYTE: Final = 8 * 10**9


class Rate(Server):
    """Sends one datagram at a time, at `rate` (bit/s or text such as "10Mbps"); the others wait.

    A datagram takes its UDP payload plus `overhead` bytes on the wire (UDP + IPv4 + PPP headers: 30). Its
    queue is unbounded unless a queue such as TailDrop stands beside the Rate.

    Departures are the floor of the exact times: what a division leaves over is carried on through a busy
    period, so that rounding never adds up.
    """

    def __init__(self, rate: int | str, overhead: int | str = 0) -> None:
        super().__init__()
        self.rate = bits_per_second(rate)
        self.overhead = size_in_bytes(overhead)
        self.idle_at = 0  # when everything so far will have been sent, ns
        self._remainder = 0  # the fraction of a ns that idle_at leaves out, in units of 1/rate ns

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        start = self.idle_at
        work = (datagram.size + self.overhead) * _BIT_NS_PER_BYTE
        if start < now:
            start = now
        else:
            work += self._remainder
        elapsed, self._remainder = divmod(work, self.rate)
        self.idle_at = leaves_at = start + elapsed
        return leaves_at

    def capacity(self, until: int) -> float:
        return self.rate * until / 10**9
