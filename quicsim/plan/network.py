"""The network that a plan describes, in a simulation."""

from quicsim.plan.model import Plan
from quicsim.simulation import Simulation


def build_network(plan: Plan, simulation: Simulation) -> None:
    """Make a plan's hosts, routers, NATs and links. Raises ValueError when they can't be."""
    for name, host in plan.hosts.items():
        simulation.host(name, host.addresses)
    for router in plan.routers:
        simulation.router(router)
    for nat in plan.nats:
        simulation.nat(nat.inside, nat.outside, **nat.options)
    for link in plan.links:
        up, down = ([element.build() for element in elements] for elements in (link.up, link.down))
        a, b = link.between
        simulation.link(a, b, up, down, cost=link.cost)
