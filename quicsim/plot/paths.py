"""The paths of a connection: what went over each, with which window and round-trip time."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quicsim.metrics import ConnectionMetrics, rate_over_time
from quicsim.plot.style import GREY, legend, panels, path_colour
from quicsim.series import NS_PER_S
from stack.observer import Address

_MBPS: Final = 1e6
_KB: Final = 1000
_MS: Final = 1e6
_INTERVAL: Final = 50_000_000  # ns


def paths(sender: ConnectionMetrics, title: str | None = None) -> Figure:
    """Plot what `sender` sent on each path, and the path's congestion window and round-trip time.

    Dotted lines mark the times at which the sender began to use another path.
    """
    figure, (rate, window, rtt) = panels(title or f"Paths of the connection at {sender.host}", 3)
    for number in sender.path_numbers:
        _draw(rate, window, rtt, sender, number)
    labels = ("sent (Mbit/s)", "congestion window (kB)", "smoothed RTT (ms)")
    for axes, label in zip((rate, window, rtt), labels, strict=True):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        for change in sender.paths.changes:
            axes.axvline(change.at / NS_PER_S, color=GREY, linestyle=":", linewidth=1.0)
    if rate.lines:
        legend(rate, columns=2)
    return figure


def path_name(metrics: ConnectionMetrics, path: int) -> str:
    """Return the number of a path with the client's address and the server's."""
    local, remote = metrics.paths.addresses.get(path, (("?", 0), ("?", 0)))
    client, server = (local, remote) if metrics.role == "client" else (remote, local)
    return f"path {path}: {_address(client)} – {_address(server)}"


def _address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _draw(rate: Axes, window: Axes, rtt: Axes, sender: ConnectionMetrics, path: int) -> None:
    colour = path_colour(path)
    traffic = sender.paths.traffic
    rows = (traffic["path"] == path) & (traffic["sent"] == 1)
    middles, rates = rate_over_time(traffic["time"][rows], traffic["size"][rows], _INTERVAL)
    if len(rates):
        values = np.where(rates > 0, rates / _MBPS, np.nan)  # gaps where nothing was sent
        rate.plot(middles, values, color=colour, linewidth=1.4, marker=".", markersize=3, label=path_name(sender, path))
    recovery = sender.recovery
    rows = recovery["path"] == path
    times = recovery.seconds[rows]
    window.step(times, recovery["congestion_window"][rows] / _KB, where="post", color=colour, linewidth=1.4)
    measured = recovery["latest_rtt"][rows] > 0
    rtt.plot(times[measured], recovery["smoothed_rtt"][rows][measured] / _MS, color=colour, linewidth=1.4)
