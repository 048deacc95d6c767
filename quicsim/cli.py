"""The command line: `quicsim run PLAN.toml`."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from quicsim.metrics import NS_PER_S
from quicsim.outputs import OutputDirectory, OutputError
from quicsim.plan import Plan, PlanError, load_plan
from quicsim.run import Outcome, Run
from quicsim.run import Progress as OnProgress
from quicsim.summary import program_version, summary_json, summary_table, verification

OK: Final = 0
FAILED: Final = 1  # the run itself failed
BAD_INPUT: Final = 2  # a plan or an argument can't be used
INTERRUPTED: Final = 130

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    """Run the command line of this process."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"quicsim {program_version()}")
        raise typer.Exit


@app.callback()
def _quicsim(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """QUIC in a simulated network: reproducible experiments in virtual time."""


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="The plan, a TOML file.", show_default=False)],
    seed: Annotated[int | None, typer.Option(help="In place of the plan's seed.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for the results.", show_default="build/runs/NAME-SEED"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the plan, such as links.0.down.3.loss=0.02."),
    ] = None,
) -> None:
    """Run a plan; write its summary, traces, captures and plots, and print the summary and the run's digest."""
    changes = [*(settings or []), *([] if seed is None else [f"seed={seed}"])]
    try:
        loaded = load_plan(plan, changes)
        directory = OutputDirectory(out or Path("build", "runs", f"{loaded.name}-{loaded.seed}"))
        with _progress_bar(loaded) as on_progress:
            outcome = Run(loaded, directory, on_progress).execute()
        with directory.text("summary.json") as file:
            file.write(summary_json(outcome, directory.files))
    except (PlanError, OutputError) as error:
        _errors.print(f"quicsim: {error}")
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        _errors.print(f"quicsim: the results can't be written: {error}")
        raise typer.Exit(FAILED) from None
    replay = " ".join(["quicsim run", str(plan), *(f"--set {change}" for change in changes)])
    _report(outcome, directory, replay)
    raise typer.Exit(INTERRUPTED if outcome.interrupted else OK if outcome.ok else FAILED)


def _report(outcome: Outcome, directory: OutputDirectory, replay: str) -> None:
    console = Console(highlight=False)
    console.print(summary_table(outcome))
    for line in verification(outcome):
        print(line)
    print(f"results: {directory.path}")
    if outcome.interrupted:
        _errors.print(
            f"quicsim: interrupted at {outcome.now / NS_PER_S:.3f} s; the results cover what was done until then"
        )
        return
    if outcome.failure:
        _errors.print(f"quicsim: the run failed at {outcome.now / NS_PER_S:.3f} s: {outcome.failure}")
        _errors.print(f"replay it with: {replay}")
    print(f"digest: {outcome.simulation.digest}")


@contextlib.contextmanager
def _progress_bar(plan: Plan) -> Iterator[OnProgress | None]:
    """Show on a terminal how far the run is; give what is to be told about it, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    total = sum(application.arguments.get("size", 0) for application in plan.applications) or None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[where]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plan.name, total=total, where="")

        def show(now: int, received: int) -> None:
            where = f"{now / NS_PER_S:.2f} s of virtual time, {received:,} bytes"
            progress.update(task, completed=received, where=where)

        yield show
