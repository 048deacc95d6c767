"""The interop runner's test cases with every other implementation, both ways, over the relay in real time."""

import asyncio
from pathlib import Path

import pytest

from quicsim.interop.cases import BY_ABBREVIATION
from quicsim.interop.endpoints import known_endpoints
from quicsim.interop.real import Pair, run_case
from quicsim.interop.results import Status
from tests.support.endpoints import installed

ENDPOINTS = known_endpoints()

# The fast cases: the others, which move megabytes over 10 Mbit/s, are in docs/INTEROP.md
PAIRS = [
    ("quicsim", "quicsim", "CM"),
    ("quicsim", "quicsim", "6"),
    ("quicsim", "aioquic", "V2"),
    ("aioquic", "quicsim", "V2"),
    ("quicsim", "aioquic", "S"),
    ("quicsim", "qh3", "Z"),
    ("qh3", "quicsim", "3"),
    ("quicsim", "ngtcp2", "E"),
    ("ngtcp2", "quicsim", "R"),
    ("ngtcp2", "quicsim", "CM"),
    ("quicsim", "quic-go", "R"),
    ("quic-go", "quicsim", "S"),
    ("quicsim", "caddy", "3"),
    ("quicsim", "quinn", "M"),
    ("quinn", "quicsim", "R"),
    ("chromium", "quicsim", "3"),
]


@pytest.mark.parametrize(("client", "server", "abbreviation"), PAIRS)
def test_a_case_passes(tmp_path: Path, client: str, server: str, abbreviation: str) -> None:
    for name in (client, server):
        if name != "quicsim":
            installed(name)
    pair = Pair(ENDPOINTS[client], ENDPOINTS[server])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION[abbreviation], tmp_path / "run"))
    assert (result.status, result.reason) == (Status.PASSED, "")


def test_a_pair_without_the_case_says_why(tmp_path: Path) -> None:
    pair = Pair(ENDPOINTS["quicsim"], ENDPOINTS["caddy"])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION["V2"], tmp_path / "run"))
    assert (result.status, result.reason) == (
        Status.UNSUPPORTED,
        "caddy does not have the test case v2 as server",
    )


def test_what_fails_leaves_captures_and_the_programs_words(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text('[endpoints.broken]\nclient = ["sh", "-c", "echo no idea; exit 1"]\n')
    pair = Pair(known_endpoints(file)["broken"], ENDPOINTS["quicsim"])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION["H"], tmp_path / "run"))
    assert (result.status, result.reason) == (Status.FAILED, "the client failed with exit code 1: no idea")
    assert {"client.pcapng", "server.pcapng"} <= {path.name for path in (tmp_path / "run" / "1").iterdir()}


def test_a_program_may_decline_a_test_case(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text("[endpoints.modest]\nserver = \"sh -c 'exit 127'\"\n")
    pair = Pair(ENDPOINTS["quicsim"], known_endpoints(file)["modest"])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION["H"], tmp_path / "run"))
    assert result.status is Status.UNSUPPORTED
    assert "modest says that it does not have the test case" in result.reason
