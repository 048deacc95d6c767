"""How a path was validated: the messages between the two ends, and the limit until then."""

from typing import Any, Final, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from quicsim.metrics import ConnectionMetrics
from quicsim.path_metrics import CHALLENGE, RESPONSE, Move, PathFrame
from quicsim.plot.paths import path_name
from quicsim.plot.style import GREEN, GREY, VERMILION, legend, panels, path_colour
from stack.path.path import AMPLIFICATION_FACTOR

_MS: Final = 1e6
_SERVER, _CLIENT = 0.0, 1.0  # heights of the two ends
_TICKS: Final = 0.1  # how far from an end its packets are marked
_MARGIN: Final = 10_000_000  # ns shown at least before and behind the exchange
_ARROW: Final[dict[str, Any]] = {"arrowstyle": "->", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
_STYLES: Final[dict[str, Literal["-", "--"]]] = {CHALLENGE: "-", RESPONSE: "--"}
_VALIDATED: Final = ("probing_successful", "migration_complete")


class _Message(NamedTuple):
    """A frame that one end sent, and as the other received it, if it did; `path` is the server's number."""

    sent: PathFrame
    received: PathFrame | None
    from_server: bool
    path: int | None


def path_validation(
    client: ConnectionMetrics, server: ConnectionMetrics, change: Move, title: str | None = None
) -> Figure:
    """Plot how `server` changed to another path: `change` is one of its `paths.changes`.

    Above, the challenges and responses between the ends, and when they sent packets, in the colours of the server's
    paths. Below, what the server sent on the new path beside the limit of anti-amplification, which holds until the
    client's address is validated: by the first response, whereas the path takes one to a challenge of full size.
    """
    figure, (messages, credit) = panels(title or f"Validation of {path_name(server, change.path)}", 2)
    exchange = _exchange(client, server)
    done = _validated_at(server, change)
    start, end = _window(exchange, change, done)
    for message in exchange:
        if start <= message.sent.at <= end:
            _draw_message(messages, message, change.at)
    _draw_packets(messages, server, _SERVER - _TICKS, start, end, change.at)
    _draw_packets(messages, client, _CLIENT + _TICKS, start, end, change.at)
    messages.set_xlim((start - change.at) / _MS, (end - change.at) / _MS)
    messages.set_ylim(_SERVER - 2 * _TICKS, _CLIENT + 2 * _TICKS)
    messages.set_yticks([_SERVER, _CLIENT], [server.host, client.host])
    legend(messages, columns=3, handles=_keys(server, exchange, start, end))
    _draw_credit(credit, server, change, _first_response_at(exchange, change), done, end)
    credit.set_xlabel("time since the server uses the path (ms)")
    return figure


def _validated_at(server: ConnectionMetrics, change: Move) -> int | None:
    """When the new path was validated: before the change or behind it, the next time to it."""
    states = [move for move in server.paths.moves if move.path == change.path and move.state in _VALIDATED]
    return min((move.at for move in states), key=lambda at: abs(at - change.at), default=None)


def _first_response_at(exchange: list[_Message], change: Move) -> int | None:
    """When the server first had an answer to a challenge on the new path."""
    challenges = {message.sent.data for message in exchange if message.from_server and message.path == change.path}
    answers = [message.received for message in exchange if not message.from_server and message.sent.kind == RESPONSE]
    return min((frame.at for frame in answers if frame is not None and frame.data in challenges), default=None)


def _window(exchange: list[_Message], change: Move, done: int | None) -> tuple[int, int]:
    """Return the times to show: all of the validation, and something on either side."""
    times = [change.at] if done is None else [change.at, done]
    for message in exchange:
        if message.path == change.path and (done is None or message.sent.at <= max(times)):
            times += [frame.at for frame in (message.sent, message.received) if frame is not None]
    margin = max(_MARGIN, (max(times) - min(times)) // 5)
    return min(times) - margin, max(times) + margin


def _exchange(client: ConnectionMetrics, server: ConnectionMetrics) -> list[_Message]:
    """Return all challenges and responses; each has data of its own, by which its arrival is found."""
    exchange = []
    for sender, receiver in ((client, server), (server, client)):
        arrivals: dict[tuple[str, bytes], PathFrame] = {}
        for frame in receiver.paths.frames:
            if not frame.sent:
                arrivals.setdefault((frame.kind, frame.data), frame)
        for frame in sender.paths.frames:
            if frame.sent:
                received = arrivals.get((frame.kind, frame.data))
                at_server = frame if sender is server else received
                exchange.append(_Message(frame, received, sender is server, at_server.path if at_server else None))
    return exchange


def _draw_message(axes: Axes, message: _Message, zero: int) -> None:
    """Draw an arrow from one end to the other, or a line to a cross on the way when it got lost."""
    start, end = (_SERVER, _CLIENT) if message.from_server else (_CLIENT, _SERVER)
    colour = GREY if message.path is None else path_colour(message.path)
    sent_at = (message.sent.at - zero) / _MS
    style = _STYLES[message.sent.kind]
    if message.received is None:
        axes.plot([sent_at, sent_at], [start, (start + end) / 2], color=colour, linestyle=style, linewidth=1.4)
        axes.plot([sent_at], [(start + end) / 2], "x", color=VERMILION, markersize=7)
        return
    received_at = (message.received.at - zero) / _MS
    axes.annotate(
        "",
        xy=(received_at, end),
        xytext=(sent_at, start),
        arrowprops=_ARROW | {"color": colour, "linestyle": style},
        annotation_clip=True,
    )


def _draw_packets(axes: Axes, metrics: ConnectionMetrics, height: float, start: int, end: int, zero: int) -> None:
    """Mark the packets that an end sent; a client behind a NAT sees one path where the server sees several."""
    traffic = metrics.paths.traffic
    times = traffic["time"]
    shown = (times >= start) & (times <= end) & (traffic["sent"] == 1)
    for path in np.unique(traffic["path"][shown]):
        colour = path_colour(int(path)) if metrics.role == "server" else GREY
        at = (times[shown & (traffic["path"] == path)] - zero) / _MS
        axes.plot(at, np.full(len(at), height), "|", color=colour, markersize=8)


def _keys(server: ConnectionMetrics, exchange: list[_Message], start: int, end: int) -> list[Line2D]:
    """Return what the legend explains: kinds of frames, and the paths that are shown."""
    shown = {message.path for message in exchange if message.path is not None and start <= message.sent.at <= end}
    keys = [Line2D([], [], color=GREY, linestyle=style, label=kind) for kind, style in _STYLES.items()]
    keys.append(Line2D([], [], color=GREY, marker="|", linestyle="", markersize=8, label="packet sent"))
    if any(message.received is None and start <= message.sent.at <= end for message in exchange):
        keys.append(Line2D([], [], color=VERMILION, marker="x", linestyle="", label="lost"))
    return keys + [Line2D([], [], color=path_colour(path), label=path_name(server, path)) for path in sorted(shown)]


def _draw_credit(
    axes: Axes, server: ConnectionMetrics, change: Move, answered: int | None, done: int | None, end: int
) -> None:
    traffic = server.paths.traffic
    rows = (traffic["path"] == change.path) & (traffic["time"] <= end)
    at = (traffic["time"][rows] - change.at) / _MS
    sizes, sent = traffic["size"][rows], traffic["sent"][rows] == 1
    received = np.cumsum(np.where(sent, 0, sizes))
    label = f"{AMPLIFICATION_FACTOR} × bytes received on the path"
    limited = np.ones(len(at), dtype=bool) if answered is None else at <= (answered - change.at) / _MS
    limit = np.where(limited, AMPLIFICATION_FACTOR * received, np.nan)
    axes.step(at, limit, where="post", color=GREY, linestyle="--", linewidth=1.4, label=label)
    total = np.cumsum(np.where(sent, sizes, 0))
    axes.step(at, total, where="post", color=path_colour(change.path), linewidth=1.4, label="bytes sent on the path")
    for time, style, name in ((answered, ":", "address validated"), (done, "-", "path validated")):
        if time is not None:
            axes.axvline((time - change.at) / _MS, color=GREEN, linestyle=style, linewidth=1.4, label=name)
    axes.set_ylabel("bytes on the new path")
    axes.set_yscale("log")  # for the limit is of some bytes, and what follows of many
    legend(axes)
