"""Propagation delay."""

from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds


class Delay(Element):
    """Delays every datagram by the same `duration` (ns or text such as "25ms")."""

    def __init__(self, duration: int | str) -> None:
        super().__init__()
        self.duration_ns = nanoseconds(duration)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return now + self.duration_ns
