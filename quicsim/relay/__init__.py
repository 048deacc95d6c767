"""A relay between real programs: the elements of a link, in real time, on UDP sockets of this machine."""

from quicsim.relay.clock import run_first, running_first
from quicsim.relay.counters import DirectionCounters, ElementCounters, RelayCounters
from quicsim.relay.rebinding import Rebind, rebind_every
from quicsim.relay.relay import CLIENT_SIDE, SERVER_SIDE, Relay
from quicsim.relay.setup import Setup, setup_of

__all__ = [
    "CLIENT_SIDE",
    "SERVER_SIDE",
    "DirectionCounters",
    "ElementCounters",
    "Rebind",
    "Relay",
    "RelayCounters",
    "Setup",
    "rebind_every",
    "run_first",
    "running_first",
    "setup_of",
]
