"""A relay between real programs: the elements of a link, in real time, on UDP sockets of this machine."""

from quicsim.relay.counters import DirectionCounters, ElementCounters, RelayCounters
from quicsim.relay.relay import CLIENT_SIDE, SERVER_SIDE, Rebind, Relay

__all__ = [
    "CLIENT_SIDE",
    "SERVER_SIDE",
    "DirectionCounters",
    "ElementCounters",
    "Rebind",
    "Relay",
    "RelayCounters",
]
