"""Other implementations and tools that tests need."""

import importlib
import os
from types import ModuleType
from typing import NoReturn

import pytest

NO_SKIP = "QUICSIM_NO_SKIP"  # environment variable: "1" makes a missing peer a failure


def require(module: str) -> ModuleType:
    """Return `module` of another implementation; skip the whole test file, naming it, when it is not installed.

    With QUICSIM_NO_SKIP=1 in the environment the file fails instead.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing(module.partition(".")[0], f"can't be imported: {error}")


def missing(peer: str, why: str) -> NoReturn:
    """Skip the whole test file for want of `peer`; with QUICSIM_NO_SKIP=1 fail it."""
    message = f"needs {peer}, which {why}"
    if os.environ.get(NO_SKIP) == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)
