"""What the last run of the whole test suite says about each requirement that a test carries."""

import json
from pathlib import Path
from typing import Final, Self

from quicsim.requirements.index import RequirementsError

RESULTS: Final = Path("build", "requirements.json")
PASSED: Final = "passed"
_OUTCOMES: Final = frozenset({PASSED, "failed", "skipped"})


class Results:
    """For each requirement id, the tests that carry it and how each of them ended."""

    __slots__ = ("tests",)

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, str]] = {}

    def add(self, id: str, test: str, outcome: str) -> None:
        """Note how a phase (setup, call or teardown) of a test ended: `passed`, `failed` or `skipped`.

        A test has passed when all its phases have.
        """
        tests = self.tests.setdefault(id, {})
        if tests.get(test, PASSED) == PASSED:
            tests[test] = outcome

    def green(self, id: str) -> bool:
        """Whether tests carry the id and all of them passed."""
        tests = self.tests.get(id, {})
        return bool(tests) and all(outcome == PASSED for outcome in tests.values())

    def save(self, path: Path) -> None:
        """Write the record as JSON; makes the directory. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"tests": self.tests}, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record; an empty one if there is no file. Raises RequirementsError if it is something else."""
        results = cls()
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            for id, tests in record["tests"].items():
                for test, outcome in tests.items():
                    if outcome not in _OUTCOMES:
                        raise ValueError(outcome)
                    results.add(id, test, outcome)
        except FileNotFoundError:
            return results
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RequirementsError(f"{path}: not a record of test results ({error}); `make test` writes one") from None
        return results
