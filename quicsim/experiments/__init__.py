"""Experiments: what is measured in simulation, held against what follows from a formula or was published."""

from quicsim.experiments.check import Check
from quicsim.experiments.experiment import Case, Experiment, Measured, Result, experiment, names
from quicsim.experiments.plans import run_plan
from quicsim.experiments.recovery_log import RecoveryLog, RecoveryObserver

__all__ = [
    "Case",
    "Check",
    "Experiment",
    "Measured",
    "RecoveryLog",
    "RecoveryObserver",
    "Result",
    "experiment",
    "names",
    "run_plan",
]
