"""`quicsim experiments`: measure, judge, report."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from quicsim.commands.exits import BAD_INPUT, FAILED, Failure
from quicsim.experiments import report as reports
from quicsim.experiments import runner
from quicsim.experiments.check import Check
from quicsim.experiments.experiment import Result, UnknownExperiment, experiment, folder, names
from quicsim.outputs import OutputDirectory

_OUT: Final = Path("build", "experiments")
_WIDTH: Final = 150  # columns that the table needs

app = typer.Typer(no_args_is_help=True, help="Experiments in simulation, held against formulas and published figures.")

Names = Annotated[list[str] | None, typer.Argument(help="Experiments.", show_default="all")]
Out = Annotated[Path, typer.Option(help="Directory of the results.")]
Quick = Annotated[bool, typer.Option("--quick", help="Only the quick cases, which `make test` runs.")]


@app.command("list")
def list_experiments() -> None:
    """Name the experiments, with what each claims."""
    for name in names():
        found = experiment(name)
        print(f"{name} ({len(found.cases)} runs): {found.claim}")


@app.command("run")
def run_experiments(
    which: Names = None,
    out: Out = _OUT,
    quick: Quick = False,
    missing: Annotated[bool, typer.Option("--missing", help="Only the cases that there is no result of.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.", show_default="processors")] = os.cpu_count() or 1,
) -> None:
    """Measure, and print the table of checks; fails when one is out of its tolerance."""
    chosen = _chosen(which)
    with _progress() as done:
        try:
            results = runner.run(chosen, out, quick=quick, missing=missing, jobs=jobs, done=done)
        except (RuntimeError, ValueError) as error:
            raise Failure(FAILED, "; ".join([str(error), *getattr(error, "__notes__", [])])) from None
    for name in chosen:
        _draw(OutputDirectory(out / name), name, results[name])
    _judge(_checks(results))


@app.command()
def report(
    which: Names = None,
    out: Out = _OUT,
    quick: Quick = False,
    keep: Annotated[
        Path | None, typer.Option(help="Where RESULTS.md and figures are kept.", show_default="with the experiments")
    ] = None,
) -> None:
    """Print the table of checks from the last runs' results, and keep it, and the figures, with the experiments."""
    results: dict[str, list[Result]] = {}
    not_measured: dict[str, Check] = {}
    for name in _chosen(which):
        try:
            results[name] = runner.load(out, name)
        except ValueError as error:
            raise Failure(BAD_INPUT, str(error)) from None
        if open_cases := runner.missing_cases(name, results[name], quick=quick):
            what = f"not measured: {len(open_cases)} cases, such as {open_cases[0]}"
            not_measured[name] = Check.note(what, "", "run `quicsim experiments run --missing`")
    directory = keep or folder()
    checks = _checks(results)
    for name, note in not_measured.items():
        checks[name].append(note)
    if which is None and not quick:
        with OutputDirectory(directory).text("RESULTS.md") as file:
            file.write("\n".join(reports.markdown(checks)) + "\n")
    for name in results:
        kept = OutputDirectory(directory / name)
        for figure in sorted((out / name).glob("*.png")):
            shutil.copyfile(figure, kept.path / figure.name)
    _judge(checks)
    if not_measured:
        raise Failure(FAILED, "; ".join(f"{name}: {note.what}" for name, note in not_measured.items()))


def _chosen(which: list[str] | None) -> list[str]:
    try:
        for name in which or []:
            experiment(name)
    except UnknownExperiment as error:
        raise Failure(BAD_INPUT, str(error)) from None
    return which or names()


def _checks(results: Mapping[str, list[Result]]) -> dict[str, list[Check]]:
    return {name: experiment(name).judge(rows) if rows else [] for name, rows in results.items()}


def _judge(checks: Mapping[str, list[Check]]) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(reports.table(checks))
    out = [f"{name}: {check.what}" for name, rows in checks.items() for check in rows if check.ok is False]
    judged = sum(check.ok is not None for rows in checks.values() for check in rows)
    print(f"{judged - len(out)} of {judged} checks hold")
    if out:
        raise Failure(FAILED, f"out of tolerance: {'; '.join(out)}")


def _draw(directory: OutputDirectory, name: str, results: list[Result]) -> None:
    from quicsim import plot  # here: it takes a second to import, and most commands draw nothing

    for title, figure in experiment(name).draw(results).items():
        with directory.binary(f"{title}.png") as file:
            plot.save(figure, file.write)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, Mapping[str, Any], float], None]]:
    """Show on a terminal how much is done; elsewhere, say a line for each case."""
    if not sys.stderr.isatty():

        def say(name: str, case: Mapping[str, Any], share: float) -> None:
            print(f"{share:4.0%} {name} {dict(case)}", file=sys.stderr, flush=True)

        yield say
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("experiments", total=1.0)

        def show(name: str, _: Mapping[str, Any], share: float) -> None:
            progress.update(task, completed=share, description=name)

        yield show
