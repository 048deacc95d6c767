"""How a connection ends: CONNECTION_CLOSE both ways, closing and draining, idle timeout (RFC 9000 section 10)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.errors import AEAD_LIMIT_REACHED, APPLICATION_ERROR, ConnectionClosed, TransportError
from stack.events import ConnectionEnded, ConnectionEvent
from stack.lifecycle import ENDED, TRANSITIONS, State, Trigger
from stack.limits import MAX_REASON_LENGTH
from stack.observer import ConnectionObserver
from stack.recovery.acknowledgments import NEVER
from stack.tls.engine import APPLICATION
from stack.wire.decoded_frames import ConnectionCloseFrame, decode_frames
from stack.wire.frames import APPLICATION_CLOSE, CONNECTION_CLOSE, encode_connection_close
from stack.wire.varint import Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

CLOSE_PERIOD_PTOS: Final = 3  # rfc9000:10.2:1


class Closing:
    """The connection's state and, once it ends, why.

    `pending` tells the sender that a CONNECTION_CLOSE must go; `expires_at` when all state may be forgotten.
    """

    __slots__ = (
        "_emit",
        "_pto_ns",
        "_received",
        "_respond_at",
        "ended",
        "expires_at",
        "frame_type",
        "over",
        "pending",
        "silent",
        "state",
        "trace",
    )

    def __init__(
        self,
        emit: Callable[[ConnectionEvent], None],
        pto_ns: Callable[[], int],
        trace: ConnectionObserver | None,
    ) -> None:
        """`pto_ns` gives the current probe timeout."""
        self._emit = emit
        self._pto_ns = pto_ns
        self.trace = trace
        self.state = State.HANDSHAKING
        self.over = False  # the connection no longer serves the application
        self.silent = False  # and sends nothing any more, whatever it receives
        self.ended: ConnectionEnded | None = None
        self.frame_type = 0
        self.pending = False
        self.expires_at = NEVER
        # In the closing state every 1st, 2nd, 4th, 8th … packet received is answered
        self._received = 0
        self._respond_at = 1

    def move(self, trigger: Trigger, now: int) -> None:
        """Follow the transition table."""
        old = self.state
        self.state = state = TRANSITIONS[old][trigger]
        self.over = state in ENDED
        self.silent = self.over and state is not State.CLOSING
        if self.trace is not None:
            self.trace.connection_state(now, old.value, self.state.value)

    def exception(self) -> ConnectionClosed:
        """What the application gets when it uses the connection after its end."""
        ended = self.ended
        if ended is None:
            raise RuntimeError("the connection has not ended")
        if ended.idle:
            return ConnectionClosed(0, ended.reason, idle=True)
        return ConnectionClosed(
            ended.code,
            ended.reason,
            application=ended.application,
            remote=ended.remote,
            stateless_reset=ended.stateless_reset,
        )

    def close(self, code: int, reason: str, application: bool, now: int, frame_type: int = 0) -> None:
        """End the connection from this side; does nothing if it has ended."""
        if self.over:
            return
        self.frame_type = frame_type
        self.pending = True
        self._end(
            ConnectionEnded(code, reason, application, remote=False),
            "application" if application else "error",
            now,
        )
        self.move(Trigger.CLOSE, now)
        self.expires_at = now + CLOSE_PERIOD_PTOS * self._pto_ns()

    def fail(self, error: TransportError, now: int) -> None:
        """End the connection because of what the peer sent."""
        self.close(error.code, error.reason, False, now, error.frame_type)
        if error.code == AEAD_LIMIT_REACHED:
            self.silent = True  # rfc9001:6.6:4, rfc9001:6.6:7 once told, nothing more is processed

    def abandon(self, code: int, reason: str, now: int) -> None:
        """End the connection from this side without another packet to the peer; it answers none either."""
        self.close(code, reason, False, now)
        self.pending = False
        self.silent = True

    def on_close_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """CONNECTION_CLOSE of either kind: drain, and send nothing more (rfc9000:10.2.2:1)."""
        code, position = decode_varint(payload, position)
        if frame_type == CONNECTION_CLOSE:
            self.frame_type, position = decode_varint(payload, position)
        length, position = decode_varint(payload, position)
        end = position + length
        if end > len(payload):
            raise Truncated("CONNECTION_CLOSE ends inside its reason")
        if self.state is not State.DRAINING:
            reason = payload[position:end].decode("utf-8", "replace")
            application = frame_type == APPLICATION_CLOSE
            if self.ended is None:
                trigger = "application" if application else "error"
                self._end(ConnectionEnded(code, reason, application, remote=True), trigger, packet.now)
            self._drain(packet.now)
        return len(payload)  # what follows it in the packet comes too late

    def on_packet_while_closing(self, payload: bytes, now: int) -> None:
        """Drain if the peer closes too (rfc9000:10.2.2:4); else it has not heard yet.

        Then CONNECTION_CLOSE is repeated, ever more rarely (rfc9000:10.2.1:1).
        """
        try:
            frames = decode_frames(payload)
        except TransportError:
            frames = []
        if any(isinstance(frame, ConnectionCloseFrame) for frame in frames):
            self._drain(now)
            return
        self._received += 1
        if self._received >= self._respond_at:
            self._respond_at *= 2
            self.pending = True

    def on_idle(self, now: int) -> None:
        """Nothing happened for too long: forget the connection silently (RFC 9000 section 10.1)."""
        self._end(
            ConnectionEnded(0, "idle timeout", application=False, remote=False, idle=True),
            "idle_timeout",
            now,
        )
        self.move(Trigger.EXPIRE, now)

    def on_stateless_reset(self, now: int) -> None:
        """The peer has lost the connection's state: drain, and send nothing more (rfc9000:10.3.1:5)."""
        if self.silent:
            return
        if self.ended is None:
            reason = "stateless reset: the peer does not know the connection any more"
            ended = ConnectionEnded(0, reason, application=False, remote=True, stateless_reset=True)
            self._end(ended, "stateless_reset", now)
        self._drain(now)

    def on_expired(self, now: int) -> None:
        """The closing or draining period is over."""
        self.expires_at = NEVER
        self.move(Trigger.EXPIRE, now)

    def frame(self, level: int) -> bytes:
        """The CONNECTION_CLOSE frame for a packet of `level` (rfc9000:10.2.3:6, rfc9000:10.2.3:7)."""
        ended = self.ended
        if ended is None:
            return b""
        if ended.application and level != APPLICATION:
            return encode_connection_close(APPLICATION_ERROR, 0, b"")
        # rfc9000:19.19:1 still UTF-8 when cut
        reason = ended.reason.encode()[:MAX_REASON_LENGTH].decode(errors="ignore").encode()
        return encode_connection_close(ended.code, None if ended.application else self.frame_type, reason)

    def _drain(self, now: int) -> None:
        self.pending = False
        self.move(Trigger.DRAIN, now)
        self.expires_at = now + CLOSE_PERIOD_PTOS * self._pto_ns()

    def _end(self, ended: ConnectionEnded, trigger: str, now: int) -> None:
        self.ended = ended
        self._emit(ended)
        if self.trace is not None:
            owner = "remote" if ended.remote else "local"
            code = None if ended.idle or ended.stateless_reset else ended.code
            self.trace.connection_closed(now, owner, code, ended.application, ended.reason, trigger)
