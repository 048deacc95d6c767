"""Yes or no, again and again: what elements ask whether a datagram is among those they act on."""

from collections.abc import Callable

from links import units
from links.datagram import Datagram
from links.element import Randomness
from links.units import number_from, whole_number


class CorrelatedChance:
    """Yes with `probability`; with probability `correlation` (0 to below 1) the answer is the previous one.

    The share of yes is `probability` whatever the correlation, and two answers k apart have the correlation
    `correlation` to the power of k: a Markov chain of two states. (netem instead blends each random number with the
    one before, which also moves the share.) One draw for each answer. Raises ValueError for other arguments.
    """

    def __init__(self, probability: float, correlation: float) -> None:
        self.probability = units.probability(probability)
        self.correlation = number_from("correlation", correlation, 0, 1, open_end=True)
        self._previous: bool | None = None

    def draw(self, rng: Randomness) -> bool:
        """Return the next answer."""
        value = rng.random()
        correlation = self.correlation
        if self._previous is None or not correlation:
            self._previous = value < self.probability
        elif value >= correlation:
            self._previous = value - correlation < self.probability * (1 - correlation)
        return self._previous


class CappedChance:
    """Yes with `probability`, but after `burst` times in a row the next answer is no.

    This is how the QUIC interop runner's network drops and corrupts. With S = p + p² + … + p^burst the share of yes is
    S / (1 + S): 0.2943 for a probability of 0.3 and bursts of 3. One draw for each answer. Raises ValueError when
    `burst` is below 1.
    """

    def __init__(self, probability: float, burst: int) -> None:
        self.probability = units.probability(probability)
        self.burst = whole_number("burst", burst, 1)
        self._in_a_row = 0

    def draw(self, rng: Randomness) -> bool:
        """Return the next answer."""
        if rng.random() < self.probability and self._in_a_row < self.burst:
            self._in_a_row += 1
            return True
        self._in_a_row = 0
        return False


class Choice:
    """Some of the datagrams: each with a probability (and `correlation`), or those for which a predicate holds.

    Raises ValueError as CorrelatedChance does, and for a correlation beside a predicate.
    """

    def __init__(self, chosen: float | Callable[[Datagram], object], correlation: float = 0.0) -> None:
        if callable(chosen) and correlation:
            raise ValueError(f"correlation {correlation!r}: goes with a probability, not with a predicate")
        self.predicate = chosen if callable(chosen) else None
        self._chance = CorrelatedChance(0 if callable(chosen) else chosen, correlation)

    def takes(self, datagram: Datagram, rng: Randomness) -> bool:
        """Tell whether a datagram is among them; one draw each if it is a matter of chance."""
        predicate = self.predicate
        return self._chance.draw(rng) if predicate is None else bool(predicate(datagram))
