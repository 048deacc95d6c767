"""`quicsim interop`: the interop runner's test cases."""

import asyncio
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quicsim.commands.exits import BAD_INPUT, FAILED, INTERRUPTED, OK, Failure, errors
from quicsim.interop.cases import BY_ABBREVIATION, CASES, Case
from quicsim.interop.endpoints import OURS, known_endpoints
from quicsim.interop.jobs import Job, run_all
from quicsim.interop.matrix import Matrix, merged, read_results
from quicsim.interop.peers import Peer, Role
from quicsim.interop.real import Pair
from quicsim.interop.results import Result
from quicsim.interop.virtual import run_case
from quicsim.outputs import OutputDirectory
from stack.errors import ConfigError

_OUTPUT: Final = Console(soft_wrap=True)
_ALL: Final = "all"

OnResult = Callable[[Result], object]


def interop(
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Our stack on both sides, in a simulated network and virtual time.")
    ] = False,
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help='Programs as clients; "all" for all.', show_default=OURS),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help='Programs as servers; "all" for all.', show_default=OURS),
    ] = None,
    ours: Annotated[bool, typer.Option("--ours", help="Only pairs that our stack belongs to, on either side.")] = False,
    pair: Annotated[
        list[str] | None,
        typer.Option("--pair", metavar="CLIENT:SERVER,...", help="Further pairs, whoever they are of."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="CASE,...", help="Such as H,DC,L1.", show_default=_ALL),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first run of each case.")] = 1,
    repeat: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each measurement, G and C.", show_default="5, as the interop runner"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cases at once, of those in real time.")] = 1,
    realtime: Annotated[
        bool,
        typer.Option("--realtime", help="Run relays before other programs: exact on a busy machine too; needs root."),
    ] = False,
    endpoints: Annotated[
        Path | None, typer.Option(help="TOML file that names further programs.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for captures, key logs and what programs say.", show_default="none is kept"),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(help="JSON file of an earlier run, to show its results as well.", show_default=False),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the results, as JSON.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for the matrix, as a web page.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="File for the matrix, as Markdown.")] = None,
) -> None:
    """Run the QUIC interop runner's test cases, and check what was sent as the runner does.

    Between programs on this machine in real time, over a relay; or with --virtual in a simulated network. Exit codes: 0
    nothing failed; 1 something did; 2 wrong arguments; 130 interrupted.
    """
    cases = _cases(case)
    if repeat is not None:
        cases = [replace(each, repetitions=repeat) if each.measured else each for each in cases]
    before = [] if earlier is None else _earlier(earlier)
    results: list[Result] = []
    interrupted = False
    try:
        if virtual:
            _refuse_with_virtual(client, server, pair, endpoints)
            note = f"in virtual time, seed {seed}"
            _run_virtual(cases, seed, results)
        else:
            note = f"in real time over loopback, seed {seed}"
            pairs = _pairs(client, server, pair, endpoints, ours)
            work = [(one, each) for one in pairs for each in cases]
            _run_real(work, jobs, out, seed, realtime, results)
    except KeyboardInterrupt:
        interrupted = True
    matrix = Matrix(merged(before, results), note, shlex.join(["quicsim", *sys.argv[1:]]))
    _OUTPUT.print(matrix.table() if matrix.results else "", matrix.summary, sep="\n")
    _write(json_file, matrix.as_json)
    _write(html_file, matrix.as_html)
    _write(markdown_file, matrix.as_markdown)
    if interrupted:
        errors.print("quicsim: interrupted: these are the results so far")
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(FAILED if matrix.failures else OK)


def _earlier(path: Path) -> list[Result]:
    """Read the results of another run. Raises Failure."""
    try:
        return read_results(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(BAD_INPUT, f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise Failure(BAD_INPUT, f"{path}: must be a file that --json has made: {error}") from None


def _run_virtual(cases: list[Case], seed: int, results: list[Result]) -> None:
    with _progress(len(cases), results) as on_result:
        for case in cases:
            on_result(run_case(case, seed))


def _run_real(
    work: list[tuple[Pair, Case]], at_once: int, out: Path | None, seed: int, realtime: bool, results: list[Result]
) -> None:
    with TemporaryDirectory(prefix="quicsim-") as scratch, _progress(len(work), results) as on_result:
        directory = Path(scratch) if out is None else OutputDirectory(out).path.resolve()
        jobs = [
            Job(pair, each, directory / f"{pair.client.name}-{pair.server.name}-{each.name}", seed, realtime)
            for pair, each in work
        ]
        try:
            asyncio.run(run_all(jobs, at_once, on_result, keep=out is not None))
        finally:
            order = {(pair.client.name, pair.server.name, each.name): i for i, (pair, each) in enumerate(work)}
            results.sort(key=lambda result: order[result.client, result.server, result.case.name])


def _refuse_with_virtual(*programs: object) -> None:
    if any(programs):
        raise Failure(
            BAD_INPUT, "--virtual: must be without --client, --server, --pair and --endpoints: it has no programs"
        )


def _pairs(
    clients: list[str] | None, servers: list[str] | None, further: list[str] | None, endpoints: Path | None, ours: bool
) -> list[Pair]:
    """Return the pairs that are asked for. Raises Failure."""
    try:
        known = known_endpoints(endpoints)
    except ConfigError as error:
        raise Failure(BAD_INPUT, str(error)) from None
    pairs = [
        Pair(one, other)
        for one in _peers("--client", clients, Role.CLIENT, known)
        for other in _peers("--server", servers, Role.SERVER, known)
    ]
    if ours:
        pairs = [pair for pair in pairs if OURS in (pair.client.name, pair.server.name)]
    for text in _split(further or []):
        client, _, server = text.partition(":")
        if not {client, server} <= known.keys():
            raise Failure(BAD_INPUT, f"--pair {text}: must be CLIENT:SERVER, both of {', '.join(known)}")
        pairs.append(Pair(known[client], known[server]))
    return list({(pair.client.name, pair.server.name): pair for pair in pairs}.values())


def _split(given: list[str]) -> list[str]:
    return [name.strip() for part in given for name in part.split(",")]


def _peers(option: str, given: list[str] | None, role: Role, known: dict[str, Peer]) -> list[Peer]:
    names = _split(given or [OURS])
    if _ALL in names:
        return [peer for peer in known.values() if role in peer.roles]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Failure(BAD_INPUT, f"{option} {', '.join(unknown)}: must be of {', '.join(known)}, or {_ALL}")
    return [known[name] for name in dict.fromkeys(names)]


def _cases(given: list[str] | None) -> list[Case]:
    """Return the cases that are asked for, in the order of the table. Raises Failure."""
    if not given:
        return list(CASES)
    wanted = set(_split(given))
    unknown = wanted - BY_ABBREVIATION.keys()
    if unknown:
        known = ", ".join(BY_ABBREVIATION)
        raise Failure(BAD_INPUT, f"--case {', '.join(sorted(unknown))}: must be of {known}")
    return [each for each in CASES if each.abbreviation in wanted]


@contextmanager
def _progress(total: int, results: list[Result]) -> Iterator[OnResult]:
    """Give what takes results, and show on a terminal how far they are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def on_result(result: Result) -> None:
            results.append(result)
            what = f"{result.client} {result.server} {result.case.abbreviation} {result.status.value}"
            progress.update(task, advance=1, description=what)

        yield on_result


def _write(path: Path | None, content: Callable[[], str]) -> None:
    """Write a file that is asked for. Raises OutputError."""
    if path is not None:
        with OutputDirectory(path.parent).text(path.name) as file:
            file.write(content())
