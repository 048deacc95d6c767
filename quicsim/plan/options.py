"""Tables whose keys come from elsewhere: the stack's options, and applications' arguments."""

import inspect
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, Final, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, create_model, model_validator

from links.units import nanoseconds, size_in_bytes
from quicsim.applications import APPLICATIONS
from quicsim.certificates import test_certificate
from quicsim.plan.errors import choose
from stack.config import Config
from stack.errors import ConfigError
from stack.observer import Address
from stack.tls.config import ClientTls

_SET_BY_THE_RUN: Final = ("net", "host", "trust", "port", "options")  # parameters of an application's client


class Table(BaseModel):
    """A table of a plan, which takes no keys but its own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(choose("key", key, cls.model_fields))
        return data


def stack_options(value: object) -> dict[str, Any]:
    """Check fields of `stack.config.Config`; return those that were given. Raises ValueError."""
    options = _stack_table().model_validate(value).model_dump(exclude_unset=True)
    try:
        Config(tls=ClientTls(trust=test_certificate()), **options)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return options


def application_arguments(kind: str, values: Mapping[str, Any], others: Iterable[str]) -> dict[str, Any]:
    """Check arguments of the client of an application; return those that were given.

    Sizes and durations may have units. `others` are the keys that may stand beside them. Raises ValueError.
    """
    table = _arguments_table(kind)
    for key in values:
        if key not in table.model_fields:
            raise ValueError(choose("key", key, [*others, *table.model_fields]))
    return table.model_validate(dict(values)).model_dump(exclude_unset=True)


@cache
def _stack_table() -> type[Table]:
    hints = get_type_hints(Config)
    options: dict[str, Any] = {
        field.name: (_option_type(hints[field.name]), field.default)
        for field in fields(Config)
        if field.default is not MISSING and field.name not in ("accept", "versions")
    }
    return create_model("StackOptions", __base__=Table, **options)


def _option_type(hint: Any) -> Any:
    """Return how a plan gives an option: an address with its port is text."""
    return Annotated[Address | None, BeforeValidator(_address_and_port)] if hint == Address | None else hint


def ip_address(text: str) -> str:
    """Return an IP address in its usual form; raises ValueError when it is none."""
    return str(ipaddress.ip_address(text))


def _address_and_port(value: object) -> Address:
    address, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = address.startswith("[") and address.endswith("]")
    if not colon or not port.isdecimal() or (":" in address) != bracketed:
        raise ValueError('must be an address and a port, such as "10.0.0.9:4433" or "[2001:db8::9]:4433"')
    return ip_address(address.strip("[]")), int(port)


@cache
def _arguments_table(kind: str) -> type[Table]:
    client = APPLICATIONS[kind].client
    hints = get_type_hints(client)
    arguments: dict[str, Any] = {
        name: (_argument_type(name, hints[name]), parameter.default)
        for name, parameter in inspect.signature(client).parameters.items()
        if name not in _SET_BY_THE_RUN
    }
    return create_model(f"{kind.capitalize()}Arguments", __base__=Table, **arguments)


def _argument_type(name: str, hint: Any) -> Any:
    """Return how a plan gives an argument: sizes and durations may be text with a unit."""
    if hint == int | str:
        return Annotated[int, BeforeValidator(nanoseconds)]
    return Annotated[int, BeforeValidator(size_in_bytes)] if name.endswith("size") else hint
