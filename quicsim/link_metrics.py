"""What happened on the links of a run: queues over time, how long datagrams waited, how busy links were, drops."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from links import Datagram, Pipeline, Queue, Server
from quicsim.series import NS_PER_S, Series
from quicsim.simulation import Simulation


class Drop(NamedTuple):
    """A datagram that was dropped at `at` (ns), of `size` bytes of UDP payload; `number` is its own in the run."""

    at: int
    element: str
    reason: str
    size: int
    number: int


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """A queue and its Rate (or other Server) in figures. Durations are in ns; None where nothing was sent.

    Sojourn is the time from arrival until sending begins. `utilisation` is the share of what could have been sent.
    """

    name: str
    sent: int
    sent_bytes: int  # on the wire
    utilisation: float
    mean_sojourn: float | None
    p99_sojourn: int | None
    max_sojourn: int | None
    mean_queued_bytes: float  # over time
    max_queued_bytes: int


class QueueMetrics:
    """One Server of a link and what waits for it.

    `served` has a row for each datagram, at the time of its arrival; `lost` for each that waited and was dropped then.
    Sizes are bytes on the wire.
    """

    def __init__(self, server: Server) -> None:
        self.name: Final = server.name
        self.server: Final = server
        self.served: Final = Series("starts_at", "leaves_at", "size")
        self.lost: Final = Series("dropped_at", "size")

    @property
    def sojourn(self) -> NDArray[np.int64]:
        """How long each datagram waited, in ns and in order of arrival."""
        return self.served["starts_at"] - self.served["time"]

    def length(self) -> Series:
        """Return the bytes that wait, "queued_bytes", with a row for each change."""
        joins, leaves = [self.served["time"], self.lost["time"]], [self.served["starts_at"], self.lost["dropped_at"]]
        sizes = np.concatenate([self.served["size"], self.lost["size"]])
        joined_at, left_at = np.concatenate(joins), np.concatenate(leaves)
        waited = left_at > joined_at
        times = np.concatenate([joined_at[waited], left_at[waited]])
        changes = np.concatenate([sizes[waited], -sizes[waited]])
        moments, places = np.unique(times, return_inverse=True)
        queued = np.cumsum(np.bincount(places, weights=changes, minlength=len(moments))).astype(np.int64)
        series = Series("queued_bytes")
        for at, value in zip(moments.tolist(), queued.tolist(), strict=True):
            series.append(at, value)
        return series

    def utilisation(self, interval: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the middles (s) of intervals of `interval` ns from time zero, and how busy each was (0 to 1).

        What is being sent at the end of an interval counts for both by its share.
        """
        starts, ends, sizes = (self.served[name] for name in ("starts_at", "leaves_at", "size"))
        count = int(ends.max()) // interval + 1 if len(ends) else 0
        edges = np.arange(count + 1) * interval
        # What has been sent until each edge: all that has left, and the part of what is being sent.
        total = np.concatenate([[0], np.cumsum(8 * sizes)]).astype(np.float64)
        gone = np.searchsorted(ends, edges, side="right")
        sent = total[gone]
        busy = np.flatnonzero(gone < len(ends))
        under_way = gone[busy]
        span = np.maximum(1, ends[under_way] - starts[under_way])
        share = np.clip((edges[busy] - starts[under_way]) / span, 0, 1)
        sent[busy] += share * 8 * sizes[under_way]
        able = np.array([self.server.capacity(int(edge)) for edge in edges])
        could = np.diff(able)
        middles = np.arange(0.5, count, dtype=np.float64) * (interval / NS_PER_S)
        return middles, np.divide(np.diff(sent), could, out=np.zeros(count), where=could > 0)

    def summary(self, now: int) -> QueueSummary:
        """Return the figures up to `now` (ns)."""
        sojourn, sizes = self.sojourn, self.served["size"]
        length = self.length()
        times, queued = length["time"], length["queued_bytes"]
        mean = float((np.diff(np.append(times, max(now, int(times[-1])))) * queued).sum() / now) if len(times) else 0.0
        able = self.server.capacity(now)
        return QueueSummary(
            name=self.name,
            sent=len(sizes),
            sent_bytes=int(sizes.sum()),
            utilisation=float(8 * sizes[self.served["leaves_at"] <= now].sum() / able) if able else 0.0,
            mean_sojourn=float(sojourn.mean()) if len(sojourn) else None,
            p99_sojourn=int(np.quantile(sojourn, 0.99, method="higher")) if len(sojourn) else None,
            max_sojourn=int(sojourn.max()) if len(sojourn) else None,
            mean_queued_bytes=mean,
            max_queued_bytes=int(queued.max()) if len(queued) else 0,
        )


class LinkMetrics:
    """One direction of a link: `queues`, one for each Server in the order of the elements, and `drops`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.name: Final = pipeline.name
        self.drops: Final[list[Drop]] = []
        self._queues: Final = {each: QueueMetrics(each) for each in pipeline.elements if isinstance(each, Server)}
        self._holders: Final = {  # of queues that hold datagrams: what they feed
            each.name: each.server for each in pipeline.elements if isinstance(each, Queue) and each.alone
        }
        pipeline.watch(self)

    @property
    def queues(self) -> list[QueueMetrics]:
        """The queues of the way."""
        return list(self._queues.values())

    def served(self, server: Server, datagram: Datagram, arrived_at: int, starts_at: int, leaves_at: int) -> None:
        """A datagram is sent by a server; see `links.Watcher`."""
        self._queues[server].served.append(arrived_at, starts_at, leaves_at, datagram.size + server.overhead)

    def dropped(self, datagram: Datagram, at: int, arrived_at: int | None) -> None:
        """A datagram is dropped; see `links.Watcher`."""
        self.drops.append(Drop(at, datagram.dropped_by, datagram.drop_reason, datagram.size, datagram.id))
        if arrived_at is not None:
            queue = self._queues[self._holders[datagram.dropped_by]]
            queue.lost.append(arrived_at, at, datagram.size + queue.server.overhead)


class NetworkMetrics:
    """The links of a simulation, as they are when this is made: before any datagram. `links` is by direction."""

    def __init__(self, simulation: Simulation) -> None:
        ways = [way for link in simulation.links.values() for way in (link.up, link.down)]
        self.links: Final = {way.name: LinkMetrics(way) for way in ways}

    @property
    def queues(self) -> Iterator[QueueMetrics]:
        """The queues of all links."""
        return (queue for link in self.links.values() for queue in link.queues)
