"""The actions of a plan, put on the clock of a simulation, or behind its events."""

from collections.abc import Callable
from functools import partial

from quicsim.connection import Connection
from quicsim.net import Net
from quicsim.plan import ActionPlan, MigratePlan
from quicsim.simnet import SimNet
from quicsim.simulation import Simulation
from stack.errors import ConnectionClosed


def schedule(action: ActionPlan, simulation: Simulation) -> None:
    """Let a plan's action happen at its time, or after its event."""
    if isinstance(action, MigratePlan):
        host = action.host
        happen = partial(_migrate_all, simulation.net(host), action.to, action.probe)
    else:
        host = simulation.behind(action.nat).name
        happen = partial(simulation.nats[action.nat].rebind, action.to, keep_ports=action.keep_ports)
    if action.at is not None and action.every is not None:
        simulation.every(action.every, happen, start=action.at)
    elif action.at is not None:
        simulation.at(action.at, happen)
    else:
        later = partial(_later, simulation, action.after, happen)
        if action.sent is not None:
            simulation.when_sent(host, action.sent, later)
        else:
            simulation.when_confirmed(host, later)


def _later(simulation: Simulation, after: int, happen: Callable[[], object]) -> None:
    simulation.at(simulation.now + after, happen)


def _migrate_all(net: SimNet, to: str, probe: bool) -> None:
    for connection in net.connections:
        net.spawn(_migrate, connection, to, probe)


async def _migrate(net: Net, connection: Connection, to: str, probe: bool) -> None:
    try:
        await connection.migrate(to, probe=probe)
    except ConnectionClosed:
        return  # it has done its work before the new path was validated
