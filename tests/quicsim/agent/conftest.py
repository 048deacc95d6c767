"""An agent for each test."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.agent_bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    with closing(Bench()) as made:
        yield made
