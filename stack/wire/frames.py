"""Frames: types and encoders (RFC 9000 section 19, RFC 9221 section 4, reliable reset, ACK frequency).

Encoders return bytes ready for a packet's payload; those called `…_header` return what comes before the data. A
connection that receives a packet works on its bytes in place; `decoded_frames` makes objects of them.
"""

from collections.abc import Sequence
from typing import Final

from stack.wire.varint import encode_varint

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
