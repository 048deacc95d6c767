"""QUIC in a simulated network: reproducible experiments in virtual time."""

from quicsim.certificates import test_certificate
from quicsim.connection import Connection, Listener
from quicsim.engine import DeadlockError
from quicsim.net import Net
from quicsim.simulation import Link, Simulation
from quicsim.stream import IncompleteReadError, Stream

__all__ = [
    "Connection",
    "DeadlockError",
    "IncompleteReadError",
    "Link",
    "Listener",
    "Net",
    "Simulation",
    "Stream",
    "test_certificate",
]
