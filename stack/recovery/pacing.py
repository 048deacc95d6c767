"""Pacing: a token bucket filled at gain · window / smoothed_rtt (RFC 9002 section 7.7)."""

from typing import Final

from stack.congestion.controller import initial_window

BURST_NS: Final = 1_000_000  # at high rates a burst may hold this much time: timers are no finer
MAX_BURST_DATAGRAMS: Final = 64  # and at most this many datagrams


class Pacer:
    """Spreads a window over a round trip.

    The bucket holds one initial window, so that short flights go at once (rfc9002:7.7:2, rfc9002:7.7:3), or after that
    only a few datagrams where a controller wants short queues; where that takes less than a millisecond at the current
    rate, it holds a millisecond (rfc9002:7.7:4).
    """

    __slots__ = ("_burst", "_capacity", "_filled_at", "_fraction", "_largest", "_smallest", "_tokens")

    def __init__(self, datagram_size: int, burst: int | None = None) -> None:
        """`burst`: datagrams that may go at once; None: as many as an initial window has. The first ones always may."""
        self._burst = burst
        self.set_datagram_size(datagram_size)
        self._capacity = self._tokens = initial_window(datagram_size)
        self._filled_at = 0
        self._fraction = 0  # of a byte, in units of the rate's denominator

    def set_datagram_size(self, datagram_size: int) -> None:
        """Bursts are of datagrams of this size from now on; what the bucket holds stays."""
        self._smallest = initial_window(datagram_size) if self._burst is None else self._burst * datagram_size
        self._largest = max(MAX_BURST_DATAGRAMS * datagram_size, self._smallest)

    def available(self, rate: tuple[int, int], now: int) -> int:
        """Return the bytes that may go now; `rate` is bytes per ns as a fraction."""
        if self._tokens < self._capacity:
            bytes_, ns = rate
            # What is less than a byte is kept for the next time, so that the rate is exact.
            gained, self._fraction = divmod((now - self._filled_at) * bytes_ + self._fraction, ns)
            self._filled_at = now
            if gained > 0:
                self._capacity = min(max(BURST_NS * bytes_ // ns, self._smallest), self._largest)
                self._tokens = min(self._tokens + gained, self._capacity)
        return self._tokens

    def ready_at(self, size: int, rate: tuple[int, int]) -> int:
        """Return when `size` bytes may go, seen from the last call of `available`."""
        bytes_, ns = rate
        return self._filled_at + -((self._fraction - (size - self._tokens) * ns) // bytes_)

    def on_sent(self, size: int, now: int) -> None:
        """Take `size` bytes out; the bucket may go below empty (probes and ACKs are never held back)."""
        if self._tokens >= self._capacity:
            self._filled_at = now
            self._fraction = 0
        self._tokens -= size
