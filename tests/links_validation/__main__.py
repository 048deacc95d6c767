"""`python -m tests.links_validation`: every random link model against its closed form, a million datagrams each."""

import sys
from collections.abc import Iterable, Iterator

from tests.links_validation import changes, delay, loss, queues, rate
from tests.links_validation.report import FULL, Row, table


def _kept(rows: list[Row], new: Iterable[Row]) -> Iterator[Row]:
    """Yield rows as they come, and keep them."""
    for row in new:
        rows.append(row)
        yield row


def main() -> int:
    """Print the table and return 1 if a figure is not as expected."""
    modules = (loss, delay, changes, rate, queues)
    rows: list[Row] = []
    for line in table(_kept(rows, (row for module in modules for each in module.VALIDATIONS for row in each(FULL)))):
        print(line, flush=True)
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} figures as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
