"""How fast the path delivers: a sample with each ACK (draft-ietf-ccwg-bbr section 4.1).

Each packet takes along what had been delivered when it left; when it is acknowledged, what was delivered since, over
the longer of the times that sending and acknowledging took, is a sample. Only controllers that have a sampler pay for
it. Rates are in bytes per second.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from stack.recovery.sent import SentPacket

SECOND: Final = 1_000_000_000  # ns


class Snapshot(NamedTuple):
    """What a packet takes along."""

    sampler: "DeliveryRateSampler"  # the path may have another one by now
    delivered: int  # bytes delivered and lost before it left
    lost: int
    delivered_at: int
    first_sent_at: int
    app_limited: bool
    in_flight: int  # bytes, with the packet itself


class RateSample:
    """What one ACK says. `rate` is 0 and `snapshot` None when it says nothing."""

    __slots__ = ("delivered", "newly_acked", "rate", "rtt_ns", "snapshot")

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None  # of the newest packet acknowledged
        self.rate = 0
        self.delivered = 0  # bytes over the interval
        self.newly_acked = 0
        self.rtt_ns = -1

    @property
    def app_limited(self) -> bool:
        """Whether the application had not enough to send for a higher rate."""
        return self.snapshot is not None and self.snapshot.app_limited


class DeliveryRateSampler:
    """The books of one path: `delivered` and `lost` bytes so far."""

    __slots__ = ("_delivered_at", "_first_sent_at", "app_limited_until", "delivered", "lost")

    def __init__(self) -> None:
        self.delivered = 0
        self.lost = 0
        self._delivered_at = 0
        self._first_sent_at = 0
        # While `delivered` has not passed this, packets count as limited by the application; 0: they do not
        self.app_limited_until = 0

    def on_sent(self, packet: "SentPacket", bytes_in_flight: int) -> None:
        """Give a packet its snapshot; `bytes_in_flight` includes it."""
        if bytes_in_flight == packet.size:
            self._first_sent_at = self._delivered_at = packet.sent_at
        packet.delivery = Snapshot(
            self,
            self.delivered,
            self.lost,
            self._delivered_at,
            self._first_sent_at,
            self.app_limited_until != 0,
            bytes_in_flight,
        )

    def on_app_limited(self, bytes_in_flight: int) -> None:
        """There is no more to send: what is sent until all in flight now has arrived says too little."""
        self.app_limited_until = max(self.delivered + bytes_in_flight, 1)

    def snapshot_of(self, packet: "SentPacket") -> Snapshot | None:
        """A packet's snapshot, if it is from these books."""
        snapshot: Snapshot | None = getattr(packet, "delivery", None)
        return snapshot if snapshot is not None and snapshot.sampler is self else None

    def on_acked(self, packets: Sequence["SentPacket"], min_rtt_ns: int, now: int) -> RateSample:
        """Packets were newly acknowledged, ascending. Intervals below `min_rtt_ns` are no samples."""
        sample = RateSample()
        sample.newly_acked = sum([packet.size for packet in packets])
        self.delivered += sample.newly_acked
        self._delivered_at = now
        if self.app_limited_until and self.delivered > self.app_limited_until:
            self.app_limited_until = 0
        newest = packets[-1]
        snapshot = self.snapshot_of(newest)
        if snapshot is None:
            return sample
        sample.snapshot = snapshot
        sample.rtt_ns = now - newest.sent_at
        send_elapsed = newest.sent_at - snapshot.first_sent_at
        ack_elapsed = now - snapshot.delivered_at
        self._first_sent_at = newest.sent_at
        interval = max(send_elapsed, ack_elapsed)
        sample.delivered = self.delivered - snapshot.delivered
        if interval >= max(min_rtt_ns, 1):
            sample.rate = sample.delivered * SECOND // interval
        return sample
