"""What happens in the course of a run: connections migrate, NATs rebind."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from links.units import nanoseconds, size_in_bytes
from quicsim.plan.errors import choose
from quicsim.plan.options import Table, ip_address

Duration = Annotated[int, BeforeValidator(nanoseconds)]  # ns, or text such as "25ms"
IpAddress = Annotated[str, AfterValidator(ip_address)]


class Moment(Table):
    """When something happens: `at` a time, and then `every` so often if that is given; or `after` an event.

    The event is `on` "handshake_confirmed", of the host's first connection, or that it has `sent` so many bytes.
    """

    at: Duration | None = None
    every: Duration | None = None
    on: Literal["handshake_confirmed"] | None = None
    sent: Annotated[int, BeforeValidator(size_in_bytes)] | None = None
    after: Duration = 0

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        given = [name for name in ("at", "on", "sent") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f'must have one of at, on and sent, such as at = "3s"; has {found}')
        if self.every is not None and (self.at is None or not self.every):
            raise ValueError("every: must be a duration above 0, beside at")
        if self.after and self.at is not None:
            raise ValueError("after: goes with on or sent, not with at")
        return self


class MigratePlan(Moment):
    """All connections that `host` has opened move to its address `to`; with `probe` once the path is validated."""

    do: Literal["migrate"]
    host: str
    to: IpAddress
    probe: bool = True


class RebindPlan(Moment):
    """A NAT, named by its `inside`, forgets its mappings; `to` is its outside address from then on.

    The host whose events it follows is the one behind the NAT.
    """

    do: Literal["rebind"]
    nat: str
    to: IpAddress | None = None
    keep_ports: bool = False


ActionPlan = MigratePlan | RebindPlan
_KINDS: Final[dict[str, type[ActionPlan]]] = {"migrate": MigratePlan, "rebind": RebindPlan}


def action_plan(value: object) -> ActionPlan:
    """Return the action that a plan describes as a table with its name under "do". Raises ValueError."""
    if isinstance(value, MigratePlan | RebindPlan):
        return value
    if not isinstance(value, Mapping) or "do" not in value:
        raise ValueError('must be a table such as { at = "3s", do = "rebind", nat = "client" }')
    name = value["do"]
    if name not in _KINDS:
        raise ValueError(choose("action", name, _KINDS))
    return _KINDS[name].model_validate(value)
