"""Frames as objects: what observers and tests read; packets are processed without them (RFC 9000 section 19)."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from stack.errors import FRAME_ENCODING_ERROR, TransportError
from stack.wire.frames import (
    ACK,
    ACK_ECN,
    ACK_FREQUENCY,
    APPLICATION_CLOSE,
    CONNECTION_CLOSE,
    CRYPTO,
    DATA_BLOCKED,
    DATAGRAM,
    DATAGRAM_LEN,
    HANDSHAKE_DONE,
    IMMEDIATE_ACK,
    MAX_DATA,
    MAX_STREAM_DATA,
    MAX_STREAMS_BIDI,
    MAX_STREAMS_UNI,
    NEW_CONNECTION_ID,
    NEW_TOKEN,
    ONE_BYTE_TYPES,
    PADDING,
    PATH_CHALLENGE,
    PATH_DATA_LENGTH,
    PATH_RESPONSE,
    PING,
    RESET_STREAM,
    RESET_STREAM_AT,
    RETIRE_CONNECTION_ID,
    STOP_SENDING,
    STREAM,
    STREAM_DATA_BLOCKED,
    STREAM_FIN,
    STREAM_LEN,
    STREAM_OFF,
    STREAMS_BLOCKED_BIDI,
    STREAMS_BLOCKED_UNI,
    EcnCounts,
)
from stack.wire.header import MAX_CID_LENGTH
from stack.wire.parameters import MAX_STREAMS, STATELESS_RESET_TOKEN_LENGTH
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint, encode_varint


class PaddingFrame(NamedTuple):
    length: int  # frames in a row, of one byte each


class PingFrame(NamedTuple):
    pass


class AckFrame(NamedTuple):
    largest: int
    delay: int  # in units of the sender's ack_delay_exponent
    ranges: tuple[tuple[int, int], ...]  # (smallest, largest), inclusive, descending
    ecn_counts: EcnCounts | None


class ResetStreamFrame(NamedTuple):
    stream_id: int
    code: int
    final_size: int


class StopSendingFrame(NamedTuple):
    stream_id: int
    code: int


class CryptoFrame(NamedTuple):
    offset: int
    data: bytes


class NewTokenFrame(NamedTuple):
    token: bytes


class StreamFrame(NamedTuple):
    stream_id: int
    offset: int
    data: bytes
    fin: bool


class MaxDataFrame(NamedTuple):
    maximum: int


class MaxStreamDataFrame(NamedTuple):
    stream_id: int
    maximum: int


class MaxStreamsFrame(NamedTuple):
    unidirectional: bool
    maximum: int


class DataBlockedFrame(NamedTuple):
    limit: int


class StreamDataBlockedFrame(NamedTuple):
    stream_id: int
    limit: int


class StreamsBlockedFrame(NamedTuple):
    unidirectional: bool
    limit: int


class NewConnectionIdFrame(NamedTuple):
    sequence_number: int
    retire_prior_to: int
    connection_id: bytes
    stateless_reset_token: bytes


class RetireConnectionIdFrame(NamedTuple):
    sequence_number: int


class PathChallengeFrame(NamedTuple):
    data: bytes


class PathResponseFrame(NamedTuple):
    data: bytes


class ConnectionCloseFrame(NamedTuple):
    application: bool
    code: int
    frame_type: int | None  # None for the application's
    reason: bytes


class HandshakeDoneFrame(NamedTuple):
    pass


class ImmediateAckFrame(NamedTuple):
    pass


class AckFrequencyFrame(NamedTuple):
    sequence_number: int
    ack_eliciting_threshold: int
    max_ack_delay: int  # in microseconds
    reordering_threshold: int


class ResetStreamAtFrame(NamedTuple):
    stream_id: int
    code: int
    final_size: int
    reliable_size: int


class DatagramFrame(NamedTuple):
    data: bytes


Frame = (
    PaddingFrame
    | PingFrame
    | AckFrame
    | ResetStreamFrame
    | StopSendingFrame
    | CryptoFrame
    | NewTokenFrame
    | StreamFrame
    | MaxDataFrame
    | MaxStreamDataFrame
    | MaxStreamsFrame
    | DataBlockedFrame
    | StreamDataBlockedFrame
    | StreamsBlockedFrame
    | NewConnectionIdFrame
    | RetireConnectionIdFrame
    | PathChallengeFrame
    | PathResponseFrame
    | ConnectionCloseFrame
    | HandshakeDoneFrame
    | ImmediateAckFrame
    | AckFrequencyFrame
    | ResetStreamAtFrame
    | DatagramFrame
)


class _Cursor:
    """Reads fields one after another; raises Truncated at the end of the payload."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def varint(self) -> int:
        value, self.position = decode_varint(self.data, self.position)
        return value

    def take(self, length: int) -> bytes:
        start = self.position
        end = start + length
        if end > len(self.data):
            raise Truncated(f"{length} bytes at {start} exceed the payload's {len(self.data)}")
        self.position = end
        return self.data[start:end]

    def sized(self) -> bytes:
        return self.take(self.varint())

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.position)


