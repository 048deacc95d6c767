"""Loss in bursts and alone: a Markov chain of four states."""

from typing import Final

from links.datagram import Datagram
from links.element import Element
from links.units import probability

_GAP: Final = 1  # received, outside bursts
_RECEIVED: Final = 2  # received, within a burst
_LOST: Final = 3  # lost, within a burst
_ALONE: Final = 4  # lost, outside bursts: always back to _GAP


class LossMarkov(Element):
    """Loses by a Markov chain of four states; `pij` is the probability (0 to 1) to go from state i to state j.

    A datagram is received in states 1 (gap) and 2 (within a burst), lost in states 3 (within a burst) and 4 (alone).
    The state changes before each datagram; the chain starts in state 1. netem's "loss state" has the same parameters
    and defaults; `p31` is 1 - `p32` if not given. Source: S. Salsano, F. Ludovici, A. Ordine, "Definition of a general
    and intuitive loss model for packet networks" (2009).

    Raises ValueError when the probabilities to leave a state add up to more than 1.
    """

    def __init__(
        self, p13: float, p31: float | None = None, p32: float = 0.0, p23: float = 1.0, p14: float = 0.0
    ) -> None:
        super().__init__()
        self.p13 = probability(p13)
        self.p32 = probability(p32)
        self.p31 = 1 - self.p32 if p31 is None else probability(p31)
        self.p23 = probability(p23)
        self.p14 = probability(p14)
        for one, other in (("p13", "p14"), ("p31", "p32")):
            total = getattr(self, one) + getattr(self, other)
            if total > 1:
                raise ValueError(f"LossMarkov: {one} + {other} = {total:g}: must be at most 1")
        self.state = _GAP

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        self.state = state = self._next(self.rng.random())
        return self.drop(datagram, "Markov chain") if state >= _LOST else now

    def _next(self, value: float) -> int:
        state = self.state
        if state == _GAP:
            return _LOST if value < self.p13 else _ALONE if value < self.p13 + self.p14 else _GAP
        if state == _RECEIVED:
            return _LOST if value < self.p23 else _RECEIVED
        if state == _LOST:
            return _GAP if value < self.p31 else _RECEIVED if value < self.p31 + self.p32 else _LOST
        return _GAP
