"""Loss in bursts: the Gilbert-Elliott model."""

from links.datagram import Datagram
from links.element import Element
from links.units import probability


class GilbertElliott(Element):
    """Loses by two states, "good" and "bad", each with its own loss probability.

    After a datagram the state changes from good to bad with probability `p`, and back with probability `r`. A datagram
    is lost with probability `loss_good` or `loss_bad`, by the state it finds; the first finds the good one. All are
    probabilities (0 to 1). With the defaults it is Gilbert's simple model: all is lost in the bad state.

    The bad state takes the share p / (p + r) of the datagrams and holds for 1 / r of them on average. Source: E. N.
    Gilbert, "Capacity of a Burst-Noise Channel" (1960); E. O. Elliott, "Estimates of Error Rates for Codes on
    Burst-Noise Channels" (1963). In netem's terms `loss_bad` is 1-h and `loss_good` is 1-k.
    """

    def __init__(self, p: float, r: float, loss_bad: float = 1.0, loss_good: float = 0.0) -> None:
        super().__init__()
        self.p = probability(p)
        self.r = probability(r)
        self.loss_bad = probability(loss_bad)
        self.loss_good = probability(loss_good)
        self.bad = False

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        draw = self.rng.random
        lost = draw() < (self.loss_bad if self.bad else self.loss_good)
        if draw() < (self.r if self.bad else self.p):
            self.bad = not self.bad
        return self.drop(datagram, "Gilbert-Elliott") if lost else now
