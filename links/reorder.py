"""Reordering: chosen datagrams are held back, or overtake the others."""

from collections.abc import Callable

from links.chance import Choice
from links.datagram import Datagram
from links.element import HELD, Element
from links.units import nanoseconds, whole_number


class Reorder(Element):
    """Reorders datagrams that are chosen with a probability (0 to 1), or by a predicate of the datagram.

    A chosen datagram is held back for `hold` (ns or text such as "5ms"), while the others pass. With
    `overtake` it is the other way round: all are held but the chosen.

    With `correlation` (0 to below 1) a datagram shares with that probability the choice before it. With `gap` at least
    `gap` - 1 datagrams come before and between chosen ones: of a probability p, 1 / (gap - 1 + 1/p) are chosen. netem's
    "reorder ... gap" is this with `overtake`. Raises ValueError for another correlation or a gap below 1.
    """

    in_order = False

    def __init__(
        self,
        chosen: float | Callable[[Datagram], object],
        hold: int | str,
        *,
        overtake: bool = False,
        correlation: float = 0.0,
        gap: int = 1,
    ) -> None:
        super().__init__()
        self.choice = Choice(chosen, correlation)
        self.gap = whole_number("gap", gap, 1)
        self.hold_ns = nanoseconds(hold)
        self.overtake = overtake
        self.reordered = 0
        self._since = 0  # datagrams since the latest chosen one

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        chosen = self.choice.takes(datagram, self.rng) and self._since >= self.gap - 1
        self._since = 0 if chosen else self._since + 1
        self.reordered += chosen
        return now if chosen is self.overtake else now + self.hold_ns


class ReorderDepth(Element):
    """Holds a chosen datagram back until `depth` later ones have passed, or for `hold` at most.

    `chosen` is a probability (0 to 1) or a predicate of the datagram. The held one leaves at the very time of
    the last that passes it, after it. Held ones are not counted as passing. Raises ValueError when `depth` is
    below 1.
    """

    in_order = False
    on_time = True

    def __init__(self, chosen: float | Callable[[Datagram], object], depth: int, hold: int | str = "1s") -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"ReorderDepth: depth = {depth}: must be at least 1")
        self.choice = Choice(chosen)
        self.depth = depth
        self.hold_ns = nanoseconds(hold)
        self.reordered = 0
        self._passed = 0
        self._held: dict[Datagram, int] = {}  # to the value of _passed that lets it go

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.choice.takes(datagram, self.rng):
            self.reordered += 1
            self._held[datagram] = self._passed + self.depth
            self.schedule(now + self.hold_ns, self._release, datagram, now + self.hold_ns)
            return HELD
        self._passed += 1
        for held, count in self._held.items():
            if count > self._passed:
                break
            # As an event of its own, so that it comes behind the datagram that passes now.
            self.schedule(now, self._release, held, now)
        return now

    def _release(self, datagram: Datagram, now: int) -> None:
        if self._held.pop(datagram, None) is not None:
            self.forward(datagram, now)
