"""The report: one table of all checks, for people and as Markdown."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.table import Table

from quicsim.experiments.check import Check
from quicsim.experiments.experiment import experiment

_VERDICTS: Final[dict[bool | None, str]] = {True: "ok", False: "OUT", None: "–"}
_COLUMNS: Final = ("experiment", "check", "measured", "expected", "tolerance", "verdict", "source")
_SHOWN: Final = 6  # columns on a terminal


def table(checks: Mapping[str, list[Check]]) -> Table:
    """All checks, by experiment."""
    shown = Table(show_edge=False)
    for column in _COLUMNS[:_SHOWN]:
        shown.add_column(column, overflow="fold")
    for name, rows in checks.items():
        for index, check in enumerate(rows):
            style = "red" if check.ok is False else None
            shown.add_row(name if not index else "", *_cells(check)[: _SHOWN - 1], style=style)
    return shown


def markdown(checks: Mapping[str, list[Check]]) -> Iterator[str]:
    """The same as lines of Markdown, a table for each experiment under its claim."""
    yield "# Results of the experiments"
    yield ""
    yield "Written by `quicsim experiments report` after `make experiments`. Times are virtual, and values exact: the"
    yield "same code measures the same on any machine. “–” in place of a verdict: told beside what is checked."
    for name, rows in checks.items():
        yield ""
        yield f"## {name}"
        yield ""
        yield f"{experiment(name).claim} [How to rerun it]({name}/README.md)."
        yield ""
        yield "| " + " | ".join(_COLUMNS[1:]) + " |"
        yield "|" + "---|" * (len(_COLUMNS) - 1)
        for check in rows:
            yield "| " + " | ".join(_cells(check)) + " |"


def _cells(check: Check) -> tuple[str, ...]:
    return check.what, check.measured, check.expected, check.tolerance, _VERDICTS[check.ok], check.source
