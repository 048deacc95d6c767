"""What CUBIC gets in Reno's region, by following its window from loss to loss (README.md has the steps)."""

import math
from random import Random
from typing import Final

from stack.congestion.cubic import ALPHA, BETA, C
from stack.recovery.loss import PACKET_THRESHOLD

RENO: Final = math.sqrt(3 / 2)  # of RFC 9438 section 4.3: datagrams per round trip · √p

_CYCLES: Final = 20_000
_FORGOTTEN: Final = 20  # the first ones


def reno(p: float) -> float:
    """Datagrams per round trip by Reno's formula."""
    return RENO / math.sqrt(p)


def cubic(rtt: float, p: float) -> float:
    """The mean window in datagrams where the cubic curve leads: (C·(3 + β)/(4·(1 − β)))^¼ · (RTT/p)^¾."""
    return float((C * (3 + BETA) / (4 * (1 - BETA))) ** 0.25 * (rtt / p) ** 0.75)


def reno_friendly(p: float, *, independent: bool, constant_alpha: bool = False) -> float:
    """Datagrams per round trip that are not lost, for losses with probability `p` or at equal distances.

    `constant_alpha`: α stays 9/17 when the window is back where it was.
    """
    beyond = ALPHA if constant_alpha else 1.0
    rng = Random(1)
    window = math.sqrt(2 * ALPHA / ((1 - BETA * BETA) * p))
    sent = lost = rounds = 0.0
    for cycle in range(_CYCLES):
        start = BETA * window
        until_lost = rng.expovariate(p) if independent else 1 / p - window
        until_back = (window * window - start * start) / (2 * ALPHA)  # datagrams sent when the window is what it was
        if until_lost <= until_back:
            reached = math.sqrt(start * start + 2 * ALPHA * until_lost)
            growing = (reached - start) / ALPHA
        else:
            reached = math.sqrt(window * window + 2 * beyond * (until_lost - until_back))
            growing = (window - start) / ALPHA + (reached - window) / beyond
        if cycle >= _FORGOTTEN:
            sent += until_lost + reached
            lost += 1 + p * reached if independent else 1
            rounds += 1 + growing + PACKET_THRESHOLD / reached
        window = reached
    return (sent - lost) / rounds - 0.5
