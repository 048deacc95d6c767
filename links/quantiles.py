"""Distributions as tables of quantiles, by netem's conventions."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from statistics import NormalDist
from typing import Final

SCALE: Final = 8192  # table units in one unit of spread
_ENTRIES: Final = 4096
_MOST: Final = 32_767  # what netem's tables hold: a little less than 4 units of spread


class Quantiles:
    """A distribution: the value, in units of its spread, below which each share of the draws lies.

    `table` are quantiles at equal distances from least to greatest, in units of 1/8192; between them it is linear. Only
    exact operations turn draws into values, so that they are the same on every machine. Raises ValueError when there
    are fewer than two quantiles or they are not in ascending order.
    """

    def __init__(self, table: Iterable[int]) -> None:
        self.table: Final[Sequence[int]] = tuple(table)
        if len(self.table) < 2 or any(one > other for one, other in zip(self.table, self.table[1:], strict=False)):
            raise ValueError("distribution table: must be two quantiles or more, in ascending order")
        self._last: Final = len(self.table) - 1

    def value(self, share: float) -> float:
        """Return the value below which `share` (0 to 1) of the draws lie."""
        table = self.table
        position = share * self._last
        index = min(int(position), self._last - 1)
        low = table[index]
        return (low + (table[index + 1] - low) * (position - index)) / SCALE

    def share(self, value: float) -> float:
        """Return the share of the draws that lie below `value`."""
        table = self.table
        value *= SCALE
        index = bisect_right(table, value) - 1
        if index < 0:
            return 0.0
        if index >= self._last:
            return 1.0
        return (index + (value - table[index]) / (table[index + 1] - table[index])) / self._last


@cache
def normal() -> Quantiles:
    """Return the standard normal distribution, within 3.7 deviations."""
    return Quantiles(round(SCALE * NormalDist().inv_cdf((i + 0.5) / _ENTRIES)) for i in range(_ENTRIES))


@cache
def uniform() -> Quantiles:
    """Return the uniform distribution from -1 to 1."""
    return Quantiles((-SCALE, SCALE))


@cache
def pareto() -> Quantiles:
    """Return netem's Pareto distribution: shape 3, less its mean of 1.5, times 4/3, cut off before 4."""
    shares = ((i + 0.5) / _ENTRIES for i in range(_ENTRIES))
    return Quantiles(min(_MOST, round(SCALE * 4 / 3 * ((1 - share) ** (-1 / 3) - 1.5))) for share in shares)


@cache
def paretonormal() -> Quantiles:
    """Return netem's mix: quantile by quantile a quarter normal, three quarters Pareto."""
    return Quantiles((one + 3 * other) // 4 for one, other in zip(normal().table, pareto().table, strict=True))


DISTRIBUTIONS: Final[dict[str, Callable[[], Quantiles]]] = {
    "uniform": uniform,
    "normal": normal,
    "pareto": pareto,
    "paretonormal": paretonormal,
}


def distribution(name: str) -> Quantiles:
    """Return the distribution of a name. Raises ValueError when there is none."""
    make = DISTRIBUTIONS.get(name) if isinstance(name, str) else None
    if make is None:
        raise ValueError(f"distribution {name!r}: must be one of {', '.join(DISTRIBUTIONS)}")
    return make()


def parse_table(text: str) -> list[int]:
    """Return the ints of a table as netem's .dist files have it: separated by white space, "#" starts a comment.

    Raises ValueError for anything else.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise ValueError(f"distribution table: must be ints separated by white space ({error})") from None
