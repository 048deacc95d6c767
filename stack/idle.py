"""The idle timeout, and the PINGs that keep a connection from it (RFC 9000 section 10.1)."""

from typing import Final

from stack.recovery.acknowledgments import NEVER
from stack.sent_frame import SentFrame
from stack.wire.frames import PING

_PING_FRAME: Final = bytes((PING,))


class IdleTimer:
    """When the connection is given up because nothing happens. `timeout_ns` 0 means never."""

    __slots__ = ("_awaiting_reply", "_keep_alive_ns", "_started_at", "give_up_at", "timeout_ns")

    def __init__(self, timeout_ns: int, now: int, keep_alive_ns: int = 0) -> None:
        """`keep_alive_ns`: how long nothing may happen before a PING is due; 0 for ever."""
        self.timeout_ns = timeout_ns
        self._keep_alive_ns = keep_alive_ns
        self._started_at = now
        self._awaiting_reply = False
        self.give_up_at = NEVER  # the end of a handshake that takes too long, however much happens

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

    def keep_alive_at(self) -> int:
        """When a PING is due to keep the connection alive (RFC 9000 section 10.1.2)."""
        return self._started_at + self._keep_alive_ns if self._keep_alive_ns else NEVER

    def expires_at(self, pto_ns: int) -> int:
        """The time to give up, at least three PTOs after the last sign of life (rfc9000:10.1:1)."""
        if not self.timeout_ns:
            return self.give_up_at
        at = self._started_at + max(self.timeout_ns, 3 * pto_ns)
        return at if at < self.give_up_at else self.give_up_at

    # PING, the control frame: it only has to be acknowledged, so a lost one is left to the probe timeout

    def write_frame(self, key: int) -> bytes:
        """PING."""
        return _PING_FRAME

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The ACK has restarted the timer."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """The peer was asked again by then."""
