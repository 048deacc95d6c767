"""Link elements as plans write them: `{ rate = "10Mbps" }`, `{ taildrop = { packets = 25 } }`."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import links
from links import Element, HoldingQueue, LossIf, Queue, Server, Tap
from quicsim.plan.errors import choose

# Base classes, and elements that take a function.
_NEEDS_CODE: Final = (Element, Queue, HoldingQueue, Server, LossIf, Tap)

KINDS: Final[dict[str, type[Element]]] = {
    name.lower(): kind
    for name in links.__all__
    if inspect.isclass(kind := getattr(links, name)) and issubclass(kind, Element) and kind not in _NEEDS_CODE
}


@dataclass(frozen=True)
class ElementPlan:
    """One element of a link: its kind, and what its class is called with."""

    kind: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    def build(self) -> Element:
        """Make the element. Raises ValueError for arguments that it can't have."""
        kind = KINDS[self.kind]
        try:
            inspect.signature(kind).bind(*self.positional, **self.named)
            return kind(*self.positional, **self.named)
        except TypeError as error:
            given = dict(self.named) or list(self.positional)
            raise ValueError(f"{self.kind} can't be made of {given}: {error}") from None


def element_plan(value: object) -> ElementPlan:
    """Return the element that a plan describes as a table with one key, its kind.

    The key's value is the element's first argument, a list of its arguments, or a table of them by name. An argument
    `{ file = "path" }` is the text of that file. Raises ValueError.
    """
    if isinstance(value, ElementPlan):
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError('must be a table with one key, such as { delay = "25ms" }')
    ((name, argument),) = value.items()
    kind = name.replace("_", "").lower()
    if kind not in KINDS:
        raise ValueError(choose("element", name, KINDS))
    if isinstance(argument, Mapping):
        _check_names(kind, argument)
        plan = ElementPlan(kind, (), {name: _content(value) for name, value in argument.items()})
    else:
        values = argument if isinstance(argument, list) else [argument]
        plan = ElementPlan(kind, tuple(_content(value) for value in values), {})
    plan.build()
    return plan


def _content(argument: object) -> object:
    """Return the text of a file in place of `{ file = "path" }`."""
    if not isinstance(argument, Mapping) or list(argument) != ["file"]:
        return argument
    try:
        return Path(argument["file"]).read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"file {argument['file']!r} can't be read as text: {error}") from None


def _check_names(kind: str, arguments: Mapping[str, Any]) -> None:
    parameters = inspect.signature(KINDS[kind]).parameters.values()
    keywords = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [parameter.name for parameter in parameters if parameter.kind in keywords]
    known = [name for name in known if not name.startswith("on_")]  # a plan has no functions to call
    for name in arguments:
        if name not in known:
            raise ValueError(choose(f"argument of {kind}", name, known))
