"""Figures of a run. Each function returns a matplotlib Figure, to show in a notebook or to `save` as a PNG."""

from quicsim.plot.congestion import congestion
from quicsim.plot.curves import Curve, Panel, curves
from quicsim.plot.paths import paths
from quicsim.plot.queues import queues
from quicsim.plot.sequence import sequence
from quicsim.plot.style import save
from quicsim.plot.throughput import throughput
from quicsim.plot.topology import topology
from quicsim.plot.validation import path_validation

__all__ = [
    "Curve",
    "Panel",
    "congestion",
    "curves",
    "path_validation",
    "paths",
    "queues",
    "save",
    "sequence",
    "throughput",
    "topology",
]
