"""Delay and reordering models against their closed forms: mean, deviation, quantiles and correlation of delays."""

from collections.abc import Callable, Iterator
from math import erf, exp, pi, sqrt
from statistics import NormalDist

import numpy as np

from links import Element, Jitter, Reorder, ReorderDepth, Slots, VariableDelay
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import Wire, bound, datagram

MS = 1_000_000


def delays(element: Element, count: int, spacing: int = 1000 * MS) -> np.ndarray:
    """Return the delays of datagrams that come one a second, or each `spacing` ns, in ms."""
    receive, packet = bound(element, 1).receive, datagram()
    times = (receive(packet, now) - now for now in range(0, count * spacing, spacing))
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


def quantiles(count: int) -> Iterator[Row]:
    """The share q of the delays lies below x where F(x) = q; a sample's quantile is off by √(q (1 - q) / n) / F'(x)."""
    normal_law = NormalDist()
    laws: tuple[tuple[str, Callable[[float], float], Callable[[float], float]], ...] = (
        ("uniform", lambda q: 2 * q - 1, lambda _: 0.5),
        ("normal", normal_law.inv_cdf, lambda q: normal_law.pdf(normal_law.inv_cdf(q))),
        # Pareto of shape 3, less 1.5, times 4/3: F(x) = 1 - (1.5 + 3x/4)^-3
        ("pareto", lambda q: 4 / 3 * ((1 - q) ** (-1 / 3) - 1.5), lambda q: 9 / 4 * (1 - q) ** (4 / 3)),
    )
    for name, inverse, density in laws:
        sample = delays(VariableDelay("50ms", "10ms", name), count)
        for q in (0.01, 0.1, 0.5, 0.9, 0.99):
            error = STANDARD_ERRORS * sqrt(q * (1 - q) / count) / density(q) + 1 / 4096 / density(q) / 2
            expected = 50 + 10 * min(inverse(q), 32_767 / 8192)  # where the tables end
            model = f"VariableDelay(50 ms, 10 ms, {name})"
            yield Row(model, f"quantile {q} (ms)", float(np.quantile(sample, q)), expected, 10 * error)


def slots(count: int) -> Iterator[Row]:
    """Whoever comes at random times finds the next slot E X² / (2 E X) ahead; full slots of n carry n each."""
    low, high = 4, 16
    square = (high**3 - low**3) / 3 / (high - low)
    sample = delays(Slots("4ms", "16ms"), count)
    expected, most = square / (low + high), sqrt(high**3 / 3 / 10)
    yield Row(
        "Slots(4 to 16 ms)", "mean wait (ms)", float(sample.mean()), expected, STANDARD_ERRORS * most / sqrt(count)
    )
    receive, packet = bound(Slots("10ms", packets=5), 1).receive, datagram()
    last = [receive(packet, 1) for _ in range(count)][-1]
    yield Row("Slots(10 ms, 5 datagrams)", "last leaves (s)", last / 1e9, -(-count // 5) / 100, 0)


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
    p, rho = 0.2, 0.6
    held = delays(Reorder(p, "10ms", correlation=rho), count) > 0
    runs, errors = np.count_nonzero(held[1:] & ~held[:-1]), STANDARD_ERRORS * sqrt((1 + rho) / (1 - rho) / count)
    model = f"Reorder({p}, correlation {rho})"
    yield Row(model, "share", float(held.mean()), p, errors * sqrt(p * (1 - p)))
    expected = 1 / ((1 - rho) * (1 - p))
    yield Row(model, "mean run", np.count_nonzero(held) / runs, expected, STANDARD_ERRORS * expected / sqrt(runs))


def reordering_by_depth(count: int) -> Iterator[Row]:
    """How many are held, and how many of them the next one overtakes."""
    p, depth = 0.1, 3
    element = ReorderDepth(p, depth)
    arrived = [number for number, _ in Wire(element, seed=1).send(*range(0, count * 1000, 1000), size=1).arrivals]
    places = np.empty(count, dtype=np.int64)
    places[np.array(arrived) - 1] = np.arange(count)
    model = f"ReorderDepth({p}, {depth})"
    yield Row(model, "share", element.reordered / count, p, STANDARD_ERRORS * sqrt(p * (1 - p) / count))
    overtaken = np.count_nonzero(places[:-1] > places[1:]) / count
    # One that is held is followed at once by one that is not with probability 1 - p, which then comes before it.
    expected = p * (1 - p)
    error = STANDARD_ERRORS * sqrt(expected / count)
    yield Row(model, "overtaken by the next", overtaken, expected, error)


VALIDATIONS = (
    jitter,
    uniform,
    normal,
    clipped_normal,
    pareto,
    paretonormal,
    quantiles,
    slots,
    correlation,
    reordering,
    reordering_by_depth,
)
