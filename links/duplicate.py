"""Duplication."""

from collections.abc import Callable

from links.chance import Choice
from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds


class Duplicate(Element):
    """Sends datagrams twice that are chosen with a probability (0 to 1), or by a predicate; a copy comes `delay` later.

    `delay` is in ns or text such as "5ms". With `correlation` (0 to below 1) a datagram shares with that probability
    the choice before it. A copy has its original's number, and is not counted by `received`. Source: netem's
    "duplicate".
    """

    in_order = False

    def __init__(
        self, chosen: float | Callable[[Datagram], object], delay: int | str = 0, *, correlation: float = 0.0
    ) -> None:
        super().__init__()
        self.choice = Choice(chosen, correlation)
        self.delay_ns = nanoseconds(delay)
        self.duplicated = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.choice.takes(datagram, self.rng):
            self.duplicated += 1
            self.forward(datagram.copy(), now + self.delay_ns)
        return now
