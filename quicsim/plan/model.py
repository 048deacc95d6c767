"""What a plan consists of; unknown keys are refused everywhere."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from links.pipeline import arrange
from links.units import nanoseconds, size_in_bytes
from quicsim.applications import APPLICATIONS, DEFAULT_PORT
from quicsim.plan.elements import ElementPlan, element_plan
from quicsim.plan.errors import choose
from quicsim.plan.options import Table, application_arguments, stack_options
from quicsim.qlog import Profile

Duration = Annotated[int, BeforeValidator(nanoseconds)]  # ns, or text such as "25ms"
Size = Annotated[int, BeforeValidator(size_in_bytes)]  # bytes, or text such as "10MiB"
Elements = list[Annotated[ElementPlan, BeforeValidator(element_plan)]]
StackOptions = Annotated[dict[str, Any], BeforeValidator(stack_options)]


class HostPlan(Table):
    """A host: its IP addresses (by default the next of 10.0.0.1, …), and options of its stack."""

    addresses: list[str] = Field(default_factory=list)
    stack: StackOptions = Field(default_factory=dict)


class LinkPlan(Table):
    """A link between two hosts: elements from the first to the second (`up`) and back (`down`)."""

    between: Annotated[list[str], Field(min_length=2, max_length=2)]
    up: Elements = Field(default_factory=list)
    down: Elements = Field(default_factory=list)

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        for direction, elements in (("up", self.up), ("down", self.down)):
            arrange(direction, [element.build() for element in elements])
        if self.between[0] == self.between[1]:
            raise ValueError("between: must be two different hosts")
        return self


class ApplicationPlan(BaseModel):
    """An application: its kind, its two hosts, when its client starts, and the client's own arguments beside them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: str
    server: str
    client: str
    port: Annotated[int, Field(ge=1, le=65_535)] = DEFAULT_PORT
    start: Duration = 0
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_arguments(cls, data: object) -> object:
        """Move the keys that are arguments of the application's client to `arguments`."""
        if not isinstance(data, Mapping):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields and key != "arguments"}
        kind = own.get("kind")
        if kind is None:
            return own  # which reports that it is missing
        if kind not in APPLICATIONS:
            raise ValueError(choose("kind of application", kind, APPLICATIONS))
        rest = {key: value for key, value in data.items() if key not in own}
        names = [name for name in cls.model_fields if name != "arguments"]
        return own | {"arguments": application_arguments(kind, rest, names)}


class CapturePlan(Table):
    """What to write beside the summary: qlog traces, packet captures, plots."""

    qlog: bool = True
    qlog_profile: Annotated[Profile, Field(strict=False)] = Profile.DUAL
    qlog_limit: Size | None = None  # bytes per trace
    pcapng: bool = True
    plots: bool = True


class Plan(Table):
    """A run: hosts, links between them, applications on them. `duration` limits the virtual time."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    seed: int = 1
    duration: Duration = 600_000_000_000
    stack: StackOptions = Field(default_factory=dict)  # of all hosts
    capture: CapturePlan = CapturePlan()
    hosts: dict[str, HostPlan]
    links: Annotated[list[LinkPlan], Field(min_length=1)]
    applications: Annotated[list[ApplicationPlan], Field(min_length=1)]

    @model_validator(mode="after")
    def _known_hosts(self) -> Self:
        mentioned = [(f"links.{i}.between", host) for i, link in enumerate(self.links) for host in link.between]
        for i, application in enumerate(self.applications):
            mentioned.append((f"applications.{i}.server", application.server))
            mentioned.append((f"applications.{i}.client", application.client))
        for path, host in mentioned:
            if host not in self.hosts:
                raise ValueError(f"{path}: {choose('host', host, self.hosts)}")
        return self

    @model_validator(mode="after")
    def _one_server_per_port(self) -> Self:
        kinds: dict[tuple[str, int], str] = {}
        for i, application in enumerate(self.applications):
            kind = kinds.setdefault((application.server, application.port), application.kind)
            if kind != application.kind:
                place = f"port {application.port} of {application.server}"
                raise ValueError(f"applications.{i}.port: {place} is taken by a {kind!r} server: choose another port")
        return self
