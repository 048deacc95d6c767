"""All streams of a connection: numbers, limits, frames about streams, application verbs (RFC 9000 sections 2 to 4)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.config import Config
from stack.control import ControlFrames
from stack.errors import (
    FRAME_ENCODING_ERROR,
    STREAM_LIMIT_ERROR,
    STREAM_STATE_ERROR,
    StreamError,
    StreamReset,
    TransportError,
)
from stack.events import (
    ConnectionEvent,
    StreamOpened,
    StreamReadable,
    StreamsAvailable,
    StreamSent,
    StreamWritable,
)
from stack.ranges import RangeSet
from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.flow import ConnectionFlow
from stack.streams.receive import ReceiveState, ReceiveStream
from stack.streams.scheduler import Scheduler
from stack.streams.send import LEAST_URGENT, SendStream
from stack.streams.trace import StreamTrace
from stack.wire.frames import (
    STREAM_FIN,
    STREAM_LEN,
    STREAM_OFF,
    encode_max_stream_data,
    encode_max_streams,
    encode_reset_stream,
    encode_stop_sending,
    encode_stream_data_blocked,
    encode_streams_blocked,
)
from stack.wire.parameters import MAX_STREAMS, TransportParameters
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

SERVER_INITIATED: Final = 1  # bit 0 of a stream ID
UNIDIRECTIONAL: Final = 2  # bit 1

# Kinds of control frames, the low bits of their key; the rest is a stream ID, or a stream type for the last two
_MAX_STREAM_DATA: Final = 0
_RESET_STREAM: Final = 1
_STOP_SENDING: Final = 2
_STREAM_DATA_BLOCKED: Final = 3
_MAX_STREAMS: Final = 4
_STREAMS_BLOCKED: Final = 5


class Stream:
    """Both parts of a stream; a unidirectional one has only the part that exists here."""

    __slots__ = ("receive", "send", "stop_code", "stream_id")

    def __init__(self, stream_id: int, send: SendStream | None, receive: ReceiveStream | None) -> None:
        self.stream_id = stream_id
        self.send = send
        self.receive = receive
        self.stop_code = 0

    @property
    def finished(self) -> bool:
        """Whether both parts reached a terminal state."""
        return (self.send is None or self.send.finished) and (self.receive is None or self.receive.finished)


class PeerStreams:
    """The streams of one type that the peer opens: which were used, and how many more it may open.

    Skipped IDs are ranges, so that jumping to the last one allowed costs nothing.
    """

    __slots__ = ("closed", "limit", "next_index", "size", "skipped")

    def __init__(self, size: int) -> None:
        self.size = size  # streams that may be open at a time
        self.limit = size  # as announced
        self.closed = 0
        self.next_index = 0
        self.skipped = RangeSet()

    def open(self, index: int, frame_type: int) -> bool:
        """Note that stream number `index` is in use; false if it was, and is finished."""
        if index >= self.limit:
            # rfc9000:4.6:3
            raise TransportError(STREAM_LIMIT_ERROR, f"stream number {index}, limit {self.limit}", frame_type)
        if index >= self.next_index:
            if index > self.next_index:
                self.skipped.add(self.next_index, index)
            self.next_index = index + 1
            return True
        if index in self.skipped:
            self.skipped.subtract(index, index + 1)
            return True
        return False

    def on_closed(self) -> bool:
        """A stream ended; return whether a higher limit is worth a frame."""
        self.closed += 1
        return 2 * (self.closed + self.size - self.limit) >= self.size

    def next_limit(self) -> int:
        """Raise the limit by what has ended."""
        self.limit = min(self.closed + self.size, MAX_STREAMS)
        return self.limit


class StreamTable:
    """The streams of one connection. Finished streams are forgotten."""

    __slots__ = (
        "_config",
        "_control",
        "_emit",
        "_is_client",
        "_local_limits",
        "_local_next",
        "_peer_parameters",
        "_peer_streams",
        "_stats",
        "flow",
        "scheduler",
        "streams",
        "trace",
    )

    def __init__(
        self,
        config: Config,
        is_client: bool,
        control: ControlFrames,
        emit: Callable[[ConnectionEvent], None],
        stats: ConnectionStats,
        trace: StreamTrace | None = None,
    ) -> None:
        self.trace = trace
        self._config = config
        self._is_client = is_client
        self._control = control
        self._emit = emit
        self._stats = stats
        self.flow = ConnectionFlow(config.initial_max_data, control, trace)
        self.scheduler = Scheduler(self.flow, stats)
        self.streams: dict[int, Stream] = {}
        # By type: 0 bidirectional, 2 unidirectional
        self._peer_streams = {
            0: PeerStreams(config.initial_max_streams_bidi),
            UNIDIRECTIONAL: PeerStreams(config.initial_max_streams_uni),
        }
        self._local_next = {0: 0, UNIDIRECTIONAL: 0}
        self._local_limits = {0: 0, UNIDIRECTIONAL: 0}
        self._peer_parameters = TransportParameters()

    def set_peer_parameters(self, parameters: TransportParameters) -> None:
        """The peer's limits are known (rfc9000:4.1:1, rfc9000:4.6:2)."""
        self._peer_parameters = parameters
        self.flow.peer_limit = max(self.flow.peer_limit, parameters.initial_max_data)
        self._raise_local_limit(0, parameters.initial_max_streams_bidi)
        self._raise_local_limit(UNIDIRECTIONAL, parameters.initial_max_streams_uni)

    # Application verbs

    def open(self, unidirectional: bool) -> int | None:
        """Open a stream; None at the peer's limit (rfc9000:2.1:1, rfc9000:4.6:2)."""
        kind = UNIDIRECTIONAL if unidirectional else 0
        index = self._local_next[kind]
        if index >= self._local_limits[kind]:
            self._control.owe(self, kind << 3 | _STREAMS_BLOCKED)  # rfc9000:4.6:5
            return None
        self._local_next[kind] = index + 1
        stream_id = index << 2 | kind | (0 if self._is_client else SERVER_INITIATED)
        parameters, config = self._peer_parameters, self._config
        if unidirectional:
            send = SendStream(stream_id, parameters.initial_max_stream_data_uni, self)
            self.streams[stream_id] = Stream(stream_id, send, None)
        else:
            send = SendStream(stream_id, parameters.initial_max_stream_data_bidi_remote, self)
            receive = ReceiveStream(stream_id, config.initial_max_stream_data_bidi_local, self.trace)
            self.streams[stream_id] = Stream(stream_id, send, receive)
        return stream_id

    def write(self, stream_id: int, data: bytes | memoryview, end: bool) -> int:
        """Take data for sending, at most what `send_buffer` leaves room for; return how many bytes."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        send = stream.send
        taken = send.write(data, end, max(self._config.send_buffer - send.buffer.held, 0))
        self.queue(send)
        return taken

    def read(self, stream_id: int, limit: int | None) -> tuple[bytes, bool]:
        """Give out data in order, and whether that was the last of it."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.receive is None:
            raise StreamError(f"stream {stream_id} is not open for reading")
        receive = stream.receive
        if receive.state is ReceiveState.RESET_RECVD:
            receive.read_reset()
            self._forget_if_finished(stream)
            raise StreamReset(stream_id, receive.reset_code)
        data = receive.read(limit)
        if data:
            self._on_consumed(receive, len(data))
        if receive.finished:
            self._forget_if_finished(stream)
            return data, True
        return data, False

    def reset(self, stream_id: int, code: int) -> None:
        """Give up sending with RESET_STREAM."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        if stream.send.reset(code):
            self._control.owe(self, stream_id << 3 | _RESET_STREAM)

    def set_priority(self, stream_id: int, urgency: int, incremental: bool) -> None:
        """Say when a stream sends, compared with the others."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        if not 0 <= urgency <= LEAST_URGENT:
            raise StreamError(f"stream {stream_id}: urgency {urgency} must be from 0 to {LEAST_URGENT}")
        self.scheduler.set_priority(stream.send, urgency, incremental)

    def stop_sending(self, stream_id: int, code: int) -> None:
        """Ask the peer to stop, and forget what arrives (rfc9000:3.5:1)."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.receive is None:
            raise StreamError(f"stream {stream_id} is not open for reading")
        receive = stream.receive
        if receive.state is ReceiveState.RESET_RECVD:
            receive.read_reset()
        before = receive.consumed
        receive.discard()
        self._on_consumed(receive, receive.consumed - before)
        stream.stop_code = code
        if receive.open:
            self._control.owe(self, stream_id << 3 | _STOP_SENDING)
        self._forget_if_finished(stream)

    # Frames

    def on_stream_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """STREAM (RFC 9000 section 19.8)."""
        stream_id, position = decode_varint(payload, position)
        offset = 0
        if frame_type & STREAM_OFF:
            offset, position = decode_varint(payload, position)
        end = len(payload)
        if frame_type & STREAM_LEN:
            length, position = decode_varint(payload, position)
            if position + length > end:
                raise Truncated("STREAM ends inside its data")
            end = position + length
        data = payload[position:end]
        if offset > MAX_VARINT - len(data):
            # rfc9000:19.8:2
            raise TransportError(FRAME_ENCODING_ERROR, f"stream {stream_id}: offset above 2^62-1", frame_type)
        stream = self.streams.get(stream_id) or self._unknown_stream(stream_id, frame_type)
        if stream is None:
            return end
        receive = stream.receive
        if receive is None:
            raise self._wrong_direction(stream_id, frame_type)  # rfc9000:19.8:1
        before = receive.consumed
        new, news = receive.on_data(offset, data, bool(frame_type & STREAM_FIN), frame_type)
        if new:
            self.flow.on_received(new, frame_type)
            self._stats.stream_bytes_received += new
        if news:
            if not receive.announced:
                receive.announced = True
                self._emit(StreamReadable(stream_id))
        elif receive.discarding:
            self._on_consumed(receive, receive.consumed - before)
            self._forget_if_finished(stream)
        return end

    def on_reset_stream_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """RESET_STREAM (RFC 9000 section 19.4)."""
        stream_id, position = decode_varint(payload, position)
        code, position = decode_varint(payload, position)
        final_size, position = decode_varint(payload, position)
        stream = self.streams.get(stream_id) or self._unknown_stream(stream_id, frame_type)
        if stream is None:
            return position
        receive = stream.receive
        if receive is None:
            raise self._wrong_direction(stream_id, frame_type)  # rfc9000:19.4:1
        new, news = receive.on_reset(code, final_size, frame_type)
        self.flow.on_received(new, frame_type)  # rfc9000:4.5:1
        self.flow.on_consumed(final_size - receive.consumed if news else new)
        if news:
            if receive.discarding:
                receive.read_reset()
                self._forget_if_finished(stream)
            else:
                receive.announced = True
                self._emit(StreamReadable(stream_id))
        return position

    def on_stop_sending_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """STOP_SENDING: answered with RESET_STREAM of the same code (rfc9000:3.5:2, rfc9000:3.5:5)."""
        stream_id, position = decode_varint(payload, position)
        code, position = decode_varint(payload, position)
        stream = self._sending(stream_id, frame_type)
        if stream is not None and stream.send is not None and stream.send.reset(code):
            stream.send.stop_code = code
            self._control.owe(self, stream_id << 3 | _RESET_STREAM)
            self._emit(StreamWritable(stream_id))
        return position

    def on_max_stream_data_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_STREAM_DATA (RFC 9000 section 19.10)."""
        stream_id, position = decode_varint(payload, position)
        limit, position = decode_varint(payload, position)
        stream = self._sending(stream_id, frame_type)
        if stream is not None and stream.send is not None and limit > stream.send.max_data:
            stream.send.max_data = limit
            self.scheduler.queue(stream.send)
        return position

    def on_stream_data_blocked_frame(
        self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket"
    ) -> int:
        """STREAM_DATA_BLOCKED: checked, and otherwise for information (rfc9000:4.2:2)."""
        stream_id, position = decode_varint(payload, position)
        _, position = decode_varint(payload, position)
        stream = self.streams.get(stream_id) or self._unknown_stream(stream_id, frame_type)
        if stream is not None and stream.receive is None:
            raise self._wrong_direction(stream_id, frame_type)  # rfc9000:19.13:2
        return position

    def on_max_data_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_DATA: streams held back by the connection's limit may go on."""
        position = self.flow.on_max_data_frame(payload, position, frame_type, packet)
        self.scheduler.on_credit()
        return position

    def on_max_streams_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_STREAMS, 0x12 bidirectional or 0x13 unidirectional (RFC 9000 section 19.11)."""
        limit, position = self._stream_count(payload, position, frame_type)
        self._raise_local_limit((frame_type & 1) << 1, limit)
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

    # What the parts report

    def queue(self, stream: SendStream) -> None:
        """`stream` may have something to send."""
        self.scheduler.queue(stream)

    def on_stream_blocked(self, stream: SendStream) -> None:
        """`stream` reached the peer's limit with data left (rfc9000:19.13:1)."""
        self._control.owe(self, stream.stream_id << 3 | _STREAM_DATA_BLOCKED)
        if self.trace is not None:
            self.trace.blocked(stream.stream_id, stream.max_data)

    def on_send_room(self, stream: SendStream) -> None:
        """Acknowledgments made room for a write that had to wait; told when an eighth of the buffer is free.

        Sooner would wake the application for crumbs; later, with a window near the buffer's size, would starve it.
        """
        if 8 * stream.buffer.held <= 7 * self._config.send_buffer:
            stream.wants_writable = False
            self._emit(StreamWritable(stream.stream_id))

    def on_send_finished(self, stream: SendStream) -> None:
        """Everything written, or the reset, was acknowledged."""
        if stream.reset_code is None:
            self._emit(StreamSent(stream.stream_id))
        self._forget_if_finished(self.streams[stream.stream_id])

    # Control frames

    def write_frame(self, key: int) -> bytes:
        """The control frame for `key` with today's values."""
        stream_id, kind = key >> 3, key & 7
        if kind == _MAX_STREAMS:
            return encode_max_streams(self._peer_streams[stream_id].next_limit(), bool(stream_id))
        if kind == _STREAMS_BLOCKED:
            if self._local_next[stream_id] < self._local_limits[stream_id]:
                return b""
            return encode_streams_blocked(self._local_limits[stream_id], bool(stream_id))
        stream = self.streams.get(stream_id)
        if stream is None:
            return b""
        send, receive = stream.send, stream.receive
        if kind == _RESET_STREAM and send is not None and send.reset_code is not None:
            return encode_reset_stream(stream_id, send.reset_code, send.buffer.next_offset)
        if kind == _STREAM_DATA_BLOCKED and send is not None and send.blocked():
            return encode_stream_data_blocked(stream_id, send.max_data)
        if receive is None:
            return b""
        if kind == _MAX_STREAM_DATA and receive.state is ReceiveState.RECV:
            return encode_max_stream_data(stream_id, receive.window.next_limit())
        if kind == _STOP_SENDING and receive.open:
            return encode_stop_sending(stream_id, stream.stop_code)
        return b""

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """A control frame arrived; only RESET_STREAM moves a stream."""
        if sent[1] & 7 == _RESET_STREAM:
            stream = self.streams.get(sent[1] >> 3)
            if stream is not None and stream.send is not None:
                stream.send.on_reset_acked()

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Owe it again; `write_frame` decides whether it still matters."""
        self._control.owe(self, sent[1])

    # Inside

    def _unknown_stream(self, stream_id: int, frame_type: int, about_sending: bool = False) -> Stream | None:
        """The stream of an ID not in the table: a new one of the peer's, or None if it is finished.

        `about_sending`: the frame is about our sending part, which a unidirectional stream of the peer's lacks, as
        one of ours lacks a receiving part.
        """
        kind = stream_id & UNIDIRECTIONAL
        is_local = bool(stream_id & SERVER_INITIATED) != self._is_client
        if kind and is_local != about_sending:
            raise self._wrong_direction(stream_id, frame_type)
        if is_local:
            if stream_id >> 2 >= self._local_next[kind]:
                # rfc9000:19.8:1
                raise TransportError(STREAM_STATE_ERROR, f"stream {stream_id} is not open", frame_type)
            return None
        if not self._peer_streams[kind].open(stream_id >> 2, frame_type):
            return None
        config = self._config
        if kind == UNIDIRECTIONAL:
            stream = Stream(stream_id, None, ReceiveStream(stream_id, config.initial_max_stream_data_uni, self.trace))
        else:
            send = SendStream(stream_id, self._peer_parameters.initial_max_stream_data_bidi_local, self)
            receive = ReceiveStream(stream_id, config.initial_max_stream_data_bidi_remote, self.trace)
            stream = Stream(stream_id, send, receive)
        self.streams[stream_id] = stream
        self._emit(StreamOpened(stream_id))
        return stream

    def _sending(self, stream_id: int, frame_type: int) -> Stream | None:
        """The stream that a frame about our sending part names; None if it is finished."""
        stream = self.streams.get(stream_id) or self._unknown_stream(stream_id, frame_type, about_sending=True)
        if stream is not None and stream.send is None:
            raise self._wrong_direction(stream_id, frame_type)  # rfc9000:19.5:2, rfc9000:19.10:2
        return stream

    def _wrong_direction(self, stream_id: int, frame_type: int) -> TransportError:
        has_sending_part = bool(stream_id & SERVER_INITIATED) != self._is_client
        kind = "send-only" if has_sending_part else "receive-only"
        return TransportError(STREAM_STATE_ERROR, f"stream {stream_id} is {kind}", frame_type)

    def _raise_local_limit(self, kind: int, limit: int) -> None:
        if limit > self._local_limits[kind]:  # rfc9000:4.6:4
            self._local_limits[kind] = limit
            self._emit(StreamsAvailable(bool(kind)))

    def _on_consumed(self, receive: ReceiveStream, count: int) -> None:
        self.flow.on_consumed(count)
        if receive.state is ReceiveState.RECV and receive.window.wants_update():
            self._control.owe(self, receive.stream_id << 3 | _MAX_STREAM_DATA)

    def _forget_if_finished(self, stream: Stream) -> None:
        stream_id = stream.stream_id
        if not stream.finished or self.streams.pop(stream_id, None) is None:
            return
        if bool(stream_id & SERVER_INITIATED) == self._is_client:
            kind = stream_id & UNIDIRECTIONAL
            if self._peer_streams[kind].on_closed():
                self._control.owe(self, kind << 3 | _MAX_STREAMS)
