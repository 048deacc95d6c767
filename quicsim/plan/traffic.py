"""Cross traffic as plans write it: `{ kind = "tcp", source = "a", destination = "b", congestion = "cubic" }`."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Self, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from links.units import bits_per_second, nanoseconds, size_in_bytes
from quicsim.plan.actions import Duration
from quicsim.plan.errors import choose
from quicsim.plan.options import Table
from quicsim.simulation import Simulation
from quicsim.traffic import KINDS, Flow

_OWN: Final = ("kind", "source", "destination", "start", "stop", "name")
_UNITS: Final = {
    "rate": bits_per_second,
    "size": size_in_bytes,
    "receive_window": size_in_bytes,
    "on": nanoseconds,
    "off": nanoseconds,
}


class TrafficPlan(BaseModel):
    """A flow of cross traffic: its kind, its two hosts, its time, and what its class of `quicsim.traffic` takes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: str
    source: str
    destination: str
    start: Duration = 0
    stop: Duration | None = None
    name: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_arguments(cls, data: object) -> object:
        """Move the keys that the kind's class takes to `arguments`."""
        if not isinstance(data, Mapping):
            return data
        own = {key: value for key, value in data.items() if key in _OWN}
        kind = own.get("kind")
        if kind is None:
            return own  # which reports that it is missing
        if kind not in KINDS:
            raise ValueError(choose("kind of traffic", kind, KINDS))
        table = _arguments_table(kind)
        rest = {key: value for key, value in data.items() if key not in _OWN}
        for key in rest:
            if key not in table.model_fields:
                raise ValueError(choose("key", key, [*_OWN, *table.model_fields]))
        return own | {"arguments": table.model_validate(rest).model_dump(exclude_unset=True)}

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        """Make one between two hosts that are nobody's, for what only its class knows to be wrong."""
        scratch = Simulation()
        scratch.link("a", "b")
        self._make(scratch, "a", "b")
        return self

    def build(self, simulation: Simulation) -> Flow:
        """Put the flow on the clock of a simulation. Raises ValueError when no link leads there."""
        return self._make(simulation, self.source, self.destination)

    def _make(self, simulation: Simulation, source: str, destination: str) -> Flow:
        times: dict[str, Any] = {"start": self.start, "stop": self.stop, "name": self.name}
        return KINDS[self.kind](simulation, source, destination, **times, **self.arguments)


@cache
def _arguments_table(kind: str) -> type[Table]:
    make = KINDS[kind].__init__
    hints = get_type_hints(make)
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in _OWN:
            hint = Annotated[int, BeforeValidator(_UNITS[name])] if name in _UNITS else hints[name]
            arguments[name] = (hint, ... if parameter.default is inspect.Parameter.empty else parameter.default)
    return create_model(f"{kind.capitalize()}Traffic", __base__=Table, **arguments)
