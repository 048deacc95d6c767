"""A network path: addresses, validation, and its congestion, RTT and pacing state (RFC 9000 section 9).

A connection has at least one path; each new one starts with fresh estimates (rfc9000:9.4:2).
"""

from typing import Final

from stack.congestion import make_controller
from stack.observer import Address, ConnectionObserver
from stack.recovery.pacing import Pacer
from stack.recovery.rtt import RttEstimator

AMPLIFICATION_FACTOR: Final = 3  # rfc9000:8.1:2
SMALLEST_USEFUL_DATAGRAM: Final = 128  # bytes; less credit than this can't carry a handshake packet worth sending


class Path:
    """One pair of addresses and what is known about the way between them."""

    __slots__ = (
        "_congestion_state",
        "_controller",
        "_pacing",
        "app_limited",
        "bytes_in_flight",
        "bytes_received",
        "bytes_sent",
        "congestion",
        "datagram_size",
        "local",
        "pacer",
        "remote",
        "rtt",
        "validated",
    )

    def __init__(
        self,
        local: Address,
        remote: Address,
        *,
        datagram_size: int,
        congestion: str,
        initial_rtt_ns: int,
        pacing: bool,
        validated: bool,
    ) -> None:
        """`datagram_size` in bytes of UDP payload; `validated`: the peer owns `remote` (RFC 9000 section 8)."""
        self.local = local
        self.remote = remote
        self._controller = congestion
        self._pacing = pacing
        self.set_datagram_size(datagram_size)
        self.rtt = RttEstimator(initial_rtt_ns)
        self.validated = validated
        self.bytes_in_flight = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.app_limited = False  # whether the last sending stopped for want of data
        self._congestion_state = self.congestion.state

    def set_datagram_size(self, datagram_size: int) -> None:
        """Send datagrams of this size from now on, with the initial window and bursts that go with it.

        For the start of a path, when the peer's limit becomes known (rfc9002:7.2:2, rfc9002:7.2:3).
        """
        self.datagram_size = datagram_size
        self.congestion = make_controller(self._controller, datagram_size)
        self.pacer = Pacer(datagram_size) if self._pacing else None

    def amplification_credit(self) -> int:
        """Bytes that may still be sent before the address is validated; without bound once it is."""
        if self.validated:
            return 1 << 62
        return AMPLIFICATION_FACTOR * self.bytes_received - self.bytes_sent

    def amplification_blocked(self) -> bool:
        """Whether nothing useful may be sent until the peer sends more (RFC 9000 section 8.1)."""
        return self.amplification_credit() < SMALLEST_USEFUL_DATAGRAM

    def pacing_rate(self) -> tuple[int, int] | None:
        """Bytes per nanosecond as a fraction, or None when nothing is paced (RFC 9002 section 7.7)."""
        if self.pacer is None:
            return None
        numerator, denominator = self.congestion.pacing_gain
        return numerator * self.congestion.congestion_window, max(denominator * self.rtt.smoothed_rtt_ns, 1)

    def window_available(self) -> int:
        """Bytes that congestion control allows to be put in flight; zero or less when none."""
        return self.congestion.congestion_window - self.bytes_in_flight

    def send_quota(self, now: int) -> int:
        """Bytes that both congestion control and pacing allow to be put in flight now."""
        window = self.window_available()
        rate = self.pacing_rate()
        if self.pacer is None or rate is None:
            return window
        return min(window, self.pacer.available(rate, now))

    def paced_until(self) -> int | None:
        """When pacing lets the next full datagram go; None if it is the congestion window that has no room for it."""
        rate = self.pacing_rate()
        if self.pacer is None or rate is None or self.window_available() < self.datagram_size:
            return None
        return self.pacer.ready_at(self.datagram_size, rate)

    def trace_congestion_state(self, now: int, trace: ConnectionObserver) -> None:
        """Tell the observer if the controller's state moved since it was last told."""
        state = self.congestion.state
        if state != self._congestion_state:
            trace.congestion_state(now, self._congestion_state, state)
            self._congestion_state = state
