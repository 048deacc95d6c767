"""A look at what passes."""

from collections.abc import Callable

from links.datagram import Datagram
from links.element import Element


class Tap(Element):
    """Calls `callback(datagram, now)` for each datagram that passes, when the clock shows `now` (ns)."""

    on_time = True

    def __init__(self, callback: Callable[[Datagram, int], object]) -> None:
        super().__init__()
        self.callback = callback

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        self.callback(datagram, now)
        return now
