"""The command line: what runs plans and reports on requirements; the other commands are in `quicsim/commands`."""

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from quicsim.commands import experiments, perf
from quicsim.commands import plan as plans
from quicsim.commands.agent import agent
from quicsim.commands.certs import certs
from quicsim.commands.exits import BAD_INPUT, FAILED, INTERRUPTED, OK, Failure, errors
from quicsim.commands.get import get
from quicsim.commands.interop import interop
from quicsim.commands.ping import ping
from quicsim.commands.relay import relay
from quicsim.commands.serve import serve
from quicsim.commands.sweep import sweep
from quicsim.outputs import OutputDirectory, OutputError
from quicsim.plan import Plan, PlanError, load_plan
from quicsim.requirements import Index, Report, RequirementsError, Results, ids_in_code
from quicsim.requirements.index import INDEXED, MUST, SHOULD
from quicsim.requirements.results import RESULTS
from quicsim.run import Outcome, Run
from quicsim.run import Progress as OnProgress
from quicsim.series import NS_PER_S
from quicsim.summary import is_compiled, program_version, summary_json, summary_table, verification


class _Commands(TyperGroup):
    """Commands whose failures are told in one line, with an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            code, reason = failure.code, str(failure)
        except OutputError as error:
            code, reason = BAD_INPUT, str(error)
        except KeyboardInterrupt:
            code, reason = INTERRUPTED, "interrupted"
        errors.print(f"quicsim: {reason}")
        raise typer.Exit(code)


app = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(serve)
app.command()(get)
app.command()(certs)
app.command()(agent)
app.command()(ping)
app.command()(relay)
app.command()(interop)
app.command()(sweep)
app.add_typer(plans.app, name="plan")
app.add_typer(perf.app, name="perf")
app.add_typer(experiments.app, name="experiments")


def main() -> None:
    """Run the command line of this process."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"quicsim {program_version()}{', compiled stack' if is_compiled() else ''}")
        raise typer.Exit


@app.callback()
def _quicsim(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """QUIC in a simulated network, in virtual time, and between real machines."""


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="The plan, a TOML file.", show_default=False)],
    seed: Annotated[int | None, typer.Option(help="In place of the plan's seed.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for the results.", show_default="build/runs/NAME-SEED"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Stop at the first violation of an invariant of the protocol.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the plan, such as links.0.down.3.loss=0.02."),
    ] = None,
) -> None:
    """Run a plan; write its summary, traces, captures and plots, and print the summary and the run's digest."""
    changes = [*(settings or []), *([] if seed is None else [f"seed={seed}"]), *(["check=true"] if check else [])]
    try:
        loaded = load_plan(plan, changes)
        directory = OutputDirectory(out or Path("build", "runs", f"{loaded.name}-{loaded.seed}"))
        with _progress_bar(loaded) as on_progress:
            outcome = Run(loaded, directory, on_progress).execute()
        with directory.text("summary.json") as file:
            file.write(summary_json(outcome, directory.files))
    except (PlanError, OutputError) as error:
        errors.print(f"quicsim: {error}")
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        errors.print(f"quicsim: the results can't be written: {error}")
        raise typer.Exit(FAILED) from None
    replay = " ".join(["quicsim run", str(plan), *(f"--set {change}" for change in changes)])
    _report(outcome, directory, replay)
    raise typer.Exit(INTERRUPTED if outcome.interrupted else OK if outcome.ok else FAILED)


class Level(StrEnum):
    """What `--require-tested` asks for."""

    MUST = MUST
    SHOULD = SHOULD


@app.command()
def requirements(
    rfc: Annotated[
        list[str] | None, typer.Option(help="Only this RFC, such as 9000; repeatable.", show_default="all")
    ] = None,
    show_open: Annotated[bool, typer.Option("--open", help="List what is neither tested nor excused.")] = False,
    require_tested: Annotated[
        Level | None,
        typer.Option(
            help="Exit with 1 if a sentence of this level or above is open.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="What the last `make test` recorded.")] = RESULTS,
) -> None:
    """Show how many normative sentences of each RFC the code names, tests show to hold, and are excused or open."""
    try:
        rfcs = [_indexed_rfc(name) for name in rfc or INDEXED]
        if not results.exists():
            errors.print(f"quicsim: {results} is missing, so nothing counts as tested; `make test` writes it")
        report = Report(Index.load(), ids_in_code(), Results.load(results))
    except (RequirementsError, OSError, SyntaxError) as error:
        errors.print(f"quicsim: {error}")
        raise typer.Exit(BAD_INPUT) from None
    Console(highlight=False).print(report.table(rfcs))
    for line in report.reasons(rfcs):
        print(line)
    if show_open:
        for line in report.lines(report.open(rfcs, [MUST, SHOULD])):
            print(line)
    if require_tested is not None:
        levels = [MUST] if require_tested is Level.MUST else [MUST, SHOULD]
        missing = report.open(rfcs, levels)
        for line in report.lines(missing):
            errors.print(line)
        if missing:
            errors.print(f"quicsim: {len(missing)} sentences are neither tested nor excused")
            raise typer.Exit(FAILED)


def _indexed_rfc(name: str) -> str:
    rfc = f"rfc{name.lower().removeprefix('rfc')}"
    if rfc not in INDEXED:
        raise RequirementsError(f"--rfc {name}: there is no index of it, only of {', '.join(INDEXED)}")
    return rfc


def _report(outcome: Outcome, directory: OutputDirectory, replay: str) -> None:
    console = Console(highlight=False)
    console.print(summary_table(outcome))
    for line in verification(outcome):
        print(line)
    print(f"results: {directory.path}")
    if outcome.interrupted:
        errors.print(
            f"quicsim: interrupted at {outcome.now / NS_PER_S:.3f} s; the results cover what was done until then"
        )
        return
    if outcome.failure:
        errors.print(f"quicsim: the run failed at {outcome.now / NS_PER_S:.3f} s: {outcome.failure}")
        errors.print(f"replay it with: {replay}")
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
