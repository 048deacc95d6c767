"""Congestion control over time: window, bytes in flight, round-trip time, losses."""

import numpy as np
from matplotlib.figure import Figure

from quicsim.metrics import NS_PER_S, UNKNOWN, ConnectionMetrics
from quicsim.plot.style import BLUE, GREEN, GREY, ORANGE, VERMILION, legend, panels

_KB = 1000
_MS = 1e6


def congestion(metrics: ConnectionMetrics, title: str | None = None) -> Figure:
    """Plot congestion window and bytes in flight, and round-trip times below, with each lost packet marked."""
    figure, (window, rtt) = panels(title or f"Congestion control at {metrics.host}", 2)
    recovery = metrics.recovery
    times = recovery.seconds
    flight = recovery["bytes_in_flight"] / _KB
    window.plot(times, flight, color=ORANGE, linewidth=0.6, label="bytes in flight")
    window.step(
        times, recovery["congestion_window"] / _KB, where="post", color=BLUE, linewidth=1.4, label="congestion window"
    )
    threshold = recovery["ssthresh"]
    known = threshold != UNKNOWN
    if known.any():
        values = np.where(known, threshold / _KB, np.nan)
        window.step(
            times, values, where="post", color=GREY, linewidth=1.0, linestyle="--", label="slow start threshold"
        )
    window.set_ylabel("window (kB)")
    window.set_ylim(bottom=0)

    measured = np.array([]) if metrics.first_rtt_at is None else times >= metrics.first_rtt_at / NS_PER_S
    if measured.any():
        rtt.plot(
            times[measured], recovery["latest_rtt"][measured] / _MS, color=GREEN, linewidth=0.6, label="latest RTT"
        )
        rtt.plot(
            times[measured], recovery["smoothed_rtt"][measured] / _MS, color=BLUE, linewidth=1.4, label="smoothed RTT"
        )
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
    if measured.any():
        legend(rtt)
    return figure
