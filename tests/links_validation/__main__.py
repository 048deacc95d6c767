"""`python -m tests.links_validation`: every random link model against its closed form, a million datagrams each."""

import sys

from tests.links_validation import changes, delay, loss, queues, rate
from tests.links_validation.report import FULL, table


def main() -> int:
    """Print the table and return 1 if a figure is not as expected."""
    modules = (loss, delay, changes, rate, queues)
    rows = [row for module in modules for validation in module.VALIDATIONS for row in validation(FULL)]
    for line in table(rows):
        print(line)
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} figures as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
