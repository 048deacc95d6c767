"""Small traces of links whose rate varies, made up here from a rule; in mahimahi's terms (see `links.trace`).

They are no recordings: each is a rate that wanders between two bounds in steps of 100 ms, by numbers that are always
the same, and falls silent now and then.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

_STEP: Final = 100  # ms
_BITS: Final = 1500 * 8  # of an opportunity


def _wander(least: int, most: int, seconds: int, *, silent_every: int, silent: int, seed: int) -> tuple[int, ...]:
    """Return the opportunities (ms) of a rate that wanders between two bounds (kbit/s).

    It moves by up to an eighth of their distance each 100 ms, and is silent for `silent` ms each `silent_every` ms. The
    numbers come from a linear congruential generator, which is the same everywhere.
    """
    rate = (least + most) // 2
    times: list[int] = []
    bits = 0
    for now in range(1, seconds * 1000 + 1):
        if now % _STEP == 0:
            seed = (seed * 1_103_515_245 + 12_345) % (1 << 31)
            stride = (most - least) // 8
            rate = min(most, max(least, rate + (seed >> 8) % (2 * stride + 1) - stride))
        if now % silent_every < silent:
            continue
        bits += rate  # of 1 ms
        opportunities, bits = divmod(bits, _BITS)
        times += [now] * opportunities
    return (*times, seconds * 1000)  # which makes the round that long


@cache
def lte() -> tuple[int, ...]:
    """Return 20 s of 2 to 24 Mbit/s, with a handover of 50 ms each 8 s."""
    return _wander(2_000, 24_000, 20, silent_every=8_000, silent=50, seed=1)


@cache
def nr() -> tuple[int, ...]:
    """Return 10 s of 20 to 180 Mbit/s, blocked for 30 ms each 3 s (5G)."""
    return _wander(20_000, 180_000, 10, silent_every=3_000, silent=30, seed=2)


@cache
def leo() -> tuple[int, ...]:
    """Return 30 s of 20 to 80 Mbit/s, with a change of satellite of 100 ms each 15 s."""
    return _wander(20_000, 80_000, 30, silent_every=15_000, silent=100, seed=3)


@cache
def wifi() -> tuple[int, ...]:
    """Return 10 s of 5 to 60 Mbit/s, silent for 20 ms each second."""
    return _wander(5_000, 60_000, 10, silent_every=1_000, silent=20, seed=4)


TRACES: Final[dict[str, Callable[[], tuple[int, ...]]]] = {"lte": lte, "5g": nr, "leo": leo, "wifi": wifi}
