"""The theory that CUBIC's rate is held against, where it has a closed form."""

import math

import pytest

from experiments.cubic_response.theory import reno, reno_friendly
from stack.congestion.cubic import ALPHA, BETA


@pytest.mark.parametrize("p", [0.02, 0.005, 1e-4])
def test_losses_at_equal_distances_have_a_closed_form(p: float) -> None:
    """A cycle is W + (1 - β²) W² / (2α) datagrams long, so that W solves a quadratic equation."""
    square = (1 - BETA**2) / (2 * ALPHA)
    window = (math.sqrt(1 + 4 * square / p) - 1) / (2 * square)
    rounds = 1 + (1 - BETA) * window / ALPHA + 3 / window
    assert reno_friendly(p, independent=False) == pytest.approx((1 / p - 1) / rounds - 0.5, rel=1e-6)


def test_where_losses_are_rare_it_is_the_constant_of_reno_and_more_by_chance() -> None:
    """By 4 % with α = 9/17 always, by 15 % with α = 1 beyond the window of the last loss."""
    p = 1e-7
    assert reno_friendly(p, independent=False) == pytest.approx(reno(p), rel=0.001)
    assert reno_friendly(p, independent=True, constant_alpha=True) == pytest.approx(1.04 * reno(p), rel=0.01)
    assert reno_friendly(p, independent=True) == pytest.approx(1.153 * reno(p), rel=0.01)
