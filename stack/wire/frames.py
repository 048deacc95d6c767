"""Frames (RFC 9000 section 19, RFC 9221 section 4, reliable reset): types, encoders, and a decoder into values.

Those of draft-ietf-quic-ack-frequency are here too.

Encoders return bytes ready for a packet's payload; those called `…_header` return what comes before the data.
The decoder is for observers, tests and tools: a connection that receives a packet works on its bytes in
place.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from stack.errors import FRAME_ENCODING_ERROR, TransportError
from stack.wire.header import MAX_CID_LENGTH
from stack.wire.parameters import MAX_STREAMS, STATELESS_RESET_TOKEN_LENGTH
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint, encode_varint

PADDING: Final = 0x00
PING: Final = 0x01
ACK: Final = 0x02
ACK_ECN: Final = 0x03
RESET_STREAM: Final = 0x04
STOP_SENDING: Final = 0x05
CRYPTO: Final = 0x06
NEW_TOKEN: Final = 0x07
STREAM: Final = 0x08  # to 0x0f: or-ed with the three bits below
MAX_DATA: Final = 0x10
MAX_STREAM_DATA: Final = 0x11
MAX_STREAMS_BIDI: Final = 0x12
MAX_STREAMS_UNI: Final = 0x13
DATA_BLOCKED: Final = 0x14
STREAM_DATA_BLOCKED: Final = 0x15
STREAMS_BLOCKED_BIDI: Final = 0x16
STREAMS_BLOCKED_UNI: Final = 0x17
NEW_CONNECTION_ID: Final = 0x18
RETIRE_CONNECTION_ID: Final = 0x19
PATH_CHALLENGE: Final = 0x1A
PATH_RESPONSE: Final = 0x1B
CONNECTION_CLOSE: Final = 0x1C
APPLICATION_CLOSE: Final = 0x1D
HANDSHAKE_DONE: Final = 0x1E
IMMEDIATE_ACK: Final = 0x1F
RESET_STREAM_AT: Final = 0x24
DATAGRAM: Final = 0x30
DATAGRAM_LEN: Final = 0x31
ACK_FREQUENCY: Final = 0xAF

ONE_BYTE_TYPES: Final = 0x40  # frame types below take one byte

STREAM_FIN: Final = 0x01
STREAM_LEN: Final = 0x02
STREAM_OFF: Final = 0x04

PATH_DATA_LENGTH: Final = 8  # bytes in PATH_CHALLENGE and PATH_RESPONSE

EcnCounts = tuple[int, int, int]  # ECT(0), ECT(1), ECN-CE


def encode_ack(ranges: Sequence[tuple[int, int]], ack_delay_units: int, ecn: EcnCounts | None = None) -> bytes:
    """Return an ACK frame (section 19.3).

    `ranges` are (smallest, largest), both inclusive, in descending order with gaps between them;
    `ack_delay_units` is the delay in units of the ack_delay_exponent that we announced.
    """
    smallest, largest = ranges[0]
    parts = [
        b"\x02" if ecn is None else b"\x03",
        encode_varint(largest),
        encode_varint(ack_delay_units),
        encode_varint(len(ranges) - 1),
        encode_varint(largest - smallest),
    ]
    previous = smallest
    for smallest, largest in ranges[1:]:
        parts += (encode_varint(previous - largest - 2), encode_varint(largest - smallest))
        previous = smallest
    if ecn is not None:
        parts += map(encode_varint, ecn)
    return b"".join(parts)


def encode_reset_stream(stream_id: int, code: int, final_size: int) -> bytes:
    """Return a RESET_STREAM frame (section 19.4); `code` is the application's, `final_size` in bytes."""
    return b"\x04" + encode_varint(stream_id) + encode_varint(code) + encode_varint(final_size)


def encode_stop_sending(stream_id: int, code: int) -> bytes:
    """Return a STOP_SENDING frame (section 19.5); `code` is the application's."""
    return b"\x05" + encode_varint(stream_id) + encode_varint(code)


def encode_crypto_header(offset: int, length: int) -> bytes:
    """Return what precedes `length` bytes of TLS data in a CRYPTO frame (section 19.6)."""
    return b"\x06" + encode_varint(offset) + encode_varint(length)


def encode_new_token(token: bytes) -> bytes:
    """Return a NEW_TOKEN frame (section 19.7); `token` must not be empty."""
    return b"\x07" + encode_varint(len(token)) + token


