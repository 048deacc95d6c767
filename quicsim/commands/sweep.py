"""`quicsim sweep`: a plan's runs with different values, in parallel."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quicsim.commands.exits import BAD_INPUT, FAILED, INTERRUPTED, Failure
from quicsim.commands.plan import PlanFile, Settings
from quicsim.plan import PlanError, sweep_runs
from quicsim.sweep import Row, Sweep

_SEEDS: Final = re.compile(r"(\d+):(\d+)")


def sweep(
    plan: PlanFile,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the results.", show_default="build/sweeps/PLAN")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.", show_default="processors")] = os.cpu_count() or 1,
    seeds: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Run each combination with these seeds.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Run a plan with every combination of the values in its [sweep]; one row of results.csv and results.json each.

    What was measured stays when it is interrupted, and is not measured again.
    """
    try:
        runs = sweep_runs(plan, settings or [], None if seeds is None else _seeds(seeds))
    except PlanError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    folder = plan.parent.name if plan.stem == "plan" else plan.stem
    sweeping = Sweep(runs, out or Path("build", "sweeps", folder))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task(plan.name, total=len(runs))
            sweeping.measure(jobs, lambda there, total: progress.update(task, completed=there, total=total))
    except KeyboardInterrupt:
        rows = sweeping.save()
        raise Failure(
            INTERRUPTED, f"interrupted: {len(rows)} of {len(runs)} runs are there; go on with the same command"
        ) from None
    except RuntimeError as error:
        sweeping.save()
        raise Failure(FAILED, "; ".join([str(error), *getattr(error, "__notes__", [])])) from None
    rows = sweeping.save()
    failed = [row for row in rows if not row["ok"]]
    print(f"{len(rows)} runs, {len(failed)} failed: {(out or Path('build', 'sweeps', folder)) / 'results.csv'}")
    if failed:
        raise Failure(
            FAILED, f"the first run that failed: {_parameters(failed[0], runs[0].parameters)}: {failed[0]['failure']}"
        )


def _seeds(text: str) -> Iterable[int]:
    match = _SEEDS.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise Failure(BAD_INPUT, f"--seeds {text}: must be the first and the last seed, such as 1:20")
    return range(int(match[1]), int(match[2]) + 1)


def _parameters(row: Row, names: Iterable[str]) -> str:
    return ", ".join(f"{name} = {row[name]}" for name in names)
