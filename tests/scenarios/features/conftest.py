"""Every scenario here runs over a clean network, and over twenty that lose, reorder and duplicate datagrams.

On one of them it runs twice: the same seed gives the same digest of all datagrams.
"""

from collections.abc import Generator
from inspect import signature

import pytest

from tests.support.network import Impairment

SEEDS = 20
REPEATED = 0  # the seed of what runs twice


@pytest.fixture(params=[None, *range(SEEDS)], ids=lambda seed: "clean" if seed is None else f"seed{seed}")
def impairment(request: pytest.FixtureRequest) -> Impairment:
    """What the network does to datagrams."""
    return Impairment(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run the test, and perhaps once more."""
    result = yield
    impairment = pyfuncitem.funcargs.get("impairment")
    if isinstance(impairment, Impairment) and impairment.seed == REPEATED:
        arguments = {name: pyfuncitem.funcargs[name] for name in signature(pyfuncitem.obj).parameters}
        again = impairment.again()
        pyfuncitem.obj(**arguments | {"impairment": again})
        assert again.networks
        assert again.digests == impairment.digests
    return result
