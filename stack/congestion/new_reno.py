"""NewReno as RFC 9002 section 7.3 and appendix B describe it."""

from typing import TYPE_CHECKING

from stack.congestion.controller import LOSS_REDUCTION, MINIMUM_WINDOW, CongestionOptions, register
from stack.congestion.window import WindowController

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator


@register("new_reno")
class NewReno(WindowController):
    """Slow start, halving once per round of losses, one datagram more per window in congestion avoidance."""

    __slots__ = ("_acked_bytes", "_round_window")

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        super().__init__(datagram_size, options)
        # In congestion avoidance: the window at the start of the current round, and what was acknowledged since
        self._round_window = self.congestion_window
        self._acked_bytes = 0

    def _avoid(self, acked: int, rtt: "RttEstimator", now: int) -> None:
        # rfc9002:7.3.3:1 one datagram per window acknowledged, growing evenly while it is
        self._acked_bytes += acked
        if self._acked_bytes >= self._round_window:
            self._acked_bytes -= self._round_window
            self._round_window += self._datagram_size
        self.congestion_window = self._round_window + self._datagram_size * self._acked_bytes // self._round_window

    def _reduce(self, now: int) -> None:
        # rfc9002:7.3.2:1, rfc9002:7.3.2:2
        self.ssthresh = max(int(self.congestion_window * LOSS_REDUCTION), MINIMUM_WINDOW * self._datagram_size)
        self._set_window(self.ssthresh)

    def _set_window(self, window: int) -> None:
        self.congestion_window = self._round_window = window
        self._acked_bytes = 0
