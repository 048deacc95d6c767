"""Every scenario here runs over a clean network, and over twenty that lose, reorder and duplicate datagrams."""

import pytest

from tests.support.network import Impairment

SEEDS = 20


@pytest.fixture(params=[None, *range(SEEDS)], ids=lambda seed: "clean" if seed is None else f"seed{seed}")
def impairment(request: pytest.FixtureRequest) -> Impairment:
    """What the network does to datagrams."""
    return Impairment(request.param)