_PADDING_RUN: Final = re.compile(b"\0+")


def _decode_padding(_: int, cursor: _Cursor) -> Frame:
    start = cursor.position - 1  # at the first frame's type
    end = cursor.position = next(_PADDING_RUN.finditer(cursor.data, start)).end()
    return PaddingFrame(end - start)


def _decode_ack(frame_type: int, cursor: _Cursor) -> Frame:
    largest = high = cursor.varint()
    delay = cursor.varint()
    count = cursor.varint()
    low = high - cursor.varint()
    ranges = [(low, high)]
    for _ in range(count):
        if low < 0:
            break
        high = low - cursor.varint() - 2
        low = high - cursor.varint()
        ranges.append((low, high))
    if low < 0:
        raise ValueError("a range goes below packet number 0")  # rfc9000:19.3.1:1
    ecn = (cursor.varint(), cursor.varint(), cursor.varint()) if frame_type == ACK_ECN else None
    return AckFrame(largest, delay, tuple(ranges), ecn)


def _decode_crypto(_: int, cursor: _Cursor) -> Frame:
    offset, data = cursor.varint(), cursor.sized()
    if offset + len(data) > MAX_VARINT:
        raise ValueError("the data ends beyond 2^62-1")  # rfc9000:19.6:1
    return CryptoFrame(offset, data)


def _decode_new_token(_: int, cursor: _Cursor) -> Frame:
    token = cursor.sized()
    if not token:
        raise ValueError("the token is empty")  # rfc9000:19.7:2
    return NewTokenFrame(token)


def _decode_stream(frame_type: int, cursor: _Cursor) -> Frame:
    stream_id = cursor.varint()
    offset = cursor.varint() if frame_type & STREAM_OFF else 0
    data = cursor.sized() if frame_type & STREAM_LEN else cursor.rest()
    if offset + len(data) > MAX_VARINT:
        raise ValueError("the data ends beyond 2^62-1")  # rfc9000:19.8:2
    return StreamFrame(stream_id, offset, data, bool(frame_type & STREAM_FIN))


def _stream_count(cursor: _Cursor) -> int:
    count = cursor.varint()
    if count > MAX_STREAMS:
        raise ValueError(f"{count} streams exceed 2^60")  # rfc9000:19.11:1 rfc9000:19.14:2
    return count


def _decode_new_connection_id(_: int, cursor: _Cursor) -> Frame:
    sequence_number, retire_prior_to = cursor.varint(), cursor.varint()
    if retire_prior_to > sequence_number:
        raise ValueError("retire_prior_to exceeds the sequence number")  # rfc9000:19.15:7
    length = cursor.take(1)[0]
    if not 1 <= length <= MAX_CID_LENGTH:
        raise ValueError(f"the connection ID has {length} bytes and must have 1 to 20")  # rfc9000:19.15:1
    connection_id, token = cursor.take(length), cursor.take(STATELESS_RESET_TOKEN_LENGTH)
    return NewConnectionIdFrame(sequence_number, retire_prior_to, connection_id, token)


def _decode_reset_stream_at(_: int, cursor: _Cursor) -> Frame:
    frame = ResetStreamAtFrame(cursor.varint(), cursor.varint(), cursor.varint(), cursor.varint())
    if frame.reliable_size > frame.final_size:
        raise ValueError("the reliable size exceeds the final size")
    return frame


def _decode_connection_close(frame_type: int, cursor: _Cursor) -> Frame:
    application = frame_type == APPLICATION_CLOSE
    code = cursor.varint()
    cause = None if application else cursor.varint()
    return ConnectionCloseFrame(application, code, cause, cursor.sized())


