"""What must hold in every run, whatever the network does: watched by observers that keep books of their own."""

from quicsim.invariants.checker import Checker
from quicsim.invariants.violation import InvariantViolation

__all__ = ["Checker", "InvariantViolation"]
