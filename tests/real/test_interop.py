"""The interop runner's test cases with every other implementation, both ways, over the relay in real time."""

import asyncio
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from quicsim.interop.cases import BY_ABBREVIATION
from quicsim.interop.endpoints import known_endpoints
from quicsim.interop.jobs import Job, run_all
from quicsim.interop.peers import Role
from quicsim.interop.real import Pair, run_case
from quicsim.interop.results import Result, Status
from tests.support.endpoints import installed
from tests.support.programs import QUICSIM, ROOT

ENDPOINTS = known_endpoints()

# The fast cases: the others, which move megabytes over 10 Mbit/s, are in docs/INTEROP.md
PAIRS = [
    ("quicsim", "quicsim", "CM"),
    ("quicsim", "quicsim", "6"),
    ("quicsim", "aioquic", "V2"),
    ("aioquic", "quicsim", "V2"),
    ("quicsim", "aioquic", "S"),
    ("quicsim", "qh3", "Z"),
    ("qh3", "quicsim", "M"),
    ("qh3", "quicsim", "Z"),
    ("quicsim", "ngtcp2", "E"),
    ("ngtcp2", "quicsim", "R"),
    ("ngtcp2", "quicsim", "CM"),
    ("quicsim", "quic-go", "R"),
    ("quic-go", "quicsim", "S"),
    ("quicsim", "caddy", "3"),
    ("quicsim", "quinn", "M"),
    ("quinn", "quicsim", "R"),
    ("chromium", "quicsim", "3"),
    # Without ours
    ("ngtcp2", "quic-go", "R"),
    ("aioquic", "ngtcp2", "3"),
]


@pytest.mark.parametrize(("client", "server", "abbreviation"), PAIRS)
def test_a_case_passes(tmp_path: Path, client: str, server: str, abbreviation: str) -> None:
    for name in (client, server):
        if name != "quicsim":
            installed(name)
    pair = Pair(ENDPOINTS[client], ENDPOINTS[server])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION[abbreviation], tmp_path / "run"))
    assert (result.status, result.reason) == (Status.PASSED, "")


def test_a_client_that_only_receives_survives_a_rebinding(tmp_path: Path) -> None:
    """Its acknowledgments under way lead the server to the new address."""
    installed("quinn")
    case = replace(BY_ABBREVIATION["BP"], files=(3 << 20,))
    result = asyncio.run(run_case(Pair(ENDPOINTS["quinn"], ENDPOINTS["quicsim"]), case, tmp_path / "run"))
    assert (result.status, result.reason) == (Status.PASSED, "")


def test_cross_traffic_takes_its_part_of_the_link(tmp_path: Path) -> None:
    case = replace(BY_ABBREVIATION["C"], files=(4 << 20,), repetitions=1)
    result = asyncio.run(run_case(Pair(ENDPOINTS["quicsim"], ENDPOINTS["quicsim"]), case, tmp_path / "run"))
    assert (result.status, result.reason) == (Status.PASSED, "")
    (goodput,) = result.goodputs
    assert 1000 < goodput < 8000  # kbit/s of 9,493 for a transfer alone


def test_cases_run_in_processes_of_their_own_whose_files_need_not_stay(tmp_path: Path) -> None:
    pair = Pair(ENDPOINTS["quicsim"], ENDPOINTS["quicsim"])
    jobs = [Job(pair, BY_ABBREVIATION[name], tmp_path / name, seed=1) for name in ("H", "S")]
    results: list[Result] = []
    asyncio.run(run_all(jobs, 2, results.append, keep=False))
    assert sorted((each.case.abbreviation, each.status) for each in results) == [
        ("H", Status.PASSED),
        ("S", Status.PASSED),
    ]
    assert list(tmp_path.iterdir()) == []


def running_in(directory: Path) -> list[str]:
    """The processes that run below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text())
        except OSError:  # it is gone
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_ctrl_c_ends_all_programs_and_keeps_what_is_there(tmp_path: Path) -> None:
    out, results = tmp_path / "out", tmp_path / "results.json"
    command = [*QUICSIM, "interop", "--case", "H,B", "--out", out, "--json", results]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, cwd=ROOT, start_new_session=True, **pipes)
    transfer = out / "quicsim-quicsim-blackhole"
    deadline = time.monotonic() + 60
    while len(running_in(transfer)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "quicsim: interrupted: these are the results so far")
    assert running_in(out) == []
    assert '"passed"' in results.read_text()


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


def test_what_is_known_of_a_failure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text('[endpoints.broken]\nclient = ["sh", "-c", "echo no idea; exit 1"]\n')
    broken = known_endpoints(file)["broken"]
    monkeypatch.setattr(type(broken), "limits", {Role.CLIENT: {"H": "it has no idea"}})
    result = asyncio.run(run_case(Pair(broken, ENDPOINTS["quicsim"]), BY_ABBREVIATION["H"], tmp_path / "run"))
    assert result.reason == "the client failed with exit code 1: no idea; known: it has no idea"


def test_a_program_may_decline_a_test_case(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text("[endpoints.modest]\nserver = \"sh -c 'exit 127'\"\n")
    pair = Pair(ENDPOINTS["quicsim"], known_endpoints(file)["modest"])
    result = asyncio.run(run_case(pair, BY_ABBREVIATION["H"], tmp_path / "run"))
    assert result.status is Status.UNSUPPORTED
    assert "modest says that it does not have the test case" in result.reason
