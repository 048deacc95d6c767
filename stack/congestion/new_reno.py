"""NewReno as RFC 9002 section 7.3 and appendix B describe it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stack.congestion.controller import LOSS_REDUCTION, initial_window, register

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket


@register("new_reno")
class NewReno:
    """Slow start, halving once per round of losses, one datagram more per window in congestion avoidance."""

    __slots__ = (
        "_acked_bytes",
        "_datagram_size",
        "_recovering",
        "_recovery_started_at",
        "_round_window",
        "congestion_window",
        "ssthresh",
    )

    def __init__(self, datagram_size: int) -> None:
        self._datagram_size = datagram_size
        self.congestion_window = initial_window(datagram_size)
        self.ssthresh: int | None = None
        # In congestion avoidance: the window at the start of the current round, and what was acknowledged since
        self._round_window = self.congestion_window
        self._acked_bytes = 0
        self._recovery_started_at = -1
        self._recovering = False

    @property
    def state(self) -> str:
        """The state as qlog names it."""
        if self._recovering:
            return "recovery"
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            return "slow_start"
        return "congestion_avoidance"

    @property
    def pacing_gain(self) -> tuple[int, int]:
        """Twice the window per round trip while it doubles, 5/4 after (RFC 9002 section 7.7)."""
        return (2, 1) if self.ssthresh is None or self.congestion_window < self.ssthresh else (5, 4)

    def set_datagram_size(self, datagram_size: int) -> None:
        """Grow by datagrams of this size from now on (RFC 8899 section 3: the window in bytes stays)."""
        self._datagram_size = datagram_size
        self._restart(max(self.congestion_window, 2 * datagram_size))

    def on_packet_sent(self, size: int, bytes_in_flight: int, now: int) -> None:
        """Nothing to note."""

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Grow the window by what was sent after the last reduction (RFC 9002 appendix B.5)."""
        acked = 0
        for packet in packets:
            if packet.sent_at > self._recovery_started_at:
                acked += packet.size
        if acked == 0:
            return
        # RFC 9002 section 7.3.2: recovery ends when a packet sent during it is acknowledged
        self._recovering = False
        if app_limited:
            return
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            self._restart(self.congestion_window + acked)
            return
        # rfc9002:7.3.3:1 one datagram per window acknowledged, growing evenly while it is
        self._acked_bytes += acked
        if self._acked_bytes >= self._round_window:
            self._acked_bytes -= self._round_window
            self._round_window += self._datagram_size
        self.congestion_window = self._round_window + self._datagram_size * self._acked_bytes // self._round_window

    def on_congestion(self, sent_at: int, now: int) -> bool:
        """Halve the window, at most once per recovery period (RFC 9002 section 7.3.2)."""
        if sent_at <= self._recovery_started_at:
            return False
        self._recovery_started_at = now
        self._recovering = True
        numerator, denominator = LOSS_REDUCTION
        reduced = self.congestion_window * numerator // denominator
        self.ssthresh = max(reduced, 2 * self._datagram_size)
        self._restart(self.ssthresh)
        return True

    def on_persistent_congestion(self) -> None:
        """Start over from the minimum window, two datagrams (rfc9002:7.6.2:5)."""
        self._restart(2 * self._datagram_size)
        self._recovery_started_at = -1
        self._recovering = False

    def _restart(self, window: int) -> None:
        self.congestion_window = self._round_window = window
        self._acked_bytes = 0
