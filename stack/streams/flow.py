"""Flow control: what the peer may send us and what we may send (RFC 9000 section 4)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.control import ControlFrames
from stack.errors import FLOW_CONTROL_ERROR, INTERNAL_ERROR, TransportError
from stack.limits import BYTES_PER_PIECE, MAX_PIECES
from stack.sent_frame import SentFrame
from stack.streams.trace import StreamTrace
from stack.wire.frames import encode_data_blocked, encode_max_data
from stack.wire.varint import decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket
    from stack.path.path import Path

# Keys of the control frames that the connection's flow control sends
MAX_DATA_KEY: Final = 0
DATA_BLOCKED_KEY: Final = 1

# Round trips within which half a window must be consumed for the window to double. A sender that is never held back
# sends a window's half in half a round trip where the window is just the path's capacity: growth stops when the window
# is four times that.
GROWTH_RTTS: Final = 2


class ReceiveWindow:
    """How far a peer may send: on one stream, or over all streams of a connection.

    `limit` is what was announced, `received` the highest offset (or sum of them) seen, `consumed` what the application
    took. The window slides when half of it is consumed, so that updates are few and a sender never waits for them, and
    grows while that happens fast: a slow reader's never does.
    """

    __slots__ = ("_largest", "_slid_at", "consumed", "limit", "received", "size")

    def __init__(self, size: int, largest: int = 0) -> None:
        """`size` in bytes at the beginning, and the `largest` that it may grow to."""
        self.size = size
        self._largest = largest
        self._slid_at: int | None = None
        self.limit = size
        self.received = 0
        self.consumed = 0

    def wants_update(self) -> bool:
        """Whether the application has consumed enough for a new limit to be worth a frame (RFC 9000 section 4.2)."""
        return 2 * (self.limit - self.consumed) <= self.size

    def next_limit(self, now: int, rtt_ns: int) -> int:
        """Slide the window to what is consumed, larger if it was in the way, and return the limit to announce."""
        if self.wants_update():  # not so when a lost frame goes again
            slid_at, self._slid_at = self._slid_at, now
            if slid_at is not None and now - slid_at < GROWTH_RTTS * rtt_ns:
                self.grow(2 * self.size)
        self.limit = self.consumed + self.size
        return self.limit

    def grow(self, size: int) -> None:
        """Be `size` large from the next limit on, within the largest."""
        self.size = max(self.size, min(size, self._largest))


class ConnectionFlow:
    """Flow control over all streams: both directions, and the frames that move them."""

    __slots__ = ("_control", "_current_path", "_trace", "blocked_at", "peer_limit", "sent", "window")

    def __init__(
        self,
        window: ReceiveWindow,
        control: ControlFrames,
        current_path: Callable[[], "Path"],
        trace: StreamTrace | None = None,
    ) -> None:
        """`window`: what the peer may send; `current_path` tells the round-trip time, by which windows grow."""
        self._trace = trace
        self.window = window
        self._control = control
        self._current_path = current_path
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

    def check_pieces(self, count: int, frame_type: int) -> None:
        """Refuse data whose `count` pieces that wait on all streams are far smaller than packets (rfc9000:21.7:1)."""
        if count > MAX_PIECES + self.window.size // BYTES_PER_PIECE:
            raise TransportError(INTERNAL_ERROR, "streams in too many pieces", frame_type)

    def on_consumed(self, count: int) -> None:
        """The application took `count` bytes, or they will never be read."""
        window = self.window
        window.consumed += count
        if window.wants_update():
            self._control.owe(self, MAX_DATA_KEY)

    def next_stream_limit(self, window: ReceiveWindow) -> int:
        """Slide a stream's window; should it grow, the connection's stays half as large again, for other streams."""
        size = window.size
        limit = window.next_limit(self._control.now, self._current_path().rtt.smoothed_rtt_ns)
        if window.size > size:
            self.window.grow(window.size + window.size // 2)
            self.on_consumed(0)
        return limit

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

    def repeat_blocked(self) -> None:
        """Tell the peer again of the limit that blocks us."""
        self._control.owe(self, DATA_BLOCKED_KEY)

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
            return encode_max_data(self.window.next_limit(self._control.now, self._current_path().rtt.smoothed_rtt_ns))
        if self.blocked_at != self.peer_limit:
            return b""
        return encode_data_blocked(self.blocked_at)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again, with the values of then."""
        self._control.owe(self, sent[1])
