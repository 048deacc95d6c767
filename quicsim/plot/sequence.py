"""Stream data over time: what was sent, sent again, and lost."""

from matplotlib.figure import Figure

from quicsim.metrics import ConnectionMetrics
from quicsim.plot.style import BLUE, GREEN, VERMILION, legend, panels

_MB = 1e6


def sequence(sender: ConnectionMetrics, receiver: ConnectionMetrics | None = None, title: str | None = None) -> Figure:
    """Plot the offsets of the STREAM frames that `sender` sent, with retransmissions marked.

    With `receiver`, the other end's metrics, also the bytes that had arrived there. Offsets of several streams
    share the axis.
    """
    figure, (axes,) = panels(title or f"Stream data sent by {sender.host}", 1)
    figure.set_size_inches(figure.get_figwidth(), 4.6)
    times, ends = sender.sent.seconds, (sender.sent["offset"] + sender.sent["length"]) / _MB
    again = sender.sent["retransmitted"] > 0
    axes.plot(times[~again], ends[~again], ".", color=BLUE, markersize=1.5, label="sent")
    if receiver is not None and len(receiver.received):
        axes.step(
            receiver.received.seconds,
            receiver.received["new"].cumsum() / _MB,
            where="post",
            color=GREEN,
            linewidth=1.0,
            label=f"received by {receiver.host} (total)",
        )
    if again.any():
        label = f"sent again ({int(again.sum())} frames)"
        axes.plot(times[again], ends[again], "x", color=VERMILION, markersize=5, label=label)
    axes.set_ylabel("stream offset (MB)")
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure
