"""Queues of links: how long they were, how long datagrams waited, how busy the links were, what was dropped."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quicsim.link_metrics import LinkMetrics, QueueMetrics
from quicsim.plot.style import VERMILION, legend, panels, path_colour
from quicsim.series import NS_PER_S

_KB: Final = 1000
_MS: Final = 1e6
_INTERVALS: Final = 100  # into which the time is divided, about
_STEP: Final = 10_000_000  # ns; intervals are multiples of it


def queues(links: Sequence[LinkMetrics], title: str | None = None) -> Figure:
    """Plot the queues of some links (each direction is one), a colour for each, above one another.

    Above, the bytes that wait and when the links dropped something, for whatever reason; then how long each datagram
    waited until its sending began; below, the share of what each could have sent that it has, in intervals of time.
    """
    figure, (length, sojourn, busy) = panels(title or "Queues", 3)
    shown = [queue for link in links for queue in link.queues]
    last = max((int(queue.served["leaves_at"][-1]) for queue in shown if len(queue.served)), default=0)
    interval = max(1, round(last / _INTERVALS / _STEP)) * _STEP
    for number, queue in enumerate(shown):
        _draw(queue, path_colour(number), interval, length, sojourn, busy)
    dropped = np.array(sorted(drop.at for link in links for drop in link.drops), dtype=np.int64) / NS_PER_S
    if len(dropped):
        # Along the upper edge, whatever the lengths are.
        place, height = length.get_xaxis_transform(), np.full(len(dropped), 0.97)
        label = f"dropped ({len(dropped)})"
        length.plot(dropped, height, "|", color=VERMILION, markersize=6, transform=place, label=label)
    length.set_ylabel("queue length (kB)")
    sojourn.set_ylabel("sojourn time (ms)")
    busy.set_ylabel("utilisation (%)")
    busy.set_title(f"in intervals of {interval // 1_000_000} ms", fontsize="small", loc="left")
    busy.set_ylim(0, 105)
    for axes in (length, sojourn):
        axes.set_ylim(bottom=0)
    legend(length, columns=3)
    return figure


def _draw(queue: QueueMetrics, colour: str, interval: int, length: Axes, sojourn: Axes, busy: Axes) -> None:
    over_time = queue.length()
    seconds, queued = over_time.seconds, over_time["queued_bytes"] / _KB
    length.step(seconds, queued, where="post", color=colour, linewidth=0.8, label=queue.name)
    sojourn.plot(queue.served["starts_at"] / NS_PER_S, queue.sojourn / _MS, ".", color=colour, markersize=1.5)
    middles, shares = queue.utilisation(interval)
    busy.plot(middles, 100 * shares, color=colour, linewidth=1.4)
