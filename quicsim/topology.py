"""Common shapes of networks, made of hosts, routers and links.

    from quicsim import topology

    sim = quicsim.Simulation(seed=7)
    net = topology.dumbbell(
        sim, left=["a", "b"], right=["c", "d"],
        bottleneck=[Rate("10Mbps"), TailDrop("64kB"), Delay("10ms")], access=[Delay("5ms")],
    )
    print(net.bottleneck.up.lost)

Where a function takes `Elements`, these are a list that serves as a pattern for both directions, or a pair of such
lists, one from the first end to the second and one back, such as `profiles.lte()`. Each link gets copies of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from links import Element
from quicsim.simulation import Link, Simulation

if TYPE_CHECKING:
    import networkx

Elements = Sequence[Element] | tuple[Sequence[Element], Sequence[Element]]


@dataclass(frozen=True)
class Dumbbell:
    """The routers' names, and the link between them, of which `up` leads from left to right."""

    left: str
    right: str
    bottleneck: Link


@dataclass(frozen=True)
class ParkingLot:
    """The routers' names in order, and the links between them, of which `up` leads on."""

    routers: tuple[str, ...]
    bottlenecks: tuple[Link, ...]


def point_to_point(sim: Simulation, a: str, b: str, elements: Elements = (), *, cost: int = 1) -> Link:
    """Join two hosts or routers."""
    up, down = _directions(elements)
    return sim.link(a, b, up, down, cost=cost)


def star(sim: Simulation, hosts: Iterable[str], access: Elements = (), *, router: str = "hub") -> list[Link]:
    """Join each host with one router; `access` leads from the host. Returns the links in the hosts' order."""
    sim.router(router)
    return [point_to_point(sim, host, router, access) for host in hosts]


def dumbbell(
    sim: Simulation,
    left: Iterable[str],
    right: Iterable[str],
    bottleneck: Elements,
    access: Elements = (),
    *,
    routers: tuple[str, str] = ("left", "right"),
) -> Dumbbell:
    """Put hosts on both sides of one link that they share; `bottleneck` leads from left to right."""
    one, other = routers
    star(sim, left, access, router=one)
    star(sim, right, access, router=other)
    return Dumbbell(one, other, point_to_point(sim, one, other, bottleneck))


def parking_lot(
    sim: Simulation,
    through: tuple[str, str],
    across: Sequence[tuple[str, str]],
    bottleneck: Elements,
    access: Elements = (),
    *,
    router: str = "r",
) -> ParkingLot:
    """Chain a router more than there are pairs in `across`; what goes `through` takes all links between them.

    The first host of `through` is at the first router and the second at the last; the first host of each pair in
    `across` is in front of its link, and the second behind it. Routers are named `router` and a number from 1. Raises
    ValueError without a pair in `across`.
    """
    if not across:
        raise ValueError("parking lot: must have one pair of hosts across a link at least")
    names = tuple(f"{router}{number}" for number in range(1, len(across) + 2))
    for name in names:
        sim.router(name)
    links = tuple(point_to_point(sim, one, other, bottleneck) for one, other in pairwise(names))
    for host, name in zip(through, (names[0], names[-1]), strict=True):
        point_to_point(sim, host, name, access)
    for (one, other), (near, far) in zip(across, pairwise(names), strict=True):
        point_to_point(sim, one, near, access)
        point_to_point(sim, other, far, access)
    return ParkingLot(names, links)


def multihomed(sim: Simulation, host: str, ways: Mapping[str, Elements], *, router: str) -> dict[str, Link]:
    """Join a host with a router by a link for each of its addresses: `ways` has the elements of each, from the host.

    Returns the links by address. A connection changes from one to another with `Connection.migrate`.
    """
    sim.host(host, ways)
    sim.router(router)
    return {address: point_to_point(sim, address, router, elements) for address, elements in ways.items()}


def graph(sim: Simulation, network: "networkx.Graph[Any]", elements: Elements = ()) -> dict[str, Link]:
    """Make what a networkx graph describes, such as one of its generators returns; return the links by name.

    A node with one edge at most is a host, any other is a router, unless its attribute "kind" says "host" or "router".
    An edge may have attributes "elements" (in place of the parameter, from its first node to its second) and "cost".
    Nodes are named after `str(node)`. Raises ValueError for another kind.
    """
    for node, attributes in network.nodes(data=True):
        kind = attributes.get("kind", "host" if network.degree(node) <= 1 else "router")
        if kind not in ("host", "router"):
            raise ValueError(f"node {node}: its kind must be 'host' or 'router', not {kind!r}")
        if kind == "router":
            sim.router(str(node))
        else:
            sim.host(str(node))
    return {
        f"{one}-{other}": point_to_point(
            sim, str(one), str(other), attributes.get("elements", elements), cost=attributes.get("cost", 1)
        )
        for one, other, attributes in network.edges(data=True)
    }


def _directions(elements: Elements) -> tuple[list[Element], list[Element]]:
    """Return copies for both directions of a link."""
    if isinstance(elements, tuple) and elements and not isinstance(elements[0], Element):
        up, down = elements
    else:
        up = down = elements
    return deepcopy(list(up)), deepcopy(list(down))
