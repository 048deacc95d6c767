"""Duplication."""

from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds, probability


class Duplicate(Element):
    """Sends some datagrams twice, each with the same `probability` (0 to 1); the copy comes `delay` after the first.

    `delay` is in ns or text such as "5ms". A copy has its original's number, and is not counted by `received`.
    """

    in_order = False

    def __init__(self, probability_: float, /, delay: int | str = 0) -> None:
        super().__init__()
        self.probability = probability(probability_)
        self.delay_ns = nanoseconds(delay)
        self.duplicated = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.rng.random() < self.probability:
            self.duplicated += 1
            self.forward(datagram.copy(), now + self.delay_ns)
        return now
