"""Congestion control over time: window, bytes in flight, round-trip time, losses."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quicsim.metrics import UNKNOWN, ConnectionMetrics
from quicsim.plot.style import BLUE, GREEN, GREY, ORANGE, VERMILION, legend, panels

_KB = 1000
_MS = 1e6


def congestion(metrics: ConnectionMetrics, title: str | None = None) -> Figure:
    """Plot congestion window and bytes in flight, and round-trip times below, with each lost packet marked."""
    figure, (window, rtt) = panels(title or f"Congestion control at {metrics.host}", 2)
    for number in metrics.path_numbers:
        _draw(window, rtt, metrics, number, labelled=number == metrics.path_numbers[0])
    window.set_ylabel("window (kB)")
    window.set_ylim(bottom=0)
    if rtt.lines:
        rtt.set_ylim(bottom=0)
    rtt.set_ylabel("round-trip time (ms)")

    if len(metrics.lost):
        # On the lower edge, where the curves seldom are.
        lost = metrics.lost.seconds
        for axes in (window, rtt):
            axes.plot(
                lost,
                np.zeros(len(lost)),
                "|",
                color=VERMILION,
                markersize=9,
                clip_on=False,
                label=f"packet declared lost ({len(lost)})" if axes is window else None,
            )
    legend(window)
    if rtt.get_legend_handles_labels()[0]:
        legend(rtt)
    return figure


def _draw(window: Axes, rtt: Axes, metrics: ConnectionMetrics, path: int, labelled: bool) -> None:
    """Draw the curves of one path, which have the same colours on all; `labelled` puts them into the legends."""
    recovery = metrics.recovery
    rows = recovery["path"] == path
    times = recovery.seconds[rows]

    def named(label: str) -> str:
        return label if labelled else "_"  # which legends leave out

    flight = recovery["bytes_in_flight"][rows] / _KB
    window.plot(times, flight, color=ORANGE, linewidth=0.6, label=named("bytes in flight"))
    size = recovery["congestion_window"][rows] / _KB
    window.step(times, size, where="post", color=BLUE, linewidth=1.4, label=named("congestion window"))
    threshold = recovery["ssthresh"][rows]
    known = threshold != UNKNOWN
    if known.any():
        values = np.where(known, threshold / _KB, np.nan)
        label = named("slow start threshold")
        window.step(times, values, where="post", color=GREY, linewidth=1.0, linestyle="--", label=label)
    measured = recovery["latest_rtt"][rows] > 0
    if measured.any():
        latest, smoothed = (recovery[name][rows][measured] / _MS for name in ("latest_rtt", "smoothed_rtt"))
        rtt.plot(times[measured], latest, color=GREEN, linewidth=0.6, label=named("latest RTT"))
        rtt.plot(times[measured], smoothed, color=BLUE, linewidth=1.4, label=named("smoothed RTT"))
