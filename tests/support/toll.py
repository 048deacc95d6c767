"""What an attack costs its target, counted so that no clock and no machine matters: bytes held, lines of Python run."""

import sys
from collections.abc import Callable
from gc import get_referents
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import pytest

from quicsim.observers import Silent
from stack.config import Config
from stack.endpoint import Endpoint
from tests.support.compiled import COMPILED

# What is not the endpoint's own: code, the configuration, and what tests record
_FOREIGN: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, Config, Silent)


def held(endpoint: Endpoint) -> int:
    """Bytes of all objects that can be reached from an endpoint: its connections, tables, queues and buffers."""
    seen: set[int] = set()
    waiting: list[object] = [endpoint]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _FOREIGN):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting += get_referents(each)
    return total


def lines_run(action: Callable[[], None]) -> int:
    """Run `action` and return how many lines of Python that took, each turn of a loop counted.

    The test is skipped where the stack is compiled.
    """
    if COMPILED:
        pytest.skip("a compiled stack has no lines of Python to count")
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count
