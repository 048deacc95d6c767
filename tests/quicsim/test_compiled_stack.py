"""The compiled stack does what the interpreted one does. `make test-compiled` runs the stack's own tests on it."""

import json
import subprocess
import sys

import pytest

from tests.support import compiled
from tests.support.peers import missing
from tests.support.random_networks import transfer

SEEDS = 30


@pytest.mark.skipif(compiled.COMPILED, reason="nothing to compare with where the stack in use is the compiled one")
def test_transfers_over_random_networks_have_the_same_digests() -> None:
    if not compiled.is_made():
        missing("the compiled stack", "`make compiled` makes")
    command = [sys.executable, "-m", "tests.support.random_networks", "0", str(SEEDS)]
    run = subprocess.run(command, env=compiled.environment(), capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"compiled": True, "transfers": [[*transfer(seed)] for seed in range(SEEDS)]}
