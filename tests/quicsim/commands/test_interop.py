"""`quicsim interop`: arguments, files, exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim.cli import app
from quicsim.commands import interop as command
from quicsim.interop.cases import Case
from quicsim.interop.results import Result, Status


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["interop", *arguments])
    return result.exit_code, result.output


def test_cases_in_virtual_time_write_what_is_asked_for(tmp_path: Path) -> None:
    files = {name: tmp_path / f"matrix.{name}" for name in ("json", "html", "markdown")}
    options = [option for name, path in files.items() for option in (f"--{name}", str(path))]
    code, output = run("--virtual", "--case", "H,S", "--seed", "3", *options)
    assert code == 0
    assert "2 passed" in output
    results = json.loads(files["json"].read_text())["results"]
    assert [(each["case"], each["status"]) for each in results] == [("H", "passed"), ("S", "passed")]
    assert "✓ H S" in files["markdown"].read_text()
    assert "<html" in files["html"].read_text()
    code, output = run("--virtual", "--case", "R", "--earlier", str(files["json"]))
    assert (code, "3 passed" in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--case", "XY"), "--case XY: must be of H, DC"),
        (("--client", "nobody"), "--client nobody: must be of quicsim, aioquic"),
        (("--virtual", "--server", "aioquic"), "--virtual: must be without"),
        (("--pair", "aioquic:all"), "--pair aioquic:all: must be CLIENT:SERVER, both of quicsim, aioquic"),
        (("--virtual", "--pair", "aioquic:qh3"), "--virtual: must be without"),
        (("--endpoints", "/nowhere"), "/nowhere: can't be read"),
        (("--earlier", "/nowhere"), "/nowhere: can't be read"),
    ],
)
def test_wrong_arguments_are_told(arguments: tuple[str, ...], reason: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert reason in output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x", "must be TOML"),
        ("a = 1", "must have tables"),
        ("[endpoints.a]\nx = 1", "must be a table with client, server and protocols"),
        ("[endpoints.a]\nprotocols = ['h3']", "must have a client, a server or both"),
        ("[endpoints.a]\nclient = 'a'\nprotocols = ['h4']", "must be a list of hq-interop and h3"),
        ("[endpoints.a]\nclient = []", "must be a command line"),
    ],
)
def test_a_file_of_endpoints_that_can_not_be_used_is_told(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text(content)
    code, output = run("--endpoints", str(file))
    assert code == 2
    assert reason in output


def test_a_failure_is_told_by_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(case: Case, seed: int) -> Result:
        return Result("quicsim", "quicsim", case, Status.FAILED, "for a reason")

    monkeypatch.setattr(command, "run_case", fail)
    code, output = run("--virtual", "--case", "H")
    assert (code, "for a reason" in output) == (1, True)


def test_ctrl_c_keeps_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(case: Case, seed: int) -> Result:
        if case.abbreviation == "S":
            raise KeyboardInterrupt
        return Result("quicsim", "quicsim", case, Status.PASSED)

    monkeypatch.setattr(command, "run_case", interrupted)
    code, output = run("--virtual", "--case", "H,S", "--json", str(tmp_path / "matrix.json"))
    assert code == 130
    assert "these are the results so far" in output
    assert len(json.loads((tmp_path / "matrix.json").read_text())["results"]) == 1
