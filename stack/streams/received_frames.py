"""Frames about streams that arrive: STREAM and those that name a stream (RFC 9000 sections 3.2 and 19)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stack.errors import FRAME_ENCODING_ERROR, TransportError
from stack.events import ConnectionEvent, StreamReadable, StreamWritable
from stack.limits import MAX_PIECES
from stack.stats import ConnectionStats
from stack.wire.frames import STREAM_FIN, STREAM_LEN, STREAM_OFF
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket
    from stack.streams.receive import ReceiveStream
    from stack.streams.stream import Stream
    from stack.streams.table import StreamTable


class ReceivedFrames:
    """Handlers of frames about the streams of a table. They find the stream, let its parts do the work, and report."""

    __slots__ = ("_emit", "_flow", "_pieces", "_stats", "_streams", "_table")

    def __init__(self, table: "StreamTable", emit: Callable[[ConnectionEvent], None], stats: ConnectionStats) -> None:
        self._table = table
        self._streams = table.streams
        self._flow = table.flow
        self._pieces = table.pieces
        self._emit = emit
        self._stats = stats

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
        stream = self._streams.get(stream_id) or self._table.unknown_stream(stream_id, frame_type)
        if stream is None:
            return end
        receive = stream.receive
        if receive is None:
            raise self._table.wrong_direction(stream_id, frame_type)  # rfc9000:19.8:1
        before = receive.consumed
        new, news = receive.on_data(offset, data, bool(frame_type & STREAM_FIN), frame_type)
        if new:
            self._flow.on_received(new, frame_type)
            self._stats.stream_bytes_received += new
        if news:
            if not receive.announced:
                receive.announced = True
                self._emit(StreamReadable(stream_id))
        elif receive.discarding:
            self._table.on_consumed(receive, receive.consumed - before)
            self._table.forget_if_finished(stream)
        elif self._pieces.count > MAX_PIECES:
            self._flow.check_pieces(self._pieces.count, frame_type)
        return end

    def on_reset_stream_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """RESET_STREAM (RFC 9000 section 19.4)."""
        stream_id, position = decode_varint(payload, position)
        code, position = decode_varint(payload, position)
        final_size, position = decode_varint(payload, position)
        stream = self._streams.get(stream_id) or self._table.unknown_stream(stream_id, frame_type)
        if stream is None:
            return position
        receive = stream.receive
        if receive is None:
            raise self._table.wrong_direction(stream_id, frame_type)  # rfc9000:19.4:1
        self._reset(stream, receive, code, final_size, frame_type)
        return position

    def on_reset_stream_at_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset section 4), if we announced that we take it."""
        stream_id, position = decode_varint(payload, position)
        code, position = decode_varint(payload, position)
        final_size, position = decode_varint(payload, position)
        reliable_size, position = decode_varint(payload, position)
        if not self._table.takes_reliable_resets:
            raise TransportError(FRAME_ENCODING_ERROR, "RESET_STREAM_AT without reset_stream_at", frame_type)
        if reliable_size > final_size:
            reason = f"stream {stream_id}: reliable size {reliable_size} above final size {final_size}"
            raise TransportError(FRAME_ENCODING_ERROR, reason, frame_type)
        stream = self._streams.get(stream_id) or self._table.unknown_stream(stream_id, frame_type)
        if stream is None:
            return position
        receive = stream.receive
        if receive is None:
            raise self._table.wrong_direction(stream_id, frame_type)
        if receive.discarding or not reliable_size:
            self._reset(stream, receive, code, final_size, frame_type)
            return position
        new, news = receive.on_reset_at(code, final_size, reliable_size, frame_type)
        self._flow.on_received(new, frame_type)
        if news and not receive.announced:
            receive.announced = True
            self._emit(StreamReadable(stream_id))
        return position

    def _reset(self, stream: "Stream", receive: "ReceiveStream", code: int, final_size: int, frame_type: int) -> None:
        new, news = receive.on_reset(code, final_size, frame_type)
        self._flow.on_received(new, frame_type)  # rfc9000:4.5:1
        self._flow.on_consumed(final_size - receive.consumed if news else new)
        if news:
            if receive.discarding:
                receive.read_reset()
                self._table.forget_if_finished(stream)
            else:
                receive.announced = True
                self._emit(StreamReadable(stream.stream_id))

    def on_stop_sending_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """STOP_SENDING: answered with RESET_STREAM of the same code (rfc9000:3.5:2, rfc9000:3.5:5)."""
        stream_id, position = decode_varint(payload, position)
        code, position = decode_varint(payload, position)
        stream = self._table.sending(stream_id, frame_type)
        if stream is not None and stream.send is not None and self._table.reset_sending(stream.send, code):
            stream.send.stop_code = code
            self._emit(StreamWritable(stream_id))
        return position

    def on_max_stream_data_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_STREAM_DATA (RFC 9000 section 19.10)."""
        stream_id, position = decode_varint(payload, position)
        limit, position = decode_varint(payload, position)
        stream = self._table.sending(stream_id, frame_type)
        if stream is not None and stream.send is not None and limit > stream.send.max_data:
            stream.send.max_data = limit
            self._table.on_stream_credit(stream.send)
        return position

    def on_stream_data_blocked_frame(
        self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket"
    ) -> int:
        """STREAM_DATA_BLOCKED: checked, and otherwise for information (rfc9000:4.2:2)."""
        stream_id, position = decode_varint(payload, position)
        _, position = decode_varint(payload, position)
        stream = self._streams.get(stream_id) or self._table.unknown_stream(stream_id, frame_type)
        if stream is not None and stream.receive is None:
            raise self._table.wrong_direction(stream_id, frame_type)  # rfc9000:19.13:2
        return position

    def on_max_data_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """MAX_DATA: streams held back by the connection's limit may go on."""
        position = self._flow.on_max_data_frame(payload, position, frame_type, packet)
        self._table.scheduler.on_credit()
        return position
