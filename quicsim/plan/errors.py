"""What is wrong with a plan, said so that it can be put right."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

_SUBJECT: Final = re.compile(r"^\w+ should ")  # how pydantic's messages begin


class PlanError(Exception):
    """A plan can't be used. `problems` are lines that say where, what and what would be right."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


def choose(kind: str, value: object, known: Iterable[str]) -> str:
    """Return what to say about a name that is not among the `known` ones; `kind` is what it names."""
    names = list(known)
    close = get_close_matches(str(value), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {value!r}: {hint}must be one of {', '.join(names) or '(none)'}"


def problems(error: ValidationError) -> list[str]:
    """Return a line for each problem that pydantic found: the key's path, its value, what would be right."""
    return [_line(details["loc"], details) for details in error.errors(include_url=False)]


def _line(location: tuple[int | str, ...], details: Any) -> str:
    message = _SUBJECT.sub("must ", details["msg"].removeprefix("Value error, "))
    if not location:
        return message
    path = ".".join(str(part) for part in location)
    if details["type"] == "missing":
        return f"{path}: is missing"
    value = details["input"]
    if isinstance(value, dict | list):
        return f"{path}: {message}"
    return f"{path} = {_toml(value)}: {message}"


def _toml(value: object) -> str:
    """Return a value about as TOML has it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
