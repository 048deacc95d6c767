"""`quicsim interop`: the interop runner's test cases."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quicsim.commands.exits import BAD_INPUT, FAILED, INTERRUPTED, OK, Failure, errors
from quicsim.interop.cases import BY_ABBREVIATION, CASES, Case
from quicsim.interop.matrix import Matrix
from quicsim.interop.results import Result
from quicsim.interop.virtual import run_case
from quicsim.outputs import OutputDirectory

_OUTPUT: Final = Console(soft_wrap=True)


def interop(
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Our stack on both sides, in a simulated network and virtual time.")
    ] = False,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="CASE,...", help="Such as H,DC,L1.", show_default="all"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first run of each case.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the results, as JSON.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for the matrix, as a web page.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="File for the matrix, as Markdown.")] = None,
) -> None:
    """Run the QUIC interop runner's test cases, and check what was sent as the runner does.

    Exit codes: 0 nothing failed; 1 something did; 2 wrong arguments; 130 interrupted.
    """
    cases = _cases(case)
    results: list[Result] = []
    interrupted = False
    try:
        results.extend(_shown(len(cases), (run_case(each, seed) for each in cases)))
    except KeyboardInterrupt:
        interrupted = True
    matrix = Matrix(results, f"in virtual time, seed {seed}")
    _OUTPUT.print(matrix.table() if results else "", matrix.summary, sep="\n")
    _write(json_file, matrix.as_json)
    _write(html_file, matrix.as_html)
    _write(markdown_file, matrix.as_markdown)
    if interrupted:
        errors.print("quicsim: interrupted: these are the results so far")
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(FAILED if matrix.failures else OK)


def _cases(given: list[str] | None) -> list[Case]:
    """Return the cases that are asked for, in the order of the table. Raises Failure."""
    if not given:
        return list(CASES)
    wanted = {name.strip() for names in given for name in names.split(",")}
    unknown = wanted - BY_ABBREVIATION.keys()
    if unknown:
        known = ", ".join(BY_ABBREVIATION)
        raise Failure(BAD_INPUT, f"--case {', '.join(sorted(unknown))}: must be of {known}")
    return [each for each in CASES if each.abbreviation in wanted]


def _shown(total: int, results: Iterable[Result]) -> Iterable[Result]:
    """Yield results, and show on a terminal how far they are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            progress.update(task, advance=1, description=f"{result.case.abbreviation} {result.status.value}")
            yield result


def _write(path: Path | None, content: Callable[[], str]) -> None:
    """Write a file that is asked for. Raises OutputError."""
    if path is not None:
        with OutputDirectory(path.parent).text(path.name) as file:
            file.write(content())
