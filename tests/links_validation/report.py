"""What a validation of a link model consists of, and how it is printed."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

STANDARD_ERRORS = 4  # how far chance may carry a figure
FULL = 1_000_000  # datagrams of a full run


class Row(NamedTuple):
    """One figure of a model: as measured, as its closed form says, and how far they may lie apart."""

    model: str
    quantity: str
    measured: float
    expected: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the figure is as expected."""
        return abs(self.measured - self.expected) <= self.tolerance


Validation = Callable[[int], Iterable[Row]]  # takes how many datagrams to send


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a table of rows."""
    layout = "{:<44} {:<28} {:>12} {:>12} {:>10}  {}"
    yield layout.format("model", "quantity", "measured", "expected", "tolerance", "ok")
    for row in rows:
        figures = (f"{figure:.6g}" for figure in row[2:4])
        yield layout.format(row.model, row.quantity, *figures, f"{row.tolerance:.2g}", "ok" if row.ok else "FAILED")
