"""docs/THREATS.md stays true: it names every limit there is, and every test that it names exists."""

import re
from pathlib import Path

from stack import limits

ROOT = Path(__file__).parents[3]
NAMED = re.findall(r"`(\w+)`", (ROOT / "docs" / "THREATS.md").read_text())


def test_every_limit_has_its_row() -> None:
    constants = {name for name in vars(limits) if name.isupper()}
    named = {name for name in NAMED if name.isupper()}
    assert named == constants, "give new limits a row in docs/THREATS.md, with a test that attacks them"


def test_every_test_that_is_named_exists() -> None:
    files = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests = {name for text in files for name in re.findall(r"def (test_\w+)", text)}
    named = {name for name in NAMED if name.startswith("test_")}
    assert len(named) > 40
    assert named <= tests
