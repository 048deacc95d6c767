"""What a run did over time, as columns of numbers: congestion, round trips, losses, stream data, queues."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quicsim.decoded import decoded_frames
from quicsim.observers import Silent
from quicsim.path_metrics import Move, PathMetrics
from quicsim.series import NS_PER_S, Series
from stack.errors import TransportError
from stack.observer import Address, ConnectionObserver, Observer, PacketInfo, RecoveryMetrics
from stack.ranges import RangeSet
from stack.wire.decoded_frames import StreamFrame

UNKNOWN: Final = -1  # in a column: no value yet

_WITH_STREAMS: Final = ("1RTT", "0RTT")  # packet types that carry STREAM frames


@dataclass(frozen=True, slots=True)
class ConnectionSummary:
    """One end of a connection in figures. Rates are in bit/s, durations in ns; None where nothing was measured.

    `goodput` counts stream bytes once each, from the start of the connection to the last of them. Smoothed
    round-trip times and the congestion window are means over time.
    """

    host: str
    role: str
    connection: str
    stream_bytes_sent: int
    stream_bytes_retransmitted: int
    stream_bytes_received: int
    duration: int
    goodput: float | None
    packets_sent: int
    packets_received: int
    packets_lost: int
    min_rtt: int | None
    mean_rtt: float | None
    max_rtt: int | None
    mean_congestion_window: float | None
    max_congestion_window: int | None


class ConnectionMetrics(Silent):
    """One end of a connection over time.

    `recovery` has a row for each change, `lost` for each packet declared lost, `sent` for each STREAM frame sent
    and `received` for each one that brought new bytes; their column "path" is a key of `paths.addresses`. `connection`
    is the original destination connection ID.
    """

    def __init__(self, now: int, host: str, role: str, connection: str) -> None:
        self.host: Final = host
        self.role: Final = role
        self.connection: Final = connection
        self.started_at: Final = now
        self.recovery: Final = Series(
            "congestion_window",
            "bytes_in_flight",
            "ssthresh",
            "smoothed_rtt",
            "latest_rtt",
            "min_rtt",
            "pto_count",
            "path",
        )
        self.lost: Final = Series("packet_number", "size")
        self.sent: Final = Series("stream_id", "offset", "length", "retransmitted")
        self.received: Final = Series("stream_id", "offset", "length", "new", "path")
        self.paths: Final = PathMetrics()
        self.states: Final[list[tuple[int, str]]] = []  # of the congestion controller
        self.packets_sent = 0
        self.packets_received = 0
        self.stream_bytes_sent = 0
        self.stream_bytes_retransmitted = 0
        self.stream_bytes_received = 0
        self.first_rtt_at: int | None = None
        self._sent_up_to: Final[dict[int, int]] = {}  # stream ID to the end of what was sent once
        self._arrived: Final[dict[int, RangeSet]] = {}

    @property
    def path_numbers(self) -> list[int]:
        """The numbers of the paths for which there are rows in `recovery`, in order; 0 at least."""
        return sorted({0, *(int(number) for number in np.unique(self.recovery["path"]))})

    def connection_started(self, now: int, local: Address, remote: Address, scid: bytes, dcid: bytes) -> None:
        self.paths.addresses[0] = (local, remote)

    def path_assigned(self, now: int, path: int, local: Address, remote: Address) -> None:
        self.paths.addresses[path] = (local, remote)

    def migration_state(self, now: int, state: str, path: int) -> None:
        self.paths.moves.append(Move(now, state, path))

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self.packets_sent += 1
        self.paths.packet(now, packet, sent=True)
        if packet.packet_type in _WITH_STREAMS:
            for frame in decoded_frames(packet.payload):
                if type(frame) is StreamFrame:
                    self._stream_sent(now, frame)
                else:
                    self.paths.frame(now, packet.path, frame, sent=True)

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        self.packets_received += 1
        self.paths.packet(now, packet, sent=False)
        if packet.packet_type in _WITH_STREAMS:
            try:
                frames = decoded_frames(packet.payload)
            except TransportError:
                return  # the connection closes because of it
            for frame in frames:
                if type(frame) is StreamFrame:
                    self._stream_received(now, frame, packet.path)
                else:
                    self.paths.frame(now, packet.path, frame, sent=False)

    def packet_lost(self, now: int, _: str, packet_number: int, size: int, __: str) -> None:
        self.lost.append(now, packet_number, size)

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        self.recovery.append(
            now,
            metrics.congestion_window,
            metrics.bytes_in_flight,
            UNKNOWN if metrics.ssthresh is None else metrics.ssthresh,
            metrics.smoothed_rtt_ns,
            metrics.latest_rtt_ns,
            metrics.min_rtt_ns,
            metrics.pto_count,
            metrics.path,
        )
        if self.first_rtt_at is None and metrics.latest_rtt_ns > 0:
            self.first_rtt_at = now

    def congestion_state(self, now: int, _: str, new: str) -> None:
        self.states.append((now, new))

    def _stream_sent(self, now: int, frame: StreamFrame) -> None:
        length = len(frame.data)
        end = frame.offset + length
        before = self._sent_up_to.get(frame.stream_id, 0)
        again = max(0, min(end, before) - frame.offset)
        self._sent_up_to[frame.stream_id] = max(before, end)
        self.stream_bytes_sent += length
        self.stream_bytes_retransmitted += again
        self.sent.append(now, frame.stream_id, frame.offset, length, again)

    def _stream_received(self, now: int, frame: StreamFrame, path: int) -> None:
        length = len(frame.data)
        arrived = self._arrived.setdefault(frame.stream_id, RangeSet())
        new = length - _overlap(arrived, frame.offset, frame.offset + length)
        if new:
            arrived.add(frame.offset, frame.offset + length)
            self.stream_bytes_received += new
            self.received.append(now, frame.stream_id, frame.offset, length, new, path)

    def summary(self, now: int) -> ConnectionSummary:
        """Return the figures of the connection up to `now`."""
        end = int(self.received["time"][-1]) if len(self.received) else now
        duration = end - self.started_at
        bits = 8 * self.stream_bytes_received
        times, window = self.recovery["time"], self.recovery["congestion_window"]
        measured = slice(len(times) if self.first_rtt_at is None else np.searchsorted(times, self.first_rtt_at), None)
        latest = self.recovery["latest_rtt"][measured]
        return ConnectionSummary(
            host=self.host,
            role=self.role,
            connection=self.connection,
            stream_bytes_sent=self.stream_bytes_sent,
            stream_bytes_retransmitted=self.stream_bytes_retransmitted,
            stream_bytes_received=self.stream_bytes_received,
            duration=duration,
            goodput=bits * NS_PER_S / duration if bits and duration else None,
            packets_sent=self.packets_sent,
            packets_received=self.packets_received,
            packets_lost=len(self.lost),
            min_rtt=int(self.recovery["min_rtt"][-1]) if len(latest) else None,
            mean_rtt=_mean_over_time(times[measured], self.recovery["smoothed_rtt"][measured]),
            max_rtt=int(latest.max()) if len(latest) else None,
            mean_congestion_window=_mean_over_time(times, window),
            max_congestion_window=int(window.max()) if len(window) else None,
        )


class MetricsObserver(Observer):
    """Collects the metrics of every connection of a host; `connections` is in order of their start."""

    def __init__(self, host: str) -> None:
        self._host: Final = host
        self.connections: Final[list[ConnectionMetrics]] = []

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver:
        """Start to collect a connection's metrics."""
        metrics = ConnectionMetrics(now, self._host, role, original_destination_cid.hex())
        self.connections.append(metrics)
        return metrics


def rate_over_time(
    times: NDArray[np.int64], sizes: NDArray[np.int64], interval: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middles (s) of intervals of `interval` ns from time zero, and the rate (bit/s) in each.

    `sizes` are the bytes that came at `times` (ns, ascending).
    """
    if not len(times):
        return np.array([]), np.array([])
    totals = np.bincount(times // interval, weights=sizes).astype(np.float64)
    middles = np.arange(0.5, len(totals), dtype=np.float64) * (interval / NS_PER_S)
    return middles, totals * (8 * NS_PER_S / interval)


def _mean_over_time(times: NDArray[np.int64], values: NDArray[np.int64]) -> float | None:
    """Return the mean of a value that holds from each time to the next; None when there is none."""
    if not len(values):
        return None
    weights = np.diff(times)
    return float(np.average(values[:-1], weights=weights)) if weights.any() else float(values[-1])


def _overlap(ranges: RangeSet, start: int, end: int) -> int:
    """Return how many members of `ranges` lie in [start, end)."""
    starts, ends = ranges.starts, ranges.ends
    if not ends or start >= ends[-1]:
        return 0
    first, last = bisect_right(ends, start), bisect_left(starts, end)
    return sum(min(end, ends[i]) - max(start, starts[i]) for i in range(first, last))
