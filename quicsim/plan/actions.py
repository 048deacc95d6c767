"""What happens at set times of a run: connections migrate, NATs rebind."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator

from links.units import nanoseconds
from quicsim.plan.errors import choose
from quicsim.plan.options import Table, ip_address

Duration = Annotated[int, BeforeValidator(nanoseconds)]  # ns, or text such as "25ms"
IpAddress = Annotated[str, AfterValidator(ip_address)]


class MigratePlan(Table):
    """All connections that `host` has opened move to its address `to`; with `probe` once the path is validated."""

    do: Literal["migrate"]
    at: Duration
    host: str
    to: IpAddress
    probe: bool = True


class RebindPlan(Table):
    """A NAT, named by its `inside`, forgets its mappings; `to` is its outside address from then on."""

    do: Literal["rebind"]
    at: Duration
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
