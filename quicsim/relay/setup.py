"""What a plan says to a relay: one of its links, and the NAT before it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import count

from links import Element
from quicsim.plan import NatPlan, Plan, PlanError, RebindPlan, build_network
from quicsim.relay.rebinding import Rebind
from quicsim.simulation import Link, Simulation


@dataclass(frozen=True, slots=True)
class Setup:
    """The link that a relay stands for, made in a simulation by `network`, and the NAT at the clients' end if any."""

    network: Callable[[Simulation], Link]
    seed: int = 1
    nat: NatPlan | None = None
    actions: tuple[RebindPlan, ...] = ()

    @classmethod
    def of_elements(cls, up: Sequence[Element], down: Sequence[Element]) -> "Setup":
        """A link alone."""
        return cls(lambda simulation: simulation.link("client", "server", up, down))

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
    ends, swapped = _find(plan, link)
    client = {ends[0], *(plan.hosts[ends[0]].addresses if ends[0] in plan.hosts else ())}
    client |= {name for name, host in plan.hosts.items() if ends[0] in host.addresses}
    nat = next((each for each in plan.nats if each.inside in client), None)
    actions = [each for each in plan.actions if isinstance(each, RebindPlan) and nat and each.nat == nat.inside]
    if any(each.at is None for each in actions):
        raise PlanError(plan.name, ["actions: a relay, which sees no handshakes, rebinds at times only: at, every"])
    return Setup(partial(_build, plan, ends, swapped), plan.seed, nat, tuple(actions))


def _build(plan: Plan, ends: tuple[str, str], swapped: bool, simulation: Simulation) -> Link:
    """Make a plan's network with its cross traffic, and return the link between `ends`, from the clients'.

    Raises ValueError when it can't be made.
    """
    build_network(plan, simulation)
    for flow in plan.traffic:
        flow.build(simulation)
    a, b = ends
    if not swapped:
        return simulation.links[f"{a}-{b}"]
    link = simulation.links[f"{b}-{a}"]
    return Link(link.b, link.a, link.down, link.up)


def _find(plan: Plan, name: str | None) -> tuple[tuple[str, str], bool]:
    """Return the ends of the link, the clients' first, and whether the plan has them the other way round."""
    known = ["-".join(each.between) for each in plan.links]
    if name is None:
        if len(plan.links) > 1:
            raise PlanError(plan.name, [f"has several links: choose one of {', '.join(known)}"])
        name = known[0]
    for each in plan.links:
        a, b = each.between
        if name == f"{a}-{b}":
            return (a, b), False
        if name == f"{b}-{a}":
            return (b, a), True
    raise PlanError(plan.name, [f"has no link {name!r}: must be one of {', '.join(known)}, or the other way round"])
