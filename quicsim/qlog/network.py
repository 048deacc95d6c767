"""The trace of a run's network: what links dropped and how long their queues were, and marks of what was done to it."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from quicsim.link_metrics import NetworkMetrics, QueueMetrics
from quicsim.qlog.frames import Fields
from quicsim.qlog.schema import Profile, header
from quicsim.qlog.writer import TextSink, TraceWriter

_SPACING: Final = 10_000_000  # ns at least from one length of a queue to the next, so that a trace stays small


class Mark(NamedTuple):
    """Something that was done to the network at `at` (ns), such as of the kind "nat_rebinding"."""

    at: int
    kind: str
    message: str


def write_network_trace(
    stream: TextSink,
    network: NetworkMetrics,
    marks: Iterable[Mark],
    *,
    profile: Profile,
    title: str,
    limit: int | None = None,
) -> None:
    """Write all that happened in order of time, and close the stream; `limit` caps its size in bytes."""
    events: list[tuple[int, str, Fields]] = [
        (at, "marker", {"type": kind, "message": message}) for at, kind, message in marks
    ]
    for link in network.links.values():
        events += [
            (
                drop.at,
                "datagram_dropped",
                {"link": link.name, "element": drop.element, "trigger": drop.reason}
                | {"raw": {"length": drop.size}, "datagram_id": drop.number},
            )
            for drop in link.drops
        ]
        for queue in link.queues:
            events += [(at, "queue_updated", {"queue": queue.name} | fields) for at, fields in _lengths(queue)]
    writer = TraceWriter(stream, profile, limit)
    writer.header(header(profile, title, "network", "network", title))
    for at, event, data in sorted(events, key=lambda row: row[0]):
        writer.event(at, event, data)
    writer.close()


def _lengths(queue: QueueMetrics) -> Iterable[tuple[int, Fields]]:
    """Yield the length of a queue now and then."""
    length = queue.length()
    latest = -_SPACING
    for at, queued in zip(length["time"].tolist(), length["queued_bytes"].tolist(), strict=True):
        if at - latest >= _SPACING:
            latest = at
            yield at, {"queued_bytes": queued}
