"""Link elements as plans write them: `{ rate = "10Mbps" }`, `{ taildrop = { packets = 25 } }`."""

import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import links
from links import Element, HoldingQueue, Queue, Server, Tap
from quicsim.plan.errors import choose
from quicsim.predicates import parse

# Base classes, and elements that take a function.
_NEEDS_CODE: Final = (Element, Queue, HoldingQueue, Server, Tap)

_PREDICATES: Final = ("predicate", "chosen")  # parameters that text names a predicate for

KINDS: Final[dict[str, type[Element]]] = {
    name.lower(): kind
    for name in links.__all__
    if inspect.isclass(kind := getattr(links, name)) and issubclass(kind, Element) and kind not in _NEEDS_CODE
}


_ELEMENT: Final = re.compile(r"(\w+)\s*(?:=\s*(.+)|\((.*)\))?", re.DOTALL)
_ARGUMENT: Final = re.compile(r"([a-z]\w*)\s*=(?!=)\s*(.+)", re.DOTALL)
_ITEM: Final = re.compile(r"""(?:[^,(){}\[\]"']|\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]|"[^"]*"|'[^']*'|[(){}\[\]"'])+""")


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
            bound = inspect.signature(kind).bind(*self.positional, **self.named)
            for name in _PREDICATES:
                if isinstance(bound.arguments.get(name), str):
                    bound.arguments[name] = parse(bound.arguments[name])  # a new one each time, for some count
            return kind(*bound.args, **bound.kwargs)
        except TypeError as error:
            given = [*self.positional, *([dict(self.named)] if self.named else [])]
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
    if isinstance(argument, Mapping):
        return _plan(name, (), argument)
    return _plan(name, argument if isinstance(argument, list) else [argument], {})


def _plan(name: str, positional: Sequence[object], named: Mapping[str, object]) -> ElementPlan:
    """Return an element's plan, which can be built. Raises ValueError."""
    kind = name.replace("_", "").lower()
    if kind not in KINDS:
        raise ValueError(choose("element", name, KINDS))
    _check_names(kind, named)
    arguments = {name: _content(value) for name, value in named.items()}
    plan = ElementPlan(kind, tuple(map(_content, positional)), arguments)
    plan.build()
    return plan


def parse_elements(text: str) -> list[ElementPlan]:
    """Return the elements that a line of text names, such as "rate=10Mbps, taildrop(packets=25), loss=0.02".

    An element is its kind, then "=" and its first argument, or in parentheses all of them, by place or by name.
    Arguments are TOML values, or else text. Raises ValueError.
    """
    plans = []
    for item in _split(text):
        match = _ELEMENT.fullmatch(item)
        if match is None:
            raise ValueError(f"element {item!r}: must be such as rate=10Mbps or taildrop(packets=25)")
        kind, first, several = match.groups()
        positional: list[object] = []
        named: dict[str, object] = {}
        for argument in [first] if first is not None else _split(several or ""):
            pair = _ARGUMENT.fullmatch(argument)
            if pair is None:
                positional.append(toml_value(argument))
            else:
                named[pair[1]] = toml_value(pair[2])
        try:
            plans.append(_plan(kind, positional, named))
        except ValueError as error:
            raise ValueError(f"element {item!r}: {error}") from None
    return plans


def element_text(element: ElementPlan) -> str:
    """Return an element in short, such as "rate 10Mbps"; long arguments are left out."""
    arguments = [str(value) for value in element.positional]
    arguments += [f"{name}={value}" for name, value in element.named.items()]
    text = " ".join([element.kind, *arguments])
    return text if len(text) <= 30 else f"{element.kind} …"


def toml_value(text: str) -> object:
    """Return what a TOML value stands for; what is none stands for itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _split(text: str) -> list[str]:
    """Split at commas that are in no brackets and no quotes."""
    return [item.strip() for item in _ITEM.findall(text) if item.strip()]


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
