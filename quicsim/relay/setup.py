"""What a plan says to a relay: one of its links, and the NAT before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import count

from links import Element
from quicsim.plan import NatPlan, Plan, PlanError, RebindPlan
from quicsim.relay.rebinding import Rebind


@dataclass(frozen=True, slots=True)
class Setup:
    """The link that a relay stands for: its elements, the names of its ends, and the NAT at the clients' end if any."""

    up: list[Element]
    down: list[Element]
    ends: tuple[str, str] = ("client", "server")
    seed: int = 1
    nat: NatPlan | None = None
    actions: tuple[RebindPlan, ...] = ()

    def rebinds(self, outside: Sequence[str]) -> Iterator[Rebind]:
        """Yield the plan's rebindings, with the addresses `outside` in place of those that the plan's NAT has."""
        yield from merge(*(self._rebinds(action, outside) for action in self.actions), key=lambda rebind: rebind.at)

    def _rebinds(self, action: RebindPlan, outside: Sequence[str]) -> Iterator[Rebind]:
        address = None
        if action.to is not None and self.nat is not None:
            address = outside[self.nat.outside.index(action.to)]
        if action.at is not None:
            times = (action.at,) if action.every is None else count(action.at, action.every)
            yield from (Rebind(at, address, action.keep_ports) for at in times)


def setup_of(plan: Plan, link: str | None = None) -> Setup:
    """Return what a relay makes of the `link` of a plan, such as "client-server", by default of its only one.

    The clients are at the end that is named first. Raises PlanError.
    """
    up, down, ends = _find(plan, link)
    client = {ends[0], *(plan.hosts[ends[0]].addresses if ends[0] in plan.hosts else ())}
    client |= {name for name, host in plan.hosts.items() if ends[0] in host.addresses}
    nat = next((each for each in plan.nats if each.inside in client), None)
    actions = [each for each in plan.actions if isinstance(each, RebindPlan) and nat and each.nat == nat.inside]
    if any(each.at is None for each in actions):
        raise PlanError(plan.name, ["actions: a relay, which sees no handshakes, rebinds at times only: at, every"])
    return Setup(up, down, ends, plan.seed, nat, tuple(actions))


def _find(plan: Plan, name: str | None) -> tuple[list[Element], list[Element], tuple[str, str]]:
    """Return the elements from the clients and to them, and the names of the ends."""
    known = ["-".join(each.between) for each in plan.links]
    if name is None:
        if len(plan.links) > 1:
            raise PlanError(plan.name, [f"has several links: choose one of {', '.join(known)}"])
        name = known[0]
    for each in plan.links:
        a, b = each.between
        there, back = ([element.build() for element in elements] for elements in (each.up, each.down))
        if name == f"{a}-{b}":
            return there, back, (a, b)
        if name == f"{b}-{a}":
            return back, there, (b, a)
    raise PlanError(plan.name, [f"has no link {name!r}: must be one of {', '.join(known)}, or the other way round"])
