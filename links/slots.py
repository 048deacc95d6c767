"""Times at which a medium is granted: what waits then leaves in a burst."""

from typing import Final

from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds, size_in_bytes, whole_number

_UNLIMITED: Final = 1 << 62


class Slots(Element):
    """Lets datagrams go at set times only, as where stations take turns (DOCSIS, Wi-Fi): all that wait, in a burst.

    From one slot to the next it takes `interval` (ns or text such as "10ms"), or with `longest` a time drawn uniformly
    from `interval` to that. A slot carries `packets` datagrams and `size` bytes of UDP payload at most, each if given,
    but one datagram at least; the others wait for the next. What comes just at a slot goes with it. Slots do not depend
    on the traffic. Source: netem's "slot".

    Raises ValueError when the interval is 0, `longest` is shorter, or `packets` is below 1.
    """

    def __init__(
        self,
        interval: int | str,
        longest: int | str | None = None,
        *,
        packets: int | None = None,
        size: int | str | None = None,
    ) -> None:
        super().__init__()
        self.interval_ns = nanoseconds(interval)
        self.longest_ns = self.interval_ns if longest is None else nanoseconds(longest)
        if not 0 < self.interval_ns <= self.longest_ns:
            raise ValueError(f"Slots({interval!r}, {longest!r}): must be times above 0, the longer one second")
        self.packets = _UNLIMITED if packets is None else whole_number("packets", packets, 1)
        self.size = _UNLIMITED if size is None else size_in_bytes(size)
        self._at = 0  # of the latest slot that something waits for or went with
        self._packets_left = self.packets
        self._bytes_left = self.size

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self._at < now:
            if self.interval_ns == self.longest_ns:
                self._at += (now - 1 - self._at) // self.interval_ns * self.interval_ns
            while self._at < now:
                self._next()
        full = self._packets_left < 1 or self._bytes_left < datagram.size
        if full and self._packets_left < self.packets:  # one at least goes with each
            self._next()
        self._packets_left -= 1
        self._bytes_left -= datagram.size
        return self._at

    def _next(self) -> None:
        span = self.longest_ns - self.interval_ns
        self._at += self.interval_ns + (int(self.rng.random() * (span + 1)) if span else 0)
        self._packets_left = self.packets
        self._bytes_left = self.size
