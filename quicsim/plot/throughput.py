"""Goodput over time beside the link's capacity, and the queue in front of it."""

from matplotlib.figure import Figure

from quicsim.metrics import ConnectionMetrics, rate_over_time
from quicsim.plot.style import BLUE, GREY, ORANGE, VERMILION, legend, panels
from quicsim.series import Series

_MBPS = 1e6
_KB = 1000
_INTERVALS = 100  # into which the time is divided, about
_STEP = 10_000_000  # ns; intervals are multiples of it


def throughput(
    receiver: ConnectionMetrics,
    queue: Series | None = None,
    *,
    capacity: int | None = None,
    queue_limit: int | None = None,
    title: str | None = None,
) -> Figure:
    """Plot the goodput at `receiver` in intervals of time, and the link's queue below.

    `queue` has a column "queued_bytes"; `capacity` is the link's rate in bit/s and `queue_limit` the queue's size
    in bytes, both drawn as lines.
    """
    figure, axes = panels(title or f"Stream data received by {receiver.host}", 1 if queue is None else 2)
    times, sizes = receiver.received["time"], receiver.received["new"]
    last = int(times[-1]) if len(times) else 0
    interval = max(1, round(last / _INTERVALS / _STEP)) * _STEP
    middles, rates = rate_over_time(times, sizes, interval)
    goodput = axes[0]
    goodput.plot(
        middles, rates / _MBPS, color=BLUE, linewidth=1.4, label=f"goodput, in intervals of {interval // 1_000_000} ms"
    )
    if capacity is not None:
        label = f"link capacity ({capacity / _MBPS:g} Mbit/s)"
        goodput.axhline(capacity / _MBPS, color=GREY, linestyle="--", linewidth=1.2, label=label)
    goodput.set_ylabel("goodput (Mbit/s)")
    goodput.set_ylim(bottom=0)
    legend(goodput)
    if queue is not None:
        length = axes[1]
        length.step(
            queue.seconds, queue["queued_bytes"] / _KB, where="post", color=ORANGE, linewidth=0.7, label="queue"
        )
        if queue_limit is not None:
            label = f"queue limit ({queue_limit / _KB:g} kB)"
            length.axhline(queue_limit / _KB, color=VERMILION, linestyle="--", linewidth=1.2, label=label)
        length.set_ylabel("queue length (kB)")
        length.set_ylim(bottom=0)
        legend(length)
    return figure
