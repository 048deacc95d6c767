"""What an experiment on congestion control needs of a connection: its window, its losses, its states; no frames."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quicsim.observers import Silent
from quicsim.series import NS_PER_S, Series
from stack.observer import ConnectionObserver, Observer, PacketInfo, RecoveryMetrics


class RecoveryLog(Silent):
    """One end of a connection over time: `recovery` has a row for each change, `lost` for each packet declared lost.

    `states` are the congestion controller's; each "recovery" is one reduction. `sent` counts packets.
    """

    def __init__(self, host: str, role: str, connection: bytes) -> None:
        self.host: Final = host
        self.role: Final = role
        self.connection: Final = connection
        self.recovery: Final = Series("congestion_window", "bytes_in_flight", "smoothed_rtt", "sent")
        self.lost: Final = Series("packet_number", "size")
        self.states: Final[list[tuple[int, str]]] = []
        self.ecn_states: Final[list[tuple[int, str]]] = []
        self.sent = 0
        self.probe_timeouts: Final[list[int]] = []

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self.sent += 1

    def packet_lost(self, now: int, packet_type: str, packet_number: int, size: int, trigger: str) -> None:
        self.lost.append(now, packet_number, size)

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        window, flight = metrics.congestion_window, metrics.bytes_in_flight
        self.recovery.append(now, window, flight, metrics.smoothed_rtt_ns, self.sent)

    def congestion_state(self, now: int, old: str, new: str) -> None:
        self.states.append((now, new))

    def ecn_state(self, now: int, old: str, new: str) -> None:
        self.ecn_states.append((now, new))

    def loss_timer(self, now: int, event: str, timer_type: str, packet_type: str, at: int | None) -> None:
        if event == "expired" and timer_type == "pto":
            self.probe_timeouts.append(now)

    @property
    def reductions(self) -> list[int]:
        """When the window was reduced, ns."""
        return [at for at, state in self.states if state == "recovery"]

    def mean_window(self, since: int, until: int) -> float:
        """The mean over time of the congestion window, in bytes."""
        times, window = self.recovery["time"], self.recovery["congestion_window"]
        first, last = np.searchsorted(times, (since, until))
        weights = np.diff(times[first:last])
        return float(np.average(window[first : last - 1], weights=weights))

    def sampled(self, name: str, every: int, until: int) -> NDArray[np.int64]:
        """A column's values at 0, `every`, … ns before `until`, for figures."""
        times = self.recovery["time"]
        at = np.searchsorted(times, np.arange(0, until, every), side="right") - 1
        return self.recovery[name][np.maximum(at, 0)]

    def at(self, time: int) -> int:
        """The congestion window at a time, in bytes."""
        index = int(np.searchsorted(self.recovery["time"], time, side="right")) - 1
        return int(self.recovery["congestion_window"][max(index, 0)])

    def sent_at(self, time: int) -> int:
        """How many packets were sent until then."""
        index = int(np.searchsorted(self.recovery["time"], time, side="right")) - 1
        return int(self.recovery["sent"][max(index, 0)])

    def lost_between(self, since: int, until: int) -> int:
        """How many packets were declared lost after `since`, up to `until`."""
        first, last = np.searchsorted(self.lost["time"], (since, until), side="right")
        return int(last - first)


class RecoveryObserver:
    """Logs the connections of all hosts that have the `role`; give `observer` to a simulation."""

    def __init__(self, role: str = "server") -> None:
        self.role: Final = role
        self.logs: Final[list[RecoveryLog]] = []

    def observer(self, host: str) -> Observer:
        """What observes the endpoints of a host."""
        return _HostObserver(self, host)


class _HostObserver(Observer):
    def __init__(self, owner: RecoveryObserver, host: str) -> None:
        self._owner = owner
        self._host = host

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Start to log a connection, if it is of the role that counts."""
        if role != self._owner.role:
            return None
        log = RecoveryLog(self._host, role, original_destination_cid)
        self._owner.logs.append(log)
        return log


def seconds(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Times in s."""
    return times / NS_PER_S
