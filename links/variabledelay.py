"""Delay by a distribution."""

from collections.abc import Iterable
from math import sqrt

from links import quantiles
from links.datagram import Datagram
from links.element import Element
from links.quantiles import Quantiles, normal, parse_table
from links.units import nanoseconds, number_from


class VariableDelay(Element):
    """Delays each datagram by `delay` and a value of a distribution times `jitter` (ns or text such as "5ms").

    `distribution` is "uniform" (from -1 to 1), "normal" (deviation 1), "pareto" or "paretonormal"; as netem defines
    them, so that the last two lean to long delays. `table` takes its place: the quantiles at equal distances in units
    of 1/8192, as ints or as the text of one of netem's .dist files. A delay is never below zero.

    With `correlation` (0 to below 1) a delay resembles the one before: the normal values behind the draws have it (a
    Gaussian copula over an autoregressive process), while the distribution stays as it is. Datagrams overtake one
    another; without `reorder` one that would leaves together with its predecessor.

    Raises ValueError for an unknown distribution and for a table that is none.
    """

    def __init__(
        self,
        delay: int | str,
        jitter: int | str,
        distribution: str = "normal",
        *,
        table: str | Iterable[int] | None = None,
        correlation: float = 0.0,
        reorder: bool = True,
    ) -> None:
        super().__init__()
        self.delay_ns = nanoseconds(delay)
        self.jitter_ns = nanoseconds(jitter)
        if table is None:
            self.quantiles = quantiles.distribution(distribution)
        else:
            self.quantiles = Quantiles(parse_table(table) if isinstance(table, str) else table)
        self.correlation = number_from("correlation", correlation, 0, 1, open_end=True)
        self.in_order = not reorder
        self._innovation = sqrt(1 - self.correlation**2)
        self._normal: float | None = None  # what is behind the latest delay, when delays are correlated
        self._latest = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        share = self.rng.random()
        if self.correlation:
            share = self._correlated(share)
        leaves_at = now + max(0, self.delay_ns + int(self.jitter_ns * self.quantiles.value(share)))
        if self.in_order:
            self._latest = leaves_at = max(leaves_at, self._latest)
        return leaves_at

    def _correlated(self, share: float) -> float:
        value = normal().value(share)
        if self._normal is not None:
            value = self.correlation * self._normal + self._innovation * value
        self._normal = value
        return normal().share(value)