def encode_stream_header(stream_id: int, offset: int, length: int, fin: bool, last: bool = False) -> bytes:
    """Return what precedes `length` bytes of data in a STREAM frame (section 19.8).

    `last` leaves the length out, for a frame that ends its packet.
    """
    frame_type = STREAM | fin
    if not last:
        frame_type |= STREAM_LEN
    if not offset:
        header = encode_varint(frame_type) + encode_varint(stream_id)
    else:
        header = encode_varint(frame_type | STREAM_OFF) + encode_varint(stream_id) + encode_varint(offset)
    return header if last else header + encode_varint(length)


def encode_max_data(maximum: int) -> bytes:
    """Return a MAX_DATA frame (section 19.9)."""
    return b"\x10" + encode_varint(maximum)


def encode_max_stream_data(stream_id: int, maximum: int) -> bytes:
    """Return a MAX_STREAM_DATA frame (section 19.10)."""
    return b"\x11" + encode_varint(stream_id) + encode_varint(maximum)


def encode_max_streams(maximum: int, unidirectional: bool) -> bytes:
    """Return a MAX_STREAMS frame (section 19.11); `maximum` counts streams since the connection began."""
    return (b"\x13" if unidirectional else b"\x12") + encode_varint(maximum)


def encode_data_blocked(limit: int) -> bytes:
    """Return a DATA_BLOCKED frame (section 19.12)."""
    return b"\x14" + encode_varint(limit)


def encode_stream_data_blocked(stream_id: int, limit: int) -> bytes:
    """Return a STREAM_DATA_BLOCKED frame (section 19.13)."""
    return b"\x15" + encode_varint(stream_id) + encode_varint(limit)


def encode_streams_blocked(limit: int, unidirectional: bool) -> bytes:
    """Return a STREAMS_BLOCKED frame (section 19.14)."""
    return (b"\x17" if unidirectional else b"\x16") + encode_varint(limit)


def encode_new_connection_id(
    sequence_number: int, retire_prior_to: int, connection_id: bytes, stateless_reset_token: bytes
) -> bytes:
    """Return a NEW_CONNECTION_ID frame (section 19.15)."""
    numbers = b"\x18" + encode_varint(sequence_number) + encode_varint(retire_prior_to)
    return numbers + len(connection_id).to_bytes(1) + connection_id + stateless_reset_token


def encode_retire_connection_id(sequence_number: int) -> bytes:
    """Return a RETIRE_CONNECTION_ID frame (section 19.16)."""
    return b"\x19" + encode_varint(sequence_number)


def encode_path_challenge(data: bytes) -> bytes:
    """Return a PATH_CHALLENGE frame (section 19.17) with 8 bytes of data."""
    return b"\x1a" + data


def encode_path_response(data: bytes) -> bytes:
    """Return a PATH_RESPONSE frame (section 19.18) with the 8 bytes of the challenge."""
    return b"\x1b" + data


def encode_connection_close(code: int, frame_type: int | None, reason: bytes) -> bytes:
    """Return a CONNECTION_CLOSE frame (section 19.19): the application's (0x1d) when `frame_type` is None.

    Otherwise a transport error (0x1c) that a frame of that type caused, 0 for none. `reason` is UTF-8.
    """
    if frame_type is None:
        start = b"\x1d" + encode_varint(code)
    else:
        start = b"\x1c" + encode_varint(code) + encode_varint(frame_type)
    return start + encode_varint(len(reason)) + reason


def encode_handshake_done() -> bytes:
    """Return a HANDSHAKE_DONE frame (section 19.20)."""
    return b"\x1e"


def encode_reset_stream_at(stream_id: int, code: int, final_size: int, reliable_size: int) -> bytes:
    """Return a RESET_STREAM_AT frame (draft-ietf-quic-reliable-stream-reset section 4); sizes in bytes."""
    sizes = encode_varint(final_size) + encode_varint(reliable_size)
    return b"\x24" + encode_varint(stream_id) + encode_varint(code) + sizes


def encode_datagram_header(length: int, last: bool = False) -> bytes:
    """Return what precedes `length` bytes in a DATAGRAM frame (RFC 9221 section 4); `last` as for streams."""
    return b"\x30" if last else b"\x31" + encode_varint(length)


def encode_immediate_ack() -> bytes:
    """Return an IMMEDIATE_ACK frame (draft-ietf-quic-ack-frequency section 5)."""
    return b"\x1f"


def encode_ack_frequency(
    sequence_number: int, ack_eliciting_threshold: int, max_ack_delay_us: int, reordering_threshold: int
) -> bytes:
    """Return an ACK_FREQUENCY frame (draft-ietf-quic-ack-frequency section 4); the delay in microseconds."""
    fields = (ACK_FREQUENCY, sequence_number, ack_eliciting_threshold, max_ack_delay_us, reordering_threshold)
    return b"".join(map(encode_varint, fields))


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
