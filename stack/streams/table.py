"""All streams of a connection: application verbs, and what streams send beside data (RFC 9000 sections 2 to 4)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.config import Config
from stack.control import ControlFrames
from stack.errors import (
    STREAM_STATE_ERROR,
    StreamError,
    StreamReset,
    TransportError,
)
from stack.events import (
    ConnectionEvent,
    StreamOpened,
    StreamSent,
    StreamWritable,
)
from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.flow import ConnectionFlow, ReceiveWindow
from stack.streams.reassembly import Pieces
from stack.streams.receive import ReceiveState, ReceiveStream
from stack.streams.received_frames import ReceivedFrames
from stack.streams.reliable_reset import ReliableReset
from stack.streams.scheduler import Scheduler
from stack.streams.send import LEAST_URGENT, SendState, SendStream
from stack.streams.stream import SERVER_INITIATED, UNIDIRECTIONAL, Stream
from stack.streams.stream_limits import StreamLimits
from stack.streams.trace import StreamTrace
from stack.wire.frames import (
    encode_max_stream_data,
    encode_reset_stream,
    encode_stop_sending,
    encode_stream_data_blocked,
)
from stack.wire.parameters import TransportParameters

if TYPE_CHECKING:
    from stack.path.path import Path

# Kinds of control frames, the low bits of their key; the rest is the stream ID
_MAX_STREAM_DATA: Final = 0
_RESET_STREAM: Final = 1
_STOP_SENDING: Final = 2
_STREAM_DATA_BLOCKED: Final = 3


class StreamTable:
    """The streams of one connection. Finished streams are forgotten."""

    __slots__ = (
        "_blocked",
        "_config",
        "_control",
        "_current_path",
        "_emit",
        "_is_client",
        "_peer_parameters",
        "flow",
        "limits",
        "pieces",
        "received",
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
        current_path: Callable[[], "Path"],
        trace: StreamTrace | None = None,
    ) -> None:
        self.trace = trace
        self._config = config
        self._is_client = is_client
        self._control = control
        self._emit = emit
        self._current_path = current_path
        window = ReceiveWindow(config.initial_max_data, config.max_data_window)
        self.flow = ConnectionFlow(window, control, current_path, trace)
        self.scheduler = Scheduler(self.flow, stats)
        self._blocked: dict[int, SendStream] = {}  # those whose new data the peer's stream limit forbids
        self.pieces = Pieces()  # beyond gaps, on all streams
        self.streams: dict[int, Stream] = {}
        self.limits = StreamLimits(config.initial_max_streams_bidi, config.initial_max_streams_uni, control, emit)
        self.received = ReceivedFrames(self, emit, stats)
        self._peer_parameters = TransportParameters()

    def set_peer_parameters(self, parameters: TransportParameters) -> None:
        """The peer's limits are known (rfc9000:4.1:1, rfc9000:4.6:2)."""
        self._peer_parameters = parameters
        self.flow.peer_limit = max(self.flow.peer_limit, parameters.initial_max_data)
        self.limits.raise_local_limit(0, parameters.initial_max_streams_bidi)
        self.limits.raise_local_limit(UNIDIRECTIONAL, parameters.initial_max_streams_uni)
        # Streams that were opened with what was remembered of an earlier connection
        for send in [stream.send for stream in self.streams.values() if stream.send is not None]:
            if send.stream_id & SERVER_INITIATED != self._is_client:
                send.max_data = max(send.max_data, self._limit_of(send.stream_id))
                self.queue(send)
        self.scheduler.on_credit()

    def _limit_of(self, stream_id: int) -> int:
        """How much the peer lets us send at first on a stream that we open."""
        parameters = self._peer_parameters
        if stream_id & UNIDIRECTIONAL:
            return parameters.initial_max_stream_data_uni
        return parameters.initial_max_stream_data_bidi_remote

    # Application verbs

    def open(self, unidirectional: bool) -> int | None:
        """Open a stream; None at the peer's limit (rfc9000:2.1:1, rfc9000:4.6:2)."""
        kind = UNIDIRECTIONAL if unidirectional else 0
        index = self.limits.take_local(kind)
        if index is None:
            return None
        stream_id = index << 2 | kind | (0 if self._is_client else SERVER_INITIATED)
        send = SendStream(stream_id, self._limit_of(stream_id), self)
        receive = None
        if not unidirectional:
            receive = self._receive_stream(stream_id, self._config.initial_max_stream_data_bidi_local)
        self.streams[stream_id] = Stream(stream_id, send, receive)
        return stream_id

    def write(self, stream_id: int, data: bytes | memoryview, end: bool) -> int:
        """Take data for sending, at most what the send buffer leaves room for; return how many bytes."""
        stream = self._find(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        send = stream.send
        offset = send.buffer.written
        taken = send.write(data, end, self._send_buffer())
        if self.trace is not None:
            self.trace.data(stream_id, "sending", offset, bytes(data[:taken]), end and taken == len(data))
        self.queue(send)
        return taken

    def _send_buffer(self) -> int:
        """Bytes that a stream may hold: two congestion windows, one in flight and one to follow, within the limits."""
        config = self._config
        window = self._current_path().congestion.congestion_window
        return max(config.send_buffer, min(2 * window, config.max_send_buffer))

    def read(self, stream_id: int, limit: int | None) -> tuple[bytes, bool]:
        """Give out data in order, and whether that was the last of it."""
        stream = self._find(stream_id)
        if stream is None or stream.receive is None:
            raise StreamError(f"stream {stream_id} is not open for reading")
        receive = stream.receive
        if receive.state is ReceiveState.RESET_RECVD:
            receive.read_reset()
            self.forget_if_finished(stream)
            raise StreamReset(stream_id, receive.reset_code)
        before = receive.consumed
        data = receive.read(limit)
        if data:
            self.on_consumed(receive, len(data))
        elif receive.cut_short:
            receive.read_reset()
            self.on_consumed(receive, receive.consumed - before)
            self.forget_if_finished(stream)
            raise StreamReset(stream_id, receive.reset_code)
        finished = receive.finished
        if self.trace is not None and (data or finished) and not receive.discarding:
            self.trace.data(stream_id, "receiving", before, data, finished)
        if finished:
            self.forget_if_finished(stream)
        return data, finished

    def reset(self, stream_id: int, code: int, reliable_size: int = 0) -> None:
        """Give up sending with RESET_STREAM, or RESET_STREAM_AT if `reliable_size` bytes are to arrive all the same."""
        stream = self._find(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        if reliable_size:
            self._reset_reliably(stream.send, code, reliable_size)
        else:
            self.reset_sending(stream.send, code)

    def set_priority(self, stream_id: int, urgency: int, incremental: bool) -> None:
        """Say when a stream sends, compared with the others."""
        stream = self._find(stream_id)
        if stream is None or stream.send is None:
            raise StreamError(f"stream {stream_id} is not open for writing")
        if not 0 <= urgency <= LEAST_URGENT:
            raise StreamError(f"stream {stream_id}: urgency {urgency} must be from 0 to {LEAST_URGENT}")
        self.scheduler.set_priority(stream.send, urgency, incremental)

    def stop_sending(self, stream_id: int, code: int) -> None:
        """Ask the peer to stop, and forget what arrives (rfc9000:3.5:1)."""
        stream = self._find(stream_id)
        if stream is None or stream.receive is None:
            raise StreamError(f"stream {stream_id} is not open for reading")
        receive = stream.receive
        if receive.state is ReceiveState.RESET_RECVD:
            receive.read_reset()
        before = receive.consumed
        receive.discard()
        self.on_consumed(receive, receive.consumed - before)
        stream.stop_code = code
        if receive.open:
            self._control.owe(self, stream_id << 3 | _STOP_SENDING)
        self.forget_if_finished(stream)

    # What the parts report

    def queue(self, stream: SendStream) -> None:
        """`stream` may have something to send."""
        self.scheduler.queue(stream)

    def on_stream_blocked(self, stream: SendStream) -> None:
        """`stream` reached the peer's limit with data left (rfc9000:19.13:1)."""
        self._blocked[stream.stream_id] = stream
        self._control.owe(self, stream.stream_id << 3 | _STREAM_DATA_BLOCKED)
        if self.trace is not None:
            self.trace.blocked(stream.stream_id, stream.max_data)

    def on_stream_credit(self, stream: SendStream) -> None:
        """The peer raised the limit of `stream`."""
        self._blocked.pop(stream.stream_id, None)
        self.scheduler.queue(stream)

    @property
    def blocked(self) -> bool:
        """Whether a limit of the peer's holds back data, or a stream that the application wants to open."""
        return bool(self._blocked or self.scheduler.held_back or self.limits.blocked)

    def repeat_blocked(self) -> None:
        """Tell the peer again of one limit that blocks us; it knows of all, and one frame shows that we still wait."""
        if self.scheduler.held_back:
            self.flow.repeat_blocked()
        elif self._blocked:
            self._control.owe(self, next(iter(self._blocked)) << 3 | _STREAM_DATA_BLOCKED)
        else:
            self.limits.repeat_blocked()

    def on_send_room(self, stream: SendStream) -> None:
        """Acknowledgments made room for a write that had to wait."""
        self._emit(StreamWritable(stream.stream_id))

    def on_send_finished(self, stream: SendStream) -> None:
        """Everything written, or the reset, was acknowledged."""
        if stream.reset_code is None:
            self._emit(StreamSent(stream.stream_id))
        self.forget_if_finished(self.streams[stream.stream_id])

    # Control frames

    def write_frame(self, key: int) -> bytes:
        """The control frame for `key` with today's values."""
        stream_id, kind = key >> 3, key & 7
        stream = self.streams.get(stream_id)
        if stream is None:
            return b""
        send, receive = stream.send, stream.receive
        if kind == _RESET_STREAM and send is not None and send.reset_code is not None:
            if send.state is not SendState.RESET_SENT:
                return b""  # rfc9000:3.3:1 it arrived, and only a copy was lost
            return encode_reset_stream(stream_id, send.reset_code, send.buffer.next_offset)
        if kind == _STREAM_DATA_BLOCKED and send is not None and send.blocked():
            return encode_stream_data_blocked(stream_id, send.max_data)
        if receive is None:
            return b""
        if kind == _MAX_STREAM_DATA and receive.state is ReceiveState.RECV:
            return encode_max_stream_data(stream_id, self.flow.next_stream_limit(receive.window))
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

    # What the handlers of frames need

    def unknown_stream(self, stream_id: int, frame_type: int, about_sending: bool = False) -> Stream | None:
        """The stream of an ID not in the table: a new one of the peer's, or None if it is finished.

        `about_sending`: the frame is about our sending part, which a unidirectional stream of the peer's lacks, as
        one of ours lacks a receiving part.
        """
        kind = stream_id & UNIDIRECTIONAL
        is_local = bool(stream_id & SERVER_INITIATED) != self._is_client
        if kind and is_local != about_sending:
            raise self.wrong_direction(stream_id, frame_type)
        if is_local:
            if stream_id >> 2 >= self.limits.local[kind].next_index:
                # rfc9000:19.8:1
                raise TransportError(STREAM_STATE_ERROR, f"stream {stream_id} is not open", frame_type)
            return None
        index = stream_id >> 2
        first = self.limits.peer[kind].next_index
        count = self.limits.peer[kind].open(index, frame_type)
        if count:
            self._emit(StreamOpened(stream_id - ((index - first) << 2), count))
        return self._touch(stream_id)

    def _find(self, stream_id: int) -> Stream | None:
        """The stream that a verb names; None if it is not open."""
        stream = self.streams.get(stream_id)
        if stream is None and bool(stream_id & SERVER_INITIATED) == self._is_client:
            return self._touch(stream_id)
        return stream

    def _touch(self, stream_id: int) -> Stream | None:
        """Give a stream of the peer's its state, the first time that something is made of it; None if it had it."""
        kind = stream_id & UNIDIRECTIONAL
        if not self.limits.peer[kind].touch(stream_id >> 2):
            return None
        config = self._config
        if kind == UNIDIRECTIONAL:
            stream = Stream(stream_id, None, self._receive_stream(stream_id, config.initial_max_stream_data_uni))
        else:
            send = SendStream(stream_id, self._peer_parameters.initial_max_stream_data_bidi_local, self)
            receive = self._receive_stream(stream_id, config.initial_max_stream_data_bidi_remote)
            stream = Stream(stream_id, send, receive)
        self.streams[stream_id] = stream
        return stream

    def reset_sending(self, send: SendStream, code: int) -> bool:
        """Give up sending on a stream; false if it was reset before, or all of it arrived (rfc9000:3.3:1)."""
        if not send.reset(code):
            return False
        self._blocked.pop(send.stream_id, None)
        self.scheduler.forget(send)
        self._control.owe(self, send.stream_id << 3 | _RESET_STREAM)
        return True

    def _receive_stream(self, stream_id: int, window: int) -> ReceiveStream:
        return ReceiveStream(
            stream_id, ReceiveWindow(window, self._config.max_stream_data_window), self.pieces, self.trace
        )

    def _reset_reliably(self, send: SendStream, code: int, size: int) -> None:
        if not self._peer_parameters.reset_stream_at:
            raise StreamError(f"stream {send.stream_id}: the peer takes no reliable resets (no reset_stream_at)")
        promise = ReliableReset(send, size, self._control)
        if not send.reset_reliably(code, promise):
            return
        self._blocked.pop(send.stream_id, None)
        self.scheduler.forget(send)
        if send.buffer.next_offset == send.buffer.written:
            promise.on_all_sent()
        elif send.blocked():
            self._blocked[send.stream_id] = send
        else:
            self.scheduler.queue(send)

    @property
    def takes_reliable_resets(self) -> bool:
        """Whether we announced that we take RESET_STREAM_AT."""
        return self._config.reset_stream_at

    def sending(self, stream_id: int, frame_type: int) -> Stream | None:
        """The stream that a frame about our sending part names; None if it is finished."""
        stream = self.streams.get(stream_id) or self.unknown_stream(stream_id, frame_type, about_sending=True)
        if stream is not None and stream.send is None:
            raise self.wrong_direction(stream_id, frame_type)  # rfc9000:19.5:2, rfc9000:19.10:2
        return stream

    def wrong_direction(self, stream_id: int, frame_type: int) -> TransportError:
        """The error of a frame about the part of a unidirectional stream that there isn't."""
        has_sending_part = bool(stream_id & SERVER_INITIATED) != self._is_client
        kind = "send-only" if has_sending_part else "receive-only"
        return TransportError(STREAM_STATE_ERROR, f"stream {stream_id} is {kind}", frame_type)

    def on_consumed(self, receive: ReceiveStream, count: int) -> None:
        """The application took `count` bytes of a stream, or they are discarded."""
        self.flow.on_consumed(count)
        if receive.state is ReceiveState.RECV and receive.window.wants_update():
            self._control.owe(self, receive.stream_id << 3 | _MAX_STREAM_DATA)

    def forget_if_finished(self, stream: Stream) -> None:
        """Let go of a stream both of whose parts are in a terminal state."""
        stream_id = stream.stream_id
        if not stream.finished or self.streams.pop(stream_id, None) is None:
            return
        if bool(stream_id & SERVER_INITIATED) == self._is_client:
            self.limits.on_peer_stream_closed(stream_id & UNIDIRECTIONAL)
