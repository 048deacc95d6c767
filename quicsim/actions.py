"""The actions of a plan, put on the clock of a simulation."""

from functools import partial

from quicsim.connection import Connection
from quicsim.net import Net
from quicsim.plan import ActionPlan, MigratePlan
from quicsim.simnet import SimNet
from quicsim.simulation import Simulation
from stack.errors import ConnectionClosed


def schedule(action: ActionPlan, simulation: Simulation) -> None:
    """Let a plan's action happen at its time."""
    if isinstance(action, MigratePlan):
        simulation.at(action.at, _migrate_all, simulation.net(action.host), action.to, action.probe)
    else:
        rebind = partial(simulation.nats[action.nat].rebind, action.to, keep_ports=action.keep_ports)
        simulation.at(action.at, rebind)


def _migrate_all(net: SimNet, to: str, probe: bool) -> None:
    for connection in net.connections:
        net.spawn(_migrate, connection, to, probe)


async def _migrate(net: Net, connection: Connection, to: str, probe: bool) -> None:
    try:
        await connection.migrate(to, probe=probe)
    except ConnectionClosed:
        return  # it has done its work before the new path was validated
