"""The same run everywhere: whatever else is in the network, in the process, and in whichever version of Python."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quicsim
from links import (
    CoDel,
    Corrupt,
    Delay,
    DualPi2,
    Duplicate,
    EcnMarkRandom,
    Element,
    GilbertElliott,
    Jitter,
    Loss,
    LossBitErrors,
    LossCapped,
    LossCorrelated,
    LossMarkov,
    Outages,
    Pie,
    Rate,
    Red,
    Reorder,
    ReorderDepth,
    Slots,
    VariableDelay,
)
from quicsim import Simulation
from quicsim.applications import bulk_client, bulk_server
from quicsim.host import Host
from tests.support import pythons
from tests.support.exact_run import digest, sent_by_alice
from tests.support.peers import missing

KINDS: list[Callable[[], Element]] = [
    lambda: Corrupt(0.1),
    lambda: Corrupt(0.1, "truncate"),
    lambda: Delay("5ms"),
    lambda: Duplicate(0.1),
    lambda: Duplicate(0.1, "3ms"),
    lambda: EcnMarkRandom(0.1),
    lambda: GilbertElliott(0.1, 0.2),
    lambda: Jitter("3ms"),
    lambda: Jitter("3ms", reorder=True),
    lambda: Loss(0.1),
    lambda: Loss(0.2),
    lambda: Loss(0.1).named("radio"),
    lambda: LossBitErrors(1e-6),
    lambda: LossCapped(0.1, 3),
    lambda: LossCorrelated(0.1, 0.5),
    lambda: LossMarkov(0.1),
    lambda: Outages("1s", "1s"),
    lambda: Reorder(0.1, "2ms"),
    lambda: ReorderDepth(0.1, 2),
    lambda: Slots("1ms", "2ms"),
    lambda: VariableDelay("5ms", "1ms"),
]
QUEUES: list[Callable[[], Element]] = [CoDel, Pie, DualPi2, lambda: Red(1000, 9000)]


def draws(sim: Simulation) -> dict[tuple[str, str], list[float]]:
    """The first draws of each element's stream, by direction and identity; of equal ones on a link the first's."""
    first: dict[tuple[str, str], list[float]] = {}
    for link in sim.links.values():
        for way in (link.up, link.down):
            for element in way.elements:
                key = way.name, element.identity
                if key not in first:
                    first[key] = [element.rng.random() for _ in range(4)]
    return first


def network(links: list[tuple[str, str, list[int], list[int]]], queue: int, seed: int = 5) -> Simulation:
    """A simulation with these links: their ends, and the kinds of their elements up and down by number."""
    sim = Simulation(seed)
    for a, b, *ways in links:
        up, down = ([*(KINDS[kind]() for kind in way), Rate("1Mbps"), QUEUES[queue]()] for way in ways)
        sim.link(a, b, up, down)
    return sim


_WAYS = st.lists(st.integers(0, len(KINDS) - 1), max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    up=st.lists(st.integers(0, len(KINDS) - 1), max_size=6, unique=True),
    down=_WAYS,
    others=st.lists(st.tuples(_WAYS, _WAYS), max_size=3),
    before=st.integers(0, 3),
    added=_WAYS,
    queue=st.integers(0, len(QUEUES) - 1),
    shuffle=st.randoms(use_true_random=False),
)
def test_no_other_element_link_or_host_changes_what_an_element_draws(
    up: list[int],
    down: list[int],
    others: list[tuple[list[int], list[int]]],
    before: int,
    added: list[int],
    queue: int,
    shuffle: Random,
) -> None:
    alone = draws(network([("alice", "bob", up, down)], queue))
    # Others on the same link, in any order; and other links and hosts, before and after it.
    more = [*up, *added]
    shuffle.shuffle(more)
    further = [(f"host{n}", "bob" if n % 2 else f"server{n}", *ways) for n, ways in enumerate(others)]
    together = draws(network([*further[:before], ("alice", "bob", more, down[::-1]), *further[before:]], queue))
    assert {key: together[key] for key in alone} == alone


def lossy(sim: Simulation, a: str, b: str) -> None:
    sim.host(a, [f"10.1.0.{len(a)}"])
    sim.link(a, b, [Jitter("2ms"), Loss(0.02)], [Rate("5Mbps"), Delay("10ms"), Loss(0.02)])


def test_another_pair_of_hosts_and_its_traffic_changes_no_byte_and_no_nanosecond() -> None:
    alone, beside = Simulation(3), Simulation(3)
    lossy(alone, "alice", "bob")
    lossy(beside, "carol's", "dave")
    lossy(beside, "alice", "bob")
    beside.spawn("dave", bulk_server, quicsim.test_certificate())
    beside.spawn("carol's", bulk_client, "dave", trust=quicsim.test_certificate(), size=50_000)
    assert isinstance(beside.hosts["dave"], Host)
    assert sent_by_alice(beside) == sent_by_alice(alone)


def digest_of(python: str | Path, hash_seed: str) -> str:
    """The same by another process."""
    root = Path(__file__).parents[2]
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    command = [python, "-m", "tests.support.exact_run"]
    run = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_digest_does_not_depend_on_hash_seeds_nor_on_what_ran_before_in_the_process() -> None:
    first = digest()
    sim = Simulation(12)
    lossy(sim, "alice", "bob")
    sent_by_alice(sim)
    assert digest() == first
    assert digest_of(sys.executable, "1") == digest_of(sys.executable, "2") == first


IN_A_WORKER = """
import os
from pathlib import Path
from random import Random

import pytest

from quicsim import Simulation
from tests.support.exact_run import digest, sent_by_alice

WORKER = os.environ["PYTEST_XDIST_WORKER"]
TURNS = Random(WORKER).sample(range(4), 4)  # each worker has an order of its own


@pytest.mark.parametrize("place", range(4))
def test_turn(place: int) -> None:
    if TURNS[place] == 0:
        (Path(__file__).parent / WORKER).write_text(digest())
    else:
        sim = Simulation(TURNS[place])
        sim.link("alice", "bob")
        sent_by_alice(sim)
"""


def test_a_digest_is_the_same_in_every_worker_of_xdist_whatever_ran_there_before(tmp_path: Path) -> None:
    (tmp_path / "test_in_a_worker.py").write_text(IN_A_WORKER)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "3",
        "--dist",
        "each",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = {path.name: path.read_text() for path in tmp_path.glob("gw*") if path.is_file()}
    assert found == dict.fromkeys(("gw0", "gw1", "gw2"), digest())


def test_a_digest_is_the_same_in_other_versions_of_python() -> None:
    versions = pythons.others()
    if not versions:
        pytest.skip("no other version of Python is installed")
    here = digest()
    for version in versions:
        python = pythons.environment(version)
        if python is None:
            missing(f"the environment of Python {version}", "`make pythons` makes")
        assert digest_of(python, "0") == here, f"Python {version}"
