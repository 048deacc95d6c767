"""What is remembered of a packet that was sent, until it is acknowledged or lost (RFC 9002 appendix A.1)."""

from typing import TYPE_CHECKING

from stack.sent_frame import SentFrame

if TYPE_CHECKING:
    from stack.congestion.delivery_rate import Snapshot
    from stack.path.path import Path


class SentPacket:
    """One packet in flight, or sent and awaiting an ACK that nobody has to send."""

    __slots__ = (
        "ack_eliciting",
        "delivery",
        "frames",
        "in_flight",
        "marked",
        "packet_number",
        "path",
        "sent_at",
        "size",
    )

    delivery: "Snapshot"  # set only by controllers that sample the delivery rate

    def __init__(
        self,
        packet_number: int,
        sent_at: int,
        size: int,
        ack_eliciting: bool,
        in_flight: bool,
        frames: list[SentFrame],
        path: "Path",
        marked: bool = False,
    ) -> None:
        """`marked`: its datagram carried ECT(0) or ECT(1)."""
        self.packet_number = packet_number
        self.sent_at = sent_at
        self.size = size
        self.ack_eliciting = ack_eliciting
        self.in_flight = in_flight
        self.frames = frames
        self.path = path
        self.marked = marked

    @property
    def is_mtu_probe(self) -> bool:
        """Whether it was a PMTU probe: its loss tells of its size, and not of congestion (rfc9000:14.4:1)."""
        return bool(self.frames) and self.frames[0][0] is self.path.mtu
