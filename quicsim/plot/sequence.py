"""Stream data over time: what was sent, sent again, and received."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quicsim.metrics import ConnectionMetrics
from quicsim.plot.style import BLUE, GREEN, VERMILION, legend, panels

_MB: Final = 1e6
_DETAIL: Final = 0.25  # s on each side of the retransmission that is shown in detail


def sequence(sender: ConnectionMetrics, receiver: ConnectionMetrics | None = None, title: str | None = None) -> Figure:
    """Plot the offsets of the STREAM frames that `sender` sent, with retransmissions marked.

    With `receiver`, the other end's metrics, also how many bytes had arrived there. Offsets of several streams
    share the axis. The lower panel shows the surroundings of the retransmission in the middle of them.
    """
    again = np.flatnonzero(sender.sent["retransmitted"])
    figure, axes = panels(title or f"Stream data sent by {sender.host}", 2 if len(again) else 1, share_time=False)
    for one in axes:
        _draw(one, sender, receiver, detailed=one is not axes[0])
        one.set_ylabel("stream offset (MB)")
    axes[0].set_ylim(bottom=0)
    legend(axes[0])
    if len(again):
        _zoom(axes[1], sender, int(again[len(again) // 2]))
    return figure


def _draw(axes: Axes, sender: ConnectionMetrics, receiver: ConnectionMetrics | None, detailed: bool) -> None:
    times, ends = sender.sent.seconds, (sender.sent["offset"] + sender.sent["length"]) / _MB
    again = sender.sent["retransmitted"] > 0
    axes.plot(times[~again], ends[~again], ".", color=BLUE, markersize=4 if detailed else 1.5, label="sent")
    if receiver is not None and len(receiver.received):
        received = receiver.received["new"].cumsum() / _MB
        label = f"received by {receiver.host} (total)"
        axes.step(receiver.received.seconds, received, where="post", color=GREEN, linewidth=1.0, label=label)
    if again.any():
        label = f"sent again ({int(again.sum())} frames)"
        axes.plot(times[again], ends[again], "x", color=VERMILION, markersize=7 if detailed else 5, label=label)


def _zoom(axes: Axes, sender: ConnectionMetrics, index: int) -> None:
    """Show the surroundings of one of the frames that were sent."""
    times = sender.sent.seconds
    shown = np.flatnonzero(np.abs(times - times[index]) <= _DETAIL)
    ends = (sender.sent["offset"] + sender.sent["length"])[shown] / _MB
    margin = max(0.02 * float(np.ptp(ends)), 1e-3)
    axes.set_xlim(float(times[index]) - _DETAIL, float(times[index]) + _DETAIL)
    axes.set_ylim(float(ends.min()) - margin, float(ends.max()) + margin)
    axes.set_title("around one of the retransmissions", fontsize="small", loc="left")
