"""Frames, stream types and settings of HTTP/3 (RFC 9114 sections 6.2 and 7) as bytes."""

from collections.abc import Mapping
from typing import Final

from quicsim.h3.errors import Code, H3ConnectionError
from stack.wire.varint import Truncated, decode_varint, encode_varint

# Frames
DATA: Final = 0x00
HEADERS: Final = 0x01
CANCEL_PUSH: Final = 0x03
SETTINGS: Final = 0x04
PUSH_PROMISE: Final = 0x05
GOAWAY: Final = 0x07
MAX_PUSH_ID: Final = 0x0D
OF_HTTP2: Final = frozenset({0x02, 0x06, 0x08, 0x09})  # rfc9114:7.2.8:3 not to be sent here
OF_CONTROL_STREAM: Final = frozenset({CANCEL_PUSH, SETTINGS, GOAWAY, MAX_PUSH_ID})

# Unidirectional streams
CONTROL: Final = 0x00
PUSH: Final = 0x01
QPACK_ENCODER: Final = 0x02
QPACK_DECODER: Final = 0x03

# Settings
QPACK_MAX_TABLE_CAPACITY: Final = 0x01
MAX_FIELD_SECTION_SIZE: Final = 0x06
QPACK_BLOCKED_STREAMS: Final = 0x07
_SETTINGS_OF_HTTP2: Final = frozenset({0x00, 0x02, 0x03, 0x04, 0x05})


def encode_frame(kind: int, payload: bytes) -> bytes:
    """Return a whole frame."""
    return frame_header(kind, len(payload)) + payload


def frame_header(kind: int, size: int) -> bytes:
    """Return what comes before the `size` bytes of a frame's payload."""
    return encode_varint(kind) + encode_varint(size)


def encode_settings(settings: Mapping[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return encode_frame(SETTINGS, b"".join(encode_varint(part) for pair in settings.items() for part in pair))


def decode_settings(payload: bytes) -> dict[int, int]:
    """Return what a SETTINGS frame says. Raises H3ConnectionError."""
    settings: dict[int, int] = {}
    position = 0
    while position < len(payload):
        try:
            name, position = decode_varint(payload, position)
            value, position = decode_varint(payload, position)
        except Truncated:
            raise H3ConnectionError(Code.H3_FRAME_ERROR, "SETTINGS ends inside a setting") from None
        if name in _SETTINGS_OF_HTTP2:  # rfc9114:7.2.4.1:3
            raise H3ConnectionError(Code.H3_SETTINGS_ERROR, f"setting 0x{name:x} is one of HTTP/2")
        if name in settings:  # rfc9114:7.2.4:6
            raise H3ConnectionError(Code.H3_SETTINGS_ERROR, f"setting 0x{name:x} comes twice")
        settings[name] = value
    return settings


def decode_id(payload: bytes, frame: str) -> int:
    """Return the one number that a GOAWAY, MAX_PUSH_ID or CANCEL_PUSH frame holds. Raises H3ConnectionError."""
    try:
        number, end = decode_varint(payload, 0)
    except Truncated:
        end = -1
    if end != len(payload):  # rfc9114:7.1:2
        raise H3ConnectionError(Code.H3_FRAME_ERROR, f"{frame} must hold one number and nothing else")
    return number
