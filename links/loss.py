"""Loss: at random, by bit errors, by a literal pattern, by number, or by a predicate."""

from collections.abc import Callable, Iterable

from links.datagram import Datagram
from links.element import Element
from links.units import probability, size_in_bytes, whole_number


class Loss(Element):
    """Drops each datagram with the same `probability` (0 to 1), independently (Bernoulli)."""

    def __init__(self, probability_: float, /) -> None:
        super().__init__()
        self.probability = probability(probability_)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.rng.random() < self.probability:
            return self.drop(datagram, "loss")
        return now


class LossBitErrors(Element):
    """Drops each datagram with the probability that one of its bits is wrong or more: 1 - (1 - `rate`)^bits.

    `rate` is the bit error rate (0 to 1); a datagram is its UDP payload and `overhead` bytes. Long datagrams are lost
    more often than short ones. Bits are wrong independently of one another.
    """

    def __init__(self, rate: float, overhead: int | str = 0) -> None:
        super().__init__()
        self.rate = probability(rate)
        self.overhead = size_in_bytes(overhead)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.rng.random() >= (1 - self.rate) ** (8 * (datagram.size + self.overhead)):
            return self.drop(datagram, "bit errors")
        return now


class LossPattern(Element):
    """Drops by a literal pattern: "...xx", or the ints 0, 0, 0, 1, 1, drops the 4th and 5th.

    The pattern starts again at its end, unless `repeat` is False: then everything after it passes. Spaces and
    "_" in text are skipped. Raises ValueError when the pattern is empty or holds anything else.
    """

    def __init__(self, pattern: str | Iterable[int], *, repeat: bool = True) -> None:
        super().__init__()
        meaning: dict[object, bool] = {".": False, "0": False, 0: False, "x": True, "1": True, 1: True}
        marks = list(pattern.replace(" ", "").replace("_", "") if isinstance(pattern, str) else pattern)
        wrong = [mark for mark in marks if mark not in meaning]
        if wrong or not marks:
            raise ValueError(f'loss pattern {pattern!r}: must be of "." (pass) and "x" (drop), or of 0 and 1')
        self.pattern = tuple(meaning[mark] for mark in marks)
        self.repeat = repeat
        self._length = len(marks)

    def receive(self, datagram: Datagram, now: int) -> int:
        index = self.received
        self.received = index + 1
        if index >= self._length:
            if not self.repeat:
                return now
            index %= self._length
        return self.drop(datagram, "loss pattern") if self.pattern[index] else now


class LossNth(Element):
    """Drops the datagrams of these `numbers`, counted from 1: LossNth(2, 3) drops the second and the third.

    Raises ValueError when there is none or one is below 1.
    """

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        if not numbers or min(numbers) < 1:
            raise ValueError(f"LossNth{numbers}: must name datagrams by number, counted from 1")
        self.numbers = frozenset(numbers)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, "nth datagram") if self.received in self.numbers else now


class LossEvery(Element):
    """Drops every `n`-th datagram: LossEvery(10) the 10th, the 20th, … With `first` that one, and each `n`-th after it.

    Raises ValueError when one of them is below 1.
    """

    def __init__(self, n: int, first: int | None = None) -> None:
        super().__init__()
        self.n = whole_number("n", n, 1)
        self.first = self.n if first is None else whole_number("first", first, 1)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        beyond = self.received - self.first
        return now if beyond < 0 or beyond % self.n else self.drop(datagram, "every nth datagram")


class LossIf(Element):
    """Drops the datagrams for which `predicate(datagram)` is true, and counts them under `reason`."""

    def __init__(self, predicate: Callable[[Datagram], object], reason: str = "predicate") -> None:
        super().__init__()
        self.predicate = predicate
        self.reason = reason

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, self.reason) if self.predicate(datagram) else now
