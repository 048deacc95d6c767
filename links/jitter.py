"""Delay that varies from datagram to datagram."""

from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds


class Jitter(Element):
    """Delays each datagram by a time drawn uniformly from 0 to `spread` (ns or text such as "5ms").

    Datagrams keep their order: one that would overtake leaves together with its predecessor. With `reorder`
    they overtake.
    """

    def __init__(self, spread: int | str, *, reorder: bool = False) -> None:
        super().__init__()
        self.spread_ns = nanoseconds(spread)
        self.in_order = not reorder
        self._latest = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        leaves_at = now + int(self.rng.random() * (self.spread_ns + 1))
        if self.in_order:
            self._latest = leaves_at = max(leaves_at, self._latest)
        return leaves_at
