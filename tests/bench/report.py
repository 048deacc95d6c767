"""Rows of the comparison: measured, printed and kept."""

import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol


class Named(Protocol):
    """A stack under test, which the cases know how to use."""

    name: str


class Case(NamedTuple):
    """One figure of a stack; `lower_is_better` tells how to turn two of them into a ratio.

    A short case takes more `rounds` for each of the others'.
    """

    name: str
    unit: str
    lower_is_better: bool
    measure: Callable[[Any], float]
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one case, of the ratio too; that is above 1 where ours is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float


def compare(case: Case, ours: Named, peer: Named, rounds: int) -> Row:
    """Measure both stacks in turn, in so many rounds, so that a change of the machine's speed hits both."""
    figures: dict[str, list[float]] = {ours.name: [], peer.name: []}
    for _ in range(rounds * case.rounds):
        for stack in (ours, peer):
            gc.collect()
            figures[stack.name].append(case.measure(stack))
    ratio = median(one / other for one, other in zip(figures[ours.name], figures[peer.name], strict=True))
    our_median, peer_median = median(figures[ours.name]), median(figures[peer.name])
    better = 1 / ratio if case.lower_is_better else ratio
    return Row(case.name, round(our_median, 2), round(peer_median, 2), peer.name, case.unit, round(better, 2))


def limited(name: str, unit: str, measure: Callable[[], float], limit: float) -> Row:
    """Measure a figure of ours that is to stay below a limit."""
    gc.collect()
    ours = measure()
    return Row(name, round(ours, 2), limit, "limit", unit, round(limit / ours, 2))


def table(rows: list[Row], ours_name: str) -> str:
    """Return the rows as text, one line each below a heading."""
    cells = [("case", ours_name, "peer", "", "unit", "ratio")]
    cells += [
        (row.name, f"{row.ours:.1f}", f"{row.peer:.1f}", row.peer_name, row.unit, f"{row.ratio:.2f}") for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    left = (0, 3, 4)  # columns of words
    lines = (
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def save(rows: list[Row], path: Path) -> None:
    """Write the rows as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
