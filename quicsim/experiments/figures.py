"""Figures that several experiments draw alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quicsim import plot
from quicsim.experiments.experiment import Result
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def windows(title: str, results: Sequence[Result], every_ms: int, first_ms: int = 0) -> "Figure":
    """Draw `window` and `flight` of each result, in bytes every so many ms, from `first_ms` on."""
    panels = []
    first = first_ms // every_ms
    for row in results:
        kilobytes = {name: [value / 1000 for value in row.measured[name][first:]] for name in ("window", "flight")}
        times = [(first + index) * every_ms / 1000 for index in range(len(kilobytes["window"]))]
        shown = [
            plot.Curve(times, kilobytes["window"], "congestion window", STEPS),
            plot.Curve(times, kilobytes["flight"], "bytes in flight", STEPS),
        ]
        panels.append(plot.Panel(shown, f"{row.case['congestion']} (kB)"))
    return plot.curves(title, panels)
