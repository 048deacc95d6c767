"""Round-trip time estimation (RFC 9002 section 5). All values in ns."""

from typing import Final

GRANULARITY_NS: Final = 1_000_000  # kGranularity, RFC 9002 section 6.1.2
TIME_THRESHOLD: Final = (9, 8)  # kTimeThreshold, as a fraction: rfc9002:6.1.2:4


class RttEstimator:
    """min_rtt, smoothed_rtt, rttvar and latest_rtt of one path."""

    __slots__ = ("first_sample_at", "latest_rtt_ns", "min_rtt_ns", "rttvar_ns", "smoothed_rtt_ns")

    def __init__(self, initial_rtt_ns: int) -> None:
        # RFC 9002 section 5.3: before any sample
        self.smoothed_rtt_ns = initial_rtt_ns
        self.rttvar_ns = initial_rtt_ns // 2
        self.min_rtt_ns = 0
        self.latest_rtt_ns = 0
        self.first_sample_at: int | None = None

    def update(self, latest_rtt_ns: int, ack_delay_ns: int, now: int) -> None:
        """Take a sample; `ack_delay_ns` as the peer reported it, limited to its max_ack_delay if confirmed."""
        self.latest_rtt_ns = latest_rtt_ns
        if self.first_sample_at is None:
            # rfc9002:5.2:1
            self.first_sample_at = now
            self.min_rtt_ns = latest_rtt_ns
            self.smoothed_rtt_ns = latest_rtt_ns
            self.rttvar_ns = latest_rtt_ns // 2
            return
        # rfc9002:5.2:2
        if latest_rtt_ns < self.min_rtt_ns:
            self.min_rtt_ns = latest_rtt_ns
        # rfc9002:5.3:6
        adjusted = latest_rtt_ns - ack_delay_ns if latest_rtt_ns >= self.min_rtt_ns + ack_delay_ns else latest_rtt_ns
        self.rttvar_ns = (3 * self.rttvar_ns + abs(self.smoothed_rtt_ns - adjusted)) // 4
        self.smoothed_rtt_ns = (7 * self.smoothed_rtt_ns + adjusted) // 8

    def pto_ns(self, max_ack_delay_ns: int) -> int:
        """The probe timeout before backoff (RFC 9002 section 6.2.1)."""
        # rfc9002:6.2.1:1
        return self.smoothed_rtt_ns + max(4 * self.rttvar_ns, GRANULARITY_NS) + max_ack_delay_ns

    def loss_delay_ns(self, threshold: tuple[int, int] = TIME_THRESHOLD) -> int:
        """The time threshold of loss detection, a multiple of the larger RTT (RFC 9002 section 6.1.2)."""
        numerator, denominator = threshold
        # rfc9002:6.1.2:1, rfc9002:6.1.2:2, rfc9002:6.1.2:5
        return max(numerator * max(self.smoothed_rtt_ns, self.latest_rtt_ns) // denominator, GRANULARITY_NS)
