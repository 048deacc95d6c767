"""QUIC in a simulated network, for reproducible experiments in virtual time, and on real UDP sockets."""

from quicsim.certificates import test_certificate
from quicsim.connection import Connection, Listener
from quicsim.engine import DeadlockError
from quicsim.net import Net
from quicsim.real import RealNet
from quicsim.simulation import Link, Simulation
from quicsim.stream import IncompleteReadError, Stream

__all__ = [
    "Connection",
    "DeadlockError",
    "IncompleteReadError",
    "Link",
    "Listener",
    "Net",
    "RealNet",
    "Simulation",
    "Stream",
    "test_certificate",
]
