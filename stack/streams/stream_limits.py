"""How many streams either side may open, and the frames about that (RFC 9000 sections 4.6, 19.11, 19.14)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stack.control import ControlFrames
from stack.errors import FRAME_ENCODING_ERROR, STREAM_LIMIT_ERROR, TransportError
from stack.events import ConnectionEvent, StreamsAvailable
from stack.ranges import RangeSet
from stack.sent_frame import SentFrame
from stack.streams.stream import UNIDIRECTIONAL
from stack.wire.frames import encode_max_streams, encode_streams_blocked
from stack.wire.parameters import MAX_STREAMS
from stack.wire.varint import decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket


class LocalStreams:
    """The streams of one type that we open: how many there were, and how many the peer allows."""

    __slots__ = ("blocked", "limit", "next_index")

    def __init__(self) -> None:
        self.blocked = False  # one more was wanted since the limit rose
        self.next_index = 0
        self.limit = 0  # known with the peer's transport parameters


class PeerStreams:
    """The streams of one type that the peer opens: how many there were, and how many more it may open.

    Those that are open and have no state yet are ranges, so that jumping to the last one allowed costs nothing.
    """

    __slots__ = ("closed", "limit", "next_index", "size", "untouched")

    def __init__(self, size: int) -> None:
        self.size = size  # streams that may be open at a time
        self.limit = size  # as announced
        self.closed = 0
        self.next_index = 0
        self.untouched = RangeSet()

    def open(self, index: int, frame_type: int) -> int:
        """Open stream number `index` and those below it; return how many that were (rfc9000:3.2:1)."""
        if index >= self.limit:
            # rfc9000:4.6:3
            raise TransportError(STREAM_LIMIT_ERROR, f"stream number {index}, limit {self.limit}", frame_type)
        first, end = self.next_index, index + 1
        if first >= end:
            return 0
        self.untouched.add(first, end)
        self.next_index = end
        return end - first

    def touch(self, index: int) -> bool:
        """Whether stream number `index` is open and gets its state now; not so if it has it, or had."""
        if index not in self.untouched:
            return False
        self.untouched.subtract(index, index + 1)
        return True

    def on_closed(self) -> bool:
        """A stream ended; return whether a higher limit is worth a frame."""
        self.closed += 1
        return 2 * (self.closed + self.size - self.limit) >= self.size

    def next_limit(self) -> int:
        """Raise the limit by what has ended."""
        self.limit = min(self.closed + self.size, MAX_STREAMS)
        return self.limit


class StreamLimits:
    """Counts and limits of both types of streams: 0 bidirectional, UNIDIRECTIONAL.

    It owns MAX_STREAMS, whose key is the type, and STREAMS_BLOCKED, whose key has the lowest bit set too.
    """

    __slots__ = ("_control", "_emit", "blocked", "local", "peer")

    def __init__(
        self, bidirectional: int, unidirectional: int, control: ControlFrames, emit: Callable[[ConnectionEvent], None]
    ) -> None:
        """`bidirectional` and `unidirectional`: how many streams the peer may have open at a time."""
        self._control = control
        self._emit = emit
        self.blocked = False  # whether the application waits for the peer to allow one more stream
        self.local = {0: LocalStreams(), UNIDIRECTIONAL: LocalStreams()}
        self.peer = {0: PeerStreams(bidirectional), UNIDIRECTIONAL: PeerStreams(unidirectional)}

    def take_local(self, kind: int) -> int | None:
        """The number of the next stream of ours; None at the peer's limit (rfc9000:4.6:2)."""
        local = self.local[kind]
        index = local.next_index
        if index >= local.limit:
            if not local.blocked:  # once per limit
                local.blocked = self.blocked = True
                self._control.owe(self, kind | 1)  # rfc9000:4.6:5
            return None
        local.next_index = index + 1
        return index

    def raise_local_limit(self, kind: int, limit: int) -> None:
        """The peer lets us open `limit` streams since the connection began."""
        local = self.local[kind]
        if limit > local.limit:  # rfc9000:4.6:4
            local.limit = limit
            local.blocked = False
            self.blocked = self.local[0].blocked or self.local[UNIDIRECTIONAL].blocked
            self._emit(StreamsAvailable(bool(kind)))

    def repeat_blocked(self) -> None:
        """Tell the peer again of a limit that blocks us."""
        self._control.owe(self, (0 if self.local[0].blocked else UNIDIRECTIONAL) | 1)

    def on_peer_stream_closed(self, kind: int) -> None:
        """A stream that the peer had opened is finished: it may open another (rfc9000:4.6:6)."""
        if self.peer[kind].on_closed():
            self._control.owe(self, kind)

    # Frames

    def on_max_streams_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_STREAMS, 0x12 bidirectional or 0x13 unidirectional (RFC 9000 section 19.11)."""
        limit, position = self._stream_count(payload, position, frame_type)
        self.raise_local_limit((frame_type & 1) << 1, limit)
        return position

    def on_streams_blocked_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """STREAMS_BLOCKED: checked; credit comes as streams end (rfc9000:4.6:6)."""
        return self._stream_count(payload, position, frame_type)[1]

    @staticmethod
    def _stream_count(payload: bytes, position: int, frame_type: int) -> tuple[int, int]:
        count, position = decode_varint(payload, position)
        if count > MAX_STREAMS:
            # rfc9000:19.11:1, rfc9000:19.14:2
            raise TransportError(FRAME_ENCODING_ERROR, f"{count} streams are more than 2^60", frame_type)
        return count, position

    def write_frame(self, key: int) -> bytes:
        """MAX_STREAMS or STREAMS_BLOCKED with today's values."""
        kind = key & UNIDIRECTIONAL
        if key == kind:
            return encode_max_streams(self.peer[kind].next_limit(), bool(kind))
        local = self.local[kind]
        if not local.blocked:
            return b""
        return encode_streams_blocked(local.limit, bool(kind))

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again, with the values of then."""
        self._control.owe(self, sent[1])
