"""Flow control: what the peer may send us and what we may send (RFC 9000 section 4)."""

from typing import TYPE_CHECKING, Final

from stack.control import ControlFrames
from stack.errors import FLOW_CONTROL_ERROR, TransportError
from stack.sent_frame import SentFrame
from stack.streams.trace import StreamTrace
from stack.wire.frames import encode_data_blocked, encode_max_data
from stack.wire.varint import decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

# Keys of the control frames that the connection's flow control sends
MAX_DATA_KEY: Final = 0
DATA_BLOCKED_KEY: Final = 1


class ReceiveWindow:
    """How far a peer may send: on one stream, or over all streams of a connection.

    `limit` is what was announced, `received` the highest offset (or sum of them) seen, `consumed` what the application
    took. The window slides when half of it is consumed, so that updates are few and a sender never waits for them.
    """

    __slots__ = ("consumed", "limit", "received", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.limit = size
        self.received = 0
        self.consumed = 0

    def wants_update(self) -> bool:
        """Whether the application has consumed enough for a new limit to be worth a frame (RFC 9000 section 4.2)."""
        return 2 * (self.limit - self.consumed) <= self.size

    def next_limit(self) -> int:
        """Slide the window to what is consumed and return the limit to announce."""
        self.limit = self.consumed + self.size
        return self.limit


class ConnectionFlow:
    """Flow control over all streams: both directions, and the frames that move them."""

    __slots__ = ("_control", "_trace", "blocked_at", "peer_limit", "sent", "window")

    def __init__(self, window: int, control: ControlFrames, trace: StreamTrace | None = None) -> None:
        self._trace = trace
        self.window = ReceiveWindow(window)
        self._control = control
        self.peer_limit = 0  # what the peer lets us send, known with its transport parameters
        self.sent = 0
        self.blocked_at = -1

    def on_received(self, count: int, frame_type: int) -> None:
        """`count` new bytes of some stream arrived (rfc9000:4.1:2)."""
        window = self.window
        window.received += count
        if window.received > window.limit:
            raise TransportError(
                FLOW_CONTROL_ERROR,
                f"{window.received} bytes on all streams, limit {window.limit}",
                frame_type,
            )

    def on_consumed(self, count: int) -> None:
        """The application took `count` bytes, or they will never be read."""
        window = self.window
        window.consumed += count
        if window.wants_update():
            self._control.owe(self, MAX_DATA_KEY)

    def available(self) -> int:
        """Bytes that may still be sent on all streams together."""
        return self.peer_limit - self.sent

    def on_blocked(self) -> None:
        """There is data but no credit: say so once per limit (rfc9000:4.1:4)."""
        if self.blocked_at == self.peer_limit:
            return
        self.blocked_at = self.peer_limit
        self._control.owe(self, DATA_BLOCKED_KEY)
        if self._trace is not None:
            self._trace.blocked(None, self.peer_limit)

    def on_max_data_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_DATA: the limit only ever grows (rfc9000:4.1:3)."""
        limit, position = decode_varint(payload, position)
        if limit > self.peer_limit:
            self.peer_limit = limit
        return position

    def on_data_blocked_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """DATA_BLOCKED: for information; the window slides as the application reads."""
        return decode_varint(payload, position)[1]

    def write_frame(self, key: int) -> bytes:
        """MAX_DATA or DATA_BLOCKED with today's values."""
        if key == MAX_DATA_KEY:
            return encode_max_data(self.window.next_limit())
        if self.blocked_at != self.peer_limit:
            return b""
        return encode_data_blocked(self.blocked_at)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again, with the values of then."""
        self._control.owe(self, sent[1])
