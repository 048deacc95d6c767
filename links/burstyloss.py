"""Loss at random that depends on the loss before: with correlation, in bursts of limited length."""

from links.chance import CappedChance, CorrelatedChance
from links.datagram import Datagram
from links.element import Element


class LossCorrelated(Element):
    """Drops with `probability` (0 to 1); with probability `correlation` a datagram shares the fate of the one before.

    The loss rate is `probability`, the mean length of a burst 1 / ((1 - correlation) (1 - probability)).
    """

    def __init__(self, probability: float, correlation: float) -> None:
        super().__init__()
        self.chance = CorrelatedChance(probability, correlation)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, "correlated loss") if self.chance.draw(self.rng) else now


class LossCapped(Element):
    """Drops with `probability` (0 to 1), but never more than `burst` datagrams in a row.

    The loss of the QUIC interop runner's "drop-rate" scenario: after `burst` losses the next datagram passes, so that a
    probability of 0.3 in bursts of 3 loses 29.43 %, and 0.02 in bursts of 3 loses 2.00 %.
    """

    def __init__(self, probability: float, burst: int) -> None:
        super().__init__()
        self.chance = CappedChance(probability, burst)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, "capped loss") if self.chance.draw(self.rng) else now
