"""Reading a plan, with values set from outside."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicsim.plan.data import apply_setting, load_data, parse_data
from quicsim.plan.errors import PlanError, problems
from quicsim.plan.model import Plan


def load_plan(path: Path, settings: Iterable[str] = ()) -> Plan:
    """Return the plan in a TOML file.

    `settings` such as "links.0.down.3.loss=0.02" replace or add values; see `parse_plan`. Raises PlanError.
    """
    return _checked(load_data(path), str(path), settings)


def parse_plan(text: str, source: str = "the plan", settings: Iterable[str] = ()) -> Plan:
    """Return the plan that TOML `text` describes; `source` is what errors call it.

    A setting is a dotted path of keys and list indices, "=", and a TOML value; what is none is taken as text.
    Raises PlanError, which names every problem with the key's path, its value and what would be right.
    """
    return _checked(parse_data(text, source), source, settings)


def checked(data: dict[str, Any], source: str) -> Plan:
    """Return the plan that tables describe. Raises PlanError."""
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        raise PlanError(source, problems(error)) from None


def _checked(data: dict[str, Any], source: str, settings: Iterable[str]) -> Plan:
    for setting in settings:
        apply_setting(data, setting)
    return checked(data, source)
