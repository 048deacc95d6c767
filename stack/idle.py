"""The idle timeout (RFC 9000 section 10.1)."""

from stack.recovery.acknowledgments import NEVER


class IdleTimer:
    """When the connection is given up because nothing happens. `timeout_ns` 0 means never."""

    __slots__ = ("_awaiting_reply", "_started_at", "timeout_ns")

    def __init__(self, timeout_ns: int, now: int) -> None:
        self.timeout_ns = timeout_ns
        self._started_at = now
        self._awaiting_reply = False

    def negotiate(self, local_ms: int, peer_ms: int) -> None:
        """Use the smaller of the two timeouts; 0 counts as none (RFC 9000 section 10.1)."""
        announced = [value for value in (local_ms, peer_ms) if value]
        self.timeout_ns = min(announced) * 1_000_000 if announced else 0

    def on_received(self, now: int) -> None:
        """A packet of the peer was processed."""
        self._started_at = now
        self._awaiting_reply = False

    def on_eliciting_sent(self, now: int) -> None:
        """An ack-eliciting packet was sent: restarts the timer if it is the first since something was received."""
        if not self._awaiting_reply:
            self._awaiting_reply = True
            self._started_at = now

    def half_at(self) -> int:
        """When half of the timeout is over: time to say something, if the connection is not to end."""
        return self._started_at + self.timeout_ns // 2 if self.timeout_ns else NEVER

    def expires_at(self, pto_ns: int) -> int:
        """The time to give up, at least three PTOs after the last sign of life (rfc9000:10.1:1)."""
        if not self.timeout_ns:
            return NEVER
        return self._started_at + max(self.timeout_ns, 3 * pto_ns)
