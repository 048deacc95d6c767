"""Delay and reordering models against their closed forms: mean, deviation and correlation of delays."""

from collections.abc import Iterator
from math import erf, exp, pi, sqrt

import numpy as np

from links import Element, Jitter, Reorder, VariableDelay
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import bound, datagram

MS = 1_000_000


def delays(element: Element, count: int) -> np.ndarray:
    """Return the delays of datagrams that come one a second, in ms."""
    receive, packet = bound(element, 1).receive, datagram()
    times = (receive(packet, now) - now for now in range(0, count * 1000 * MS, 1000 * MS))
    return np.fromiter(times, dtype=np.int64, count=count) / MS


def _moments(model: str, element: Element, mean: float, deviation: float, count: int) -> Iterator[Row]:
    """Compare mean and deviation; a table of 4096 quantiles may be off by as much as a thousandth of the deviation."""
    sample = delays(element, count)
    error = STANDARD_ERRORS * deviation / sqrt(count)
    yield Row(model, "mean delay (ms)", float(sample.mean()), mean, error + deviation / 1000)
    # A kurtosis of up to 5, and none here has more, makes the deviation as uncertain as the mean at most.
    yield Row(model, "deviation (ms)", float(sample.std()), deviation, error + deviation / 400)


def jitter(count: int) -> Iterator[Row]:
    yield from _moments("Jitter(5 ms)", Jitter("5ms", reorder=True), 2.5, 5 / sqrt(12), count)


def uniform(count: int) -> Iterator[Row]:
    element = VariableDelay("50ms", "10ms", "uniform")
    yield from _moments("VariableDelay(50 ms, 10 ms, uniform)", element, 50, 10 / sqrt(3), count)


def normal(count: int) -> Iterator[Row]:
    yield from _moments("VariableDelay(50 ms, 10 ms, normal)", VariableDelay("50ms", "10ms"), 50, 10, count)


def clipped_normal(count: int) -> Iterator[Row]:
    """What would be below zero is zero: E max(0, 10 + 10 Z) = 10 (phi(1) + Phi(1))."""
    density, below = exp(-0.5) / sqrt(2 * pi), (1 + erf(1 / sqrt(2))) / 2
    mean, square = density + below, 2 * below + density
    element = VariableDelay("10ms", "10ms")
    deviation = sqrt(square - mean**2)
    yield from _moments("VariableDelay(10 ms, 10 ms, normal)", element, 10 * mean, 10 * deviation, count)


def pareto(count: int) -> Iterator[Row]:
    """Pareto of shape 3, cut off at c: mean 3/2 - 1/(2c²), mean square 3 - 2/c."""
    cut = 1.5 + 3 / 4 * 32_767 / 8192
    mean, square = 1.5 - 1 / (2 * cut**2), 3 - 2 / cut
    expected = 50 + 10 * 4 / 3 * (mean - 1.5), 10 * 4 / 3 * sqrt(square - mean**2)
    element = VariableDelay("50ms", "10ms", "pareto")
    yield from _moments("VariableDelay(50 ms, 10 ms, pareto)", element, *expected, count)


def paretonormal(count: int) -> Iterator[Row]:
    """Quantile by quantile a quarter normal and three quarters Pareto: the mean is that of the parts."""
    cut = 1.5 + 3 / 4 * 32_767 / 8192
    mean = 50 - 10 * 0.75 * 4 / 3 / (2 * cut**2)
    sample = delays(VariableDelay("50ms", "10ms", "paretonormal"), count)
    tolerance = STANDARD_ERRORS * 10 / sqrt(count) + 0.01
    yield Row("VariableDelay(50 ms, 10 ms, paretonormal)", "mean delay (ms)", float(sample.mean()), mean, tolerance)


def correlation(count: int) -> Iterator[Row]:
    """The normal distribution stays what it is, and delays k apart correlate by the correlation to the power of k."""
    for rho in (0.25, 0.9):
        model = f"VariableDelay(50 ms, 10 ms, correlation {rho})"
        sample = delays(VariableDelay("50ms", "10ms", correlation=rho), count)
        error = STANDARD_ERRORS / sqrt(count) * sqrt((1 + rho**2) / (1 - rho**2))
        yield Row(model, "deviation (ms)", float(sample.std()), 10, 10 * error + 0.03)
        for apart in (1, 2):
            measured = float(np.corrcoef(sample[:-apart], sample[apart:])[0, 1])
            yield Row(model, f"correlation {apart} apart", measured, rho**apart, error)


def reordering(count: int) -> Iterator[Row]:
    """How many overtake: p, and with a gap 1 / (gap - 1 + 1/p)."""
    for p, gap in ((0.25, 1), (0.5, 5)):
        element = Reorder(p, "10ms", overtake=True, gap=gap)
        share, mean_distance = float((delays(element, count) == 0).mean()), gap - 1 + 1 / p
        error = sqrt((1 - p) / p**2) / mean_distance**1.5 / sqrt(count)
        yield Row(f"Reorder({p}, gap {gap})", "share", share, 1 / mean_distance, STANDARD_ERRORS * error)


VALIDATIONS = (jitter, uniform, normal, clipped_normal, pareto, paretonormal, correlation, reordering)
