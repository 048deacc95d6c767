"""Other implementations and tools that tests need."""

import importlib
import os
from types import ModuleType

import pytest

NO_SKIP = "QUICSIM_NO_SKIP"  # environment variable: "1" makes a missing peer a failure


def require(module: str) -> ModuleType:
    """Return `module` of another implementation; skip the whole test file, naming it, when it is not installed.

    With QUICSIM_NO_SKIP=1 in the environment the file fails instead.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f"needs {module.partition('.')[0]}, which can't be imported: {error}"
        if os.environ.get(NO_SKIP) == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message, allow_module_level=True)
