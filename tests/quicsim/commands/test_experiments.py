"""quicsim experiments: what it keeps, prints and returns."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quicsim.cli import app

NAME = "pto_backoff"  # which takes no time


def quicsim(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["experiments", *map(str, arguments)])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the results of one experiment."""
    out = tmp_path_factory.mktemp("ran")
    told = quicsim("run", NAME, "--out", out, "--jobs", 1)
    assert told.exit_code == 0, told.output
    assert "4 of 4 checks hold" in told.stdout
    return out


@pytest.fixture
def results(ran: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ran, tmp_path / "out"))


def test_the_experiments_are_listed_with_their_claims() -> None:
    listed = quicsim("list").stdout
    assert f"{NAME} (2 runs): A client whose server is silent sends after probe timeouts that double exactly" in listed


def test_a_report_is_made_of_what_was_kept_and_goes_where_the_figures_do(results: Path, tmp_path: Path) -> None:
    told = quicsim("report", NAME, "--out", results, "--keep", tmp_path / "kept")
    assert told.exit_code == 0
    assert "0, 999, 2,997, 6,993, 14,985" in told.stdout
    assert (tmp_path / "kept" / NAME / "sends.png").read_bytes() == (results / NAME / "sends.png").read_bytes()


def test_a_value_out_of_its_tolerance_fails_and_is_named(results: Path, tmp_path: Path) -> None:
    path = results / NAME / "results.json"
    records = json.loads(path.read_text())
    records[0]["measured"]["times"][1] = 1000.0
    path.write_text(json.dumps(records))
    told = quicsim("report", NAME, "--out", results, "--keep", tmp_path / "kept")
    assert told.exit_code == 1
    assert "3 of 4 checks hold" in told.stdout
    assert "out of tolerance: pto_backoff: initial RTT 333 ms: sends at (ms)" in told.stderr


def test_a_case_that_was_not_run_is_told_and_fails(results: Path, tmp_path: Path) -> None:
    path = results / NAME / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    told = quicsim("report", NAME, "--out", results, "--keep", tmp_path / "kept")
    assert told.exit_code == 1
    assert "2 of 2 checks hold" in told.stdout
    assert "pto_backoff: not measured: 1 cases, such as {'initial_rtt_ms': 111}" in told.stderr


def test_results_that_are_none_are_refused(results: Path) -> None:
    (results / NAME / "results.json").write_text("[{}]")
    told = quicsim("report", NAME, "--out", results)
    assert told.exit_code == 2
    assert "results.json: must be what `quicsim experiments run` wrote" in told.stderr


def test_an_unknown_experiment_is_refused_with_a_hint() -> None:
    told = quicsim("run", "pto_backof")
    assert told.exit_code == 2
    assert "unknown experiment 'pto_backof': did you mean 'pto_backoff'?" in told.stderr
