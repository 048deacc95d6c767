"""A scalable response for L4S (RFC 9331), after DCTCP (RFC 8257) and TCP Prague.

Packets carry ECT(1), which an L4S queue marks CE early and often. The share α of marked packets, averaged over round
trips, says by how much to reduce: by α/2, once per round trip. Losses are answered as NewReno does (RFC 9331 section
4.3), so that where marks are bleached, or no queue gives any, this is NewReno.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from stack.congestion.controller import LOSS_REDUCTION, MINIMUM_WINDOW, CongestionOptions, register
from stack.congestion.window import WindowController
from stack.wire.ecn import ECT_1

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket

GAIN: Final = 1 / 16  # of the average, RFC 8257 section 4.2
# Below this round-trip time the window grows as slowly as if it were as long (RFC 9331 section 4.3)
VIRTUAL_RTT_NS: Final = 25_000_000


@register("prague")
class Prague(WindowController):
    """One datagram more per round trip, also while marks come, and reductions in proportion to them."""

    __slots__ = ("_acked", "_marked", "_reduced_at", "_round_started_at", "_window", "alpha")

    codepoint = ECT_1
    burst = 2

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        super().__init__(datagram_size, options)
        self._window = float(self.congestion_window)  # with its fraction of a byte
        self.alpha = 1.0  # share of packets marked CE; from slow start on the safe side (RFC 8257 section 3.3)
        self._round_started_at = 0
        self._acked = self._marked = 0  # packets of this round
        self._reduced_at = -1  # for marks

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Average the share of marks once per round trip, then grow."""
        self._acked += len(packets)
        if packets[-1].sent_at >= self._round_started_at:
            if self.ssthresh is not None:  # marks have been seen
                share = min(self._marked / self._acked, 1.0)
                self.alpha += GAIN * (share - self.alpha)
            self._round_started_at = now
            self._acked = self._marked = 0
        super().on_acked(packets, rtt, app_limited, now)

    def on_marked(self, marks: int, acked: Sequence["SentPacket"], now: int) -> bool:
        """Reduce by α/2, at most once per round trip; what is acknowledged goes on opening the window."""
        self._marked += marks
        if acked[-1].sent_at <= self._reduced_at or self._recovery.covers(acked[-1].sent_at):
            return False
        self._reduced_at = now
        self._leave_hystart()
        self._kept_state = None
        self._close(1 - self.alpha / 2)
        return True

    def _avoid(self, acked: int, rtt: "RttEstimator", now: int) -> None:
        share = min(rtt.smoothed_rtt_ns / VIRTUAL_RTT_NS, 1.0)
        self._window += share * share * self._datagram_size * acked / self._window
        self.congestion_window = int(self._window)

    def _reduce(self, now: int) -> None:
        self._close(LOSS_REDUCTION)

    def _close(self, factor: float) -> None:
        self.ssthresh = max(int(self._window * factor), MINIMUM_WINDOW * self._datagram_size)
        self._set_window(self.ssthresh)

    def _set_window(self, window: int) -> None:
        self.congestion_window = window
        self._window = float(window)
