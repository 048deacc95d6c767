"""What a plan consists of; unknown keys are refused everywhere."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from links.nat import FIRST_PORT, LAST_PORT, Nat, check_rebinding
from links.pipeline import arrange
from links.units import size_in_bytes
from quicsim.applications import APPLICATIONS, DEFAULT_PORT
from quicsim.plan.actions import ActionPlan, Duration, IpAddress, MigratePlan, action_plan
from quicsim.plan.elements import ElementPlan, element_plan
from quicsim.plan.errors import choose
from quicsim.plan.options import Table, application_arguments, stack_options
from quicsim.plan.ranges import sweep_values
from quicsim.plan.traffic import TrafficPlan
from quicsim.qlog import Profile

Size = Annotated[int, BeforeValidator(size_in_bytes)]  # bytes, or text such as "10MiB"
Elements = list[Annotated[ElementPlan, BeforeValidator(element_plan)]]
Actions = list[Annotated[ActionPlan, BeforeValidator(action_plan)]]
StackOptions = Annotated[dict[str, Any], BeforeValidator(stack_options)]


class HostPlan(Table):
    """A host: its IP addresses (by default the next of 10.0.0.1, …), and options of its stack."""

    addresses: list[IpAddress] = Field(default_factory=list)
    stack: StackOptions = Field(default_factory=dict)


class NatPlan(Table):
    """A NAT before a host, one of its addresses, or an address that another NAT has outside; see `links.Nat`.

    `outside` are the addresses that it has.
    """

    inside: str
    outside: list[IpAddress]
    idle_timeout: Duration | None = None
    symmetric: bool = False
    filtering: str | None = None
    refresh_inbound: bool = False
    port_range: Annotated[list[int], Field(min_length=2, max_length=2)] = Field([FIRST_PORT, LAST_PORT])

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        Nat(self.outside, **self.options)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What `links.Nat` is made with beside its addresses."""
        options = self.model_dump(exclude={"inside", "outside"})
        return options | {"port_range": tuple(self.port_range)}


class LinkPlan(Table):
    """A link between two hosts, addresses of theirs, or routers: elements from the first to the second, and back.

    Ways through routers are those with the least sum of `cost`.
    """

    between: Annotated[list[str], Field(min_length=2, max_length=2)]
    up: Elements = Field(default_factory=list)
    down: Elements = Field(default_factory=list)
    cost: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        for direction, elements in (("up", self.up), ("down", self.down)):
            arrange(direction, [element.build() for element in elements])
        if self.between[0] == self.between[1]:
            raise ValueError("between: must be two different hosts or routers")
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
    """What to write beside the summary: qlog traces, packet captures, plots.

    Without `metrics` nothing is known of connections but what applications return, and there are no plots.
    """

    metrics: bool = True
    qlog: bool = True
    qlog_profile: Annotated[Profile, Field(strict=False)] = Profile.DUAL
    qlog_limit: Size | None = None  # bytes per trace
    pcapng: bool = True
    plots: bool = True


class Plan(Table):
    """A run: hosts, routers, links between them and NATs before them, applications on them, and actions at set times.

    `traffic` runs beside the applications until they are done, or without any until it stops itself. `duration` limits
    the virtual time; `check` watches the invariants of `quicsim.invariants`. `sweep` has values by path for
    `quicsim sweep`; a single run takes none of them.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    seed: int = 1
    check: bool = False
    duration: Duration = 600_000_000_000
    stack: StackOptions = Field(default_factory=dict)  # of all hosts
    capture: CapturePlan = CapturePlan()
    hosts: dict[str, HostPlan]
    routers: list[str] = Field(default_factory=list)
    nats: list[NatPlan] = Field(default_factory=list)
    links: Annotated[list[LinkPlan], Field(min_length=1)]
    applications: list[ApplicationPlan] = Field(default_factory=list)
    traffic: list[TrafficPlan] = Field(default_factory=list)
    actions: Actions = Field(default_factory=list)
    sweep: Annotated[dict[str, list[Any]], BeforeValidator(sweep_values)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_hosts(self) -> Self:
        if not self.applications and not self.traffic:
            raise ValueError("applications: is missing: must be one at least, or traffic")
        for i, router in enumerate(self.routers):
            if router in self.hosts or router in self.routers[:i]:
                raise ValueError(f"routers.{i}: must have another name, {router!r} is there already")
        ends = [*self.hosts, *(address for host in self.hosts.values() for address in host.addresses)]
        outside: list[str] = []  # of the NATs so far
        for i, nat in enumerate(self.nats):
            _check(f"nats.{i}.inside", "host or address", nat.inside, [*ends, *outside])
            outside += nat.outside
        for i, link in enumerate(self.links):
            for end in link.between:
                known = [*ends, *self.routers]
                _check(
                    f"links.{i}.between", "host, router or address" if self.routers else "host or address", end, known
                )
        for i, application in enumerate(self.applications):
            _check(f"applications.{i}.server", "host", application.server, self.hosts)
            _check(f"applications.{i}.client", "host", application.client, self.hosts)
        for i, flow in enumerate(self.traffic):
            _check(f"traffic.{i}.source", "host", flow.source, self.hosts)
            _check(f"traffic.{i}.destination", "host or address", flow.destination, ends)
        return self

    @model_validator(mode="after")
    def _possible_actions(self) -> Self:
        nats = {nat.inside: nat for nat in self.nats}
        for i, action in enumerate(self.actions):
            if isinstance(action, MigratePlan):
                _check(f"actions.{i}.host", "host", action.host, self.hosts)
                _check(f"actions.{i}.to", f"address of {action.host}", action.to, self.hosts[action.host].addresses)
            else:
                _check(f"actions.{i}.nat", "NAT", action.nat, nats)
                try:
                    check_rebinding(nats[action.nat].outside, action.to, action.keep_ports)
                except ValueError as error:
                    raise ValueError(f"actions.{i}: {error}") from None
        return self

    @model_validator(mode="after")
    def _own_preferred_addresses(self) -> Self:
        for name in {application.server: None for application in self.applications}:
            options = self.stack | self.hosts[name].stack
            for key in ("preferred_address_v4", "preferred_address_v6"):
                if options.get(key) is not None:
                    place = f"hosts.{name}.stack.{key}"
                    _check(place, f"address of {name}", options[key][0], self.hosts[name].addresses)
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


def _check(place: str, kind: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError when a `name` in the plan is not among the `known` ones."""
    names = list(known)
    if name not in names:
        raise ValueError(f"{place}: {choose(kind, name, names)}")
