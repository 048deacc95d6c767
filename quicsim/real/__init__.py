"""The net of this machine: the same applications as in simulation, on UDP sockets and the system's clock."""

from quicsim.real.net import RealNet

__all__ = ["RealNet"]
