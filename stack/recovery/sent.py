"""What is remembered of a packet that was sent, until it is acknowledged or lost (RFC 9002 appendix A.1)."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stack.path.path import Path

# What a packet carried, as intent: (owner, details…). The owner alone knows what the details mean.
Token = tuple[Any, ...]


class TokenOwner(Protocol):
    """Owns tokens, that is, frames in flight: learns their fate, and sends again what is still needed."""

    def on_acked(self, token: Token, now: int) -> None:
        """The packet that carried the frame was acknowledged."""

    def on_lost(self, token: Token, now: int) -> None:
        """The packet that carried the frame was lost, or a probe should repeat it."""


class SentPacket:
    """One packet in flight, or sent and awaiting an ACK that nobody has to send."""

    __slots__ = ("ack_eliciting", "in_flight", "packet_number", "path", "sent_at", "size", "tokens")

    def __init__(
        self,
        packet_number: int,
        sent_at: int,
        size: int,
        ack_eliciting: bool,
        in_flight: bool,
        tokens: list[Token],
        path: "Path",
    ) -> None:
        self.packet_number = packet_number
        self.sent_at = sent_at
        self.size = size
        self.ack_eliciting = ack_eliciting
        self.in_flight = in_flight
        self.tokens = tokens
        self.path = path
