"""Reading a plan, with values set from outside."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicsim.plan.elements import toml_value
from quicsim.plan.errors import PlanError, problems
from quicsim.plan.model import Plan


def load_plan(path: Path, settings: Iterable[str] = ()) -> Plan:
    """Return the plan in a TOML file.

    `settings` such as "links.0.down.3.loss=0.02" replace or add values; see `parse_plan`. Raises PlanError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(str(path), [f"can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise PlanError(str(path), [f"must be UTF-8: {error}"]) from None
    return parse_plan(text, str(path), settings)


def parse_plan(text: str, source: str = "the plan", settings: Iterable[str] = ()) -> Plan:
    """Return the plan that TOML `text` describes; `source` is what errors call it.

    A setting is a dotted path of keys and list indices, "=", and a TOML value; what is none is taken as text.
    Raises PlanError, which names every problem with the key's path, its value and what would be right.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(source, [f"isn't TOML: {error}"]) from None
    for setting in settings:
        _set(data, setting)
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        raise PlanError(source, problems(error)) from None


def _set(data: dict[str, Any], setting: str) -> None:
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise PlanError(f"--set {setting}", ['must be KEY=VALUE, such as "links.0.down.3.loss=0.02"'])
    place: Any = data
    for depth, key in enumerate(keys):
        where = ".".join(keys[:depth]) or "the plan"
        last = depth == len(keys) - 1
        index: Any = key
        if isinstance(place, list):
            if not key.isdecimal() or int(key) >= len(place):
                raise PlanError(
                    f"--set {setting}",
                    [f"{where} has {len(place)} items: {key!r} must be the index of one, counted from 0"],
                )
            index = int(key)
        elif not isinstance(place, dict):
            raise PlanError(f"--set {setting}", [f"{where} = {place!r} is a value and has no {key!r}"])
        if last:
            place[index] = toml_value(text.strip())
        else:
            place = place[index] if isinstance(place, list) else place.setdefault(index, {})
