"""The tables of a plan before they are checked: what it extends, and what is set from outside."""

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from quicsim.plan.elements import toml_value
from quicsim.plan.errors import PlanError

EXTENDS: Final = "extends"
SET: Final = "set"


def load_data(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, with those of the plan that it extends. Raises PlanError."""
    return _loaded(path, ())


def parse_data(text: str, source: str) -> dict[str, Any]:
    """Return the tables that TOML `text` describes; a plan that it extends is found from the current directory."""
    return _extended(_parsed(text, source), source, Path(), ())


def set_value(data: dict[str, Any], path: str, value: object, source: str) -> None:
    """Set the value at a dotted path of keys and list indices; `source` is what errors call the setting."""
    keys = path.strip().split(".")
    if not all(keys):
        raise PlanError(source, ['must be KEY=VALUE, such as "links.0.down.3.loss=0.02"'])
    place: Any = data
    for depth, key in enumerate(keys):
        where = ".".join(keys[:depth]) or "the plan"
        index: Any = key
        if isinstance(place, list):
            if not key.isdecimal() or int(key) >= len(place):
                raise PlanError(
                    source, [f"{where} has {len(place)} items: {key!r} must be the index of one, counted from 0"]
                )
            index = int(key)
        elif not isinstance(place, dict):
            raise PlanError(source, [f"{where} = {place!r} is a value and has no {key!r}"])
        if depth == len(keys) - 1:
            place[index] = value
        else:
            place = place[index] if isinstance(place, list) else place.setdefault(index, {})


def apply_setting(data: dict[str, Any], setting: str) -> None:
    """Apply a setting from the command line: a path, "=", and a TOML value; what is none is taken as text."""
    path, equals, text = setting.partition("=")
    set_value(data, path if equals else "", toml_value(text.strip()), f"--set {setting}")


def _loaded(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise PlanError(str(path), [f"{EXTENDS}: must not lead back to a plan that extends this one"])
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(str(path), [f"can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise PlanError(str(path), [f"must be UTF-8: {error}"]) from None
    return _extended(_parsed(text, str(path)), str(path), path.parent, (*above, path.resolve()))


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(source, [f"isn't TOML: {error}"]) from None


def _extended(data: dict[str, Any], source: str, directory: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Merge the tables with those of the plan that they extend, and then set what they set."""
    base = data.pop(EXTENDS, None)
    settings = data.pop(SET, {})
    if not isinstance(settings, dict):
        raise PlanError(source, [f'{SET}: must be a table such as {{ "links.0.down.3.loss" = 0.02 }}'])
    if base is not None:
        if not isinstance(base, str):
            raise PlanError(source, [f"{EXTENDS} = {base!r}: must be the path of a plan, from this one's directory"])
        try:
            data = _merged(_loaded(directory / base, above), data)
        except PlanError as error:
            raise PlanError(f"{source}: {EXTENDS}", str(error).splitlines()) from None
    for path, value in settings.items():
        set_value(data, path, value, f"{source}: {SET}.{path!r}")
    return data


def _merged(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base's tables with those of the plan: tables key by key, anything else replaced as a whole."""
    merged = deepcopy(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
