"""The compiled stack that `make compiled` makes; tests and the bench only look for it."""

import os
from pathlib import Path
from typing import Final

from quicsim.summary import is_compiled

COMPILED: Final = is_compiled()  # whether it is the one in use, here
_ROOT: Final = Path(__file__).parents[2]
_DIRECTORY: Final = _ROOT / "build" / "compiled"


def is_made() -> bool:
    """Whether it is there, and made from the sources as they are."""
    return (_DIRECTORY / ".ready").exists() and _sources(_DIRECTORY) == _sources(_ROOT)


def environment() -> dict[str, str]:
    """The environment variables of a process that uses it, with everything else from here."""
    return os.environ | {"PYTHONPATH": f"{_DIRECTORY}:{_ROOT}", "PYTHONSAFEPATH": "1"}


def _sources(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.glob("stack/**/*.py")}
