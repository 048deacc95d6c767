"""Loss models against their closed forms: how much is lost, and in how long bursts."""

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from links import (
    DROPPED,
    Element,
    GilbertElliott,
    Loss,
    LossBitErrors,
    LossCapped,
    LossCorrelated,
    LossEvery,
    LossMarkov,
)
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import bound, datagram


class Expected(NamedTuple):
    """What a model loses: the share, the mean length of a run of losses, and the deviation per √datagram of both."""

    share: float
    burst: float
    share_deviation: float
    burst_deviation: float


def markov(transitions: Sequence[Sequence[float]], loss: Sequence[float]) -> Expected:
    """Return what a chain loses that does so in state i with probability `loss[i]`.

    The share varies as sums over Markov chains do (by the fundamental matrix); the length of a burst is taken to vary
    as much as a geometric one does, which is an upper bound here.
    """
    chain, lost = np.array(transitions), np.array(loss)
    size = len(lost)
    equations = np.vstack([chain.T - np.eye(size), np.ones(size)])
    stationary = np.linalg.lstsq(equations, np.array([0.0] * size + [1.0]), rcond=None)[0]
    share = float(stationary @ lost)
    ends = float((stationary * lost) @ chain @ (1 - lost))  # losses that are the last of their burst
    fundamental = np.linalg.inv(np.eye(size) - chain + np.outer(np.ones(size), stationary))
    centred = lost - share
    variance = 2 * (stationary * centred) @ fundamental @ centred - stationary @ centred**2
    variance += stationary @ (lost * (1 - lost))
    return Expected(share, share / ends, sqrt(variance), share / ends / sqrt(ends))


def loss_and_burst(element: Element, count: int) -> tuple[float, float]:
    """Return the share of datagrams that the element loses, and the mean length of a run of losses."""
    receive, packet = bound(element, 1).receive, datagram()
    lost = np.fromiter((receive(packet, now) == DROPPED for now in range(count)), dtype=bool, count=count)
    bursts = np.count_nonzero(lost[1:] & ~lost[:-1]) + int(lost[0])
    return float(lost.mean()), np.count_nonzero(lost) / bursts


def _rows(model: str, element: Element, expected: Expected, count: int) -> Iterator[Row]:
    share, burst = loss_and_burst(element, count)
    errors = STANDARD_ERRORS / sqrt(count)
    yield Row(model, "loss rate", share, expected.share, errors * expected.share_deviation)
    yield Row(model, "mean burst", burst, expected.burst, errors * expected.burst_deviation)


def bernoulli(count: int) -> Iterator[Row]:
    for p in (0.01, 0.3):
        expected = markov([[1 - p, p], [1 - p, p]], [0, 1])
        assert np.allclose(expected[:3], (p, 1 / (1 - p), sqrt(p * (1 - p))))
        yield from _rows(f"Loss({p})", Loss(p), expected, count)


def correlated(count: int) -> Iterator[Row]:
    for p, correlation in ((0.02, 0.25), (0.1, 0.8)):
        fresh = 1 - correlation
        expected = markov([[1 - fresh * p, fresh * p], [fresh * (1 - p), 1 - fresh * (1 - p)]], [0, 1])
        assert np.allclose(expected[:2], (p, 1 / (fresh * (1 - p))))
        yield from _rows(f"LossCorrelated({p}, {correlation})", LossCorrelated(p, correlation), expected, count)


def capped(count: int) -> Iterator[Row]:
    """30 % in bursts of 3 loses 29.43 %, and 2 % loses 2.00 %: the interop runner's figures."""
    for p, share in ((0.3, 0.2943), (0.02, 0.0200)):
        q = 1 - p
        expected = markov([[q, p, 0, 0], [q, 0, p, 0], [q, 0, 0, p], [1, 0, 0, 0]], [0, 1, 1, 1])
        run = p + p**2 + p**3
        assert np.allclose(expected[:2], (run / (1 + run), run / p))
        assert round(expected.share, 4) == share
        yield from _rows(f"LossCapped({p}, 3)", LossCapped(p, 3), expected, count)


def gilbert_elliott(count: int) -> Iterator[Row]:
    for p, r, loss_bad, loss_good in ((0.01, 0.25, 1.0, 0.0), (0.02, 0.1, 0.7, 0.001)):
        expected = markov([[1 - p, p], [r, 1 - r]], [loss_good, loss_bad])
        bad = p / (p + r)
        assert np.isclose(expected.share, bad * loss_bad + (1 - bad) * loss_good)
        assert loss_bad < 1 or np.isclose(expected.burst, 1 / r)
        element = GilbertElliott(p, r, loss_bad, loss_good)
        yield from _rows(f"GilbertElliott({p}, {r}, {loss_bad}, {loss_good})", element, expected, count)


def four_states(count: int) -> Iterator[Row]:
    for p13, p31, p32, p23, p14 in ((0.01, 0.3, 0.2, 0.6, 0.005), (0.05, 0.5, 0.0, 1.0, 0.0)):
        chain = [[1 - p13 - p14, 0, p13, p14], [0, 1 - p23, p23, 0], [p31, p32, 1 - p31 - p32, 0], [1, 0, 0, 0]]
        expected = markov(chain, [0, 0, 1, 1])
        gap = 1 / (1 + p13 / p31 * (1 + p32 / p23) + p14)  # the share of state 1, by the balance of each state
        assert np.isclose(expected.share, gap * (p13 / p31 + p14))
        arguments = (p13, p31, p32, p23, p14)
        yield from _rows(f"LossMarkov{arguments}", LossMarkov(*arguments), expected, count)


def bit_errors(count: int) -> Iterator[Row]:
    """Of b bits all are right with probability (1 - rate)^b: long datagrams are lost more often."""
    for size in (100, 1200):
        receive, packet = bound(LossBitErrors(1e-5, overhead=28), size).receive, datagram(size)
        share = sum(receive(packet, now) == DROPPED for now in range(count)) / count
        p = 1 - (1 - 1e-5) ** (8 * (size + 28))
        error = STANDARD_ERRORS * sqrt(p * (1 - p) / count)
        yield Row(f"LossBitErrors(1e-5), {size} bytes", "loss rate", share, p, error)


def every(count: int) -> Iterator[Row]:
    share, burst = loss_and_burst(LossEvery(10), count)
    yield Row("LossEvery(10)", "loss rate", share, 0.1, 0)
    yield Row("LossEvery(10)", "mean burst", burst, 1, 0)


VALIDATIONS = (bernoulli, correlated, capped, gilbert_elliott, four_states, bit_errors, every)