_LONG_TYPE: Final = encode_varint(ACK_FREQUENCY)

_DECODERS: Final[dict[int, Callable[[int, _Cursor], Frame]]] = {
    PADDING: _decode_padding,
    PING: lambda _, _cursor: PingFrame(),
    ACK: _decode_ack,
    ACK_ECN: _decode_ack,
    RESET_STREAM: lambda _, cursor: ResetStreamFrame(cursor.varint(), cursor.varint(), cursor.varint()),
    STOP_SENDING: lambda _, cursor: StopSendingFrame(cursor.varint(), cursor.varint()),
    CRYPTO: _decode_crypto,
    NEW_TOKEN: _decode_new_token,
    **dict.fromkeys(range(STREAM, STREAM + 8), _decode_stream),
    MAX_DATA: lambda _, cursor: MaxDataFrame(cursor.varint()),
    MAX_STREAM_DATA: lambda _, cursor: MaxStreamDataFrame(cursor.varint(), cursor.varint()),
    MAX_STREAMS_BIDI: lambda _, cursor: MaxStreamsFrame(False, _stream_count(cursor)),
    MAX_STREAMS_UNI: lambda _, cursor: MaxStreamsFrame(True, _stream_count(cursor)),
    DATA_BLOCKED: lambda _, cursor: DataBlockedFrame(cursor.varint()),
    STREAM_DATA_BLOCKED: lambda _, cursor: StreamDataBlockedFrame(cursor.varint(), cursor.varint()),
    STREAMS_BLOCKED_BIDI: lambda _, cursor: StreamsBlockedFrame(False, _stream_count(cursor)),
    STREAMS_BLOCKED_UNI: lambda _, cursor: StreamsBlockedFrame(True, _stream_count(cursor)),
    NEW_CONNECTION_ID: _decode_new_connection_id,
    RETIRE_CONNECTION_ID: lambda _, cursor: RetireConnectionIdFrame(cursor.varint()),
    PATH_CHALLENGE: lambda _, cursor: PathChallengeFrame(cursor.take(PATH_DATA_LENGTH)),
    PATH_RESPONSE: lambda _, cursor: PathResponseFrame(cursor.take(PATH_DATA_LENGTH)),
    CONNECTION_CLOSE: _decode_connection_close,
    APPLICATION_CLOSE: _decode_connection_close,
    HANDSHAKE_DONE: lambda _, _cursor: HandshakeDoneFrame(),
    IMMEDIATE_ACK: lambda _, _cursor: ImmediateAckFrame(),
    ACK_FREQUENCY: lambda _, cursor: AckFrequencyFrame(
        cursor.varint(), cursor.varint(), cursor.varint(), cursor.varint()
    ),
    RESET_STREAM_AT: _decode_reset_stream_at,
    DATAGRAM: lambda _, cursor: DatagramFrame(cursor.rest()),
    DATAGRAM_LEN: lambda _, cursor: DatagramFrame(cursor.sized()),
}


def decode_frames(payload: bytes) -> list[Frame]:
    """Return the frames of a packet's plaintext, runs of PADDING merged; none for an empty payload.

    Raises TransportError (FRAME_ENCODING_ERROR) for a frame of unknown type (a type not encoded in its
    shortest form included), one that the payload cuts short, or one with a value that its definition does not
    allow.
    """
    frames: list[Frame] = []
    cursor = _Cursor(payload)
    while cursor.position < len(payload):
        start = cursor.position
        frame_type, size = payload[start], 1
        if payload.startswith(_LONG_TYPE, start):  # the only type that we know and that takes more: rfc9000:12.4:5
            frame_type, size = ACK_FREQUENCY, len(_LONG_TYPE)
        decoder = _DECODERS.get(frame_type) if size > 1 or frame_type < ONE_BYTE_TYPES else None
        if decoder is None:
            raise TransportError(FRAME_ENCODING_ERROR, f"unknown frame type at {start}")  # rfc9000:12.4:4
        cursor.position = start + size
        try:
            frames.append(decoder(frame_type, cursor))
        except ValueError as error:
            reason = f"frame 0x{frame_type:02x} at {start}: {error}"
            raise TransportError(FRAME_ENCODING_ERROR, reason, frame_type) from None
    return frames
