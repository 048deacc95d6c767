"""Error codes of HTTP/3 and QPACK (RFC 9114 section 8.1, RFC 9204 section 6), and the two kinds of errors."""

from enum import IntEnum

from stack.errors import QuicError


class Code(IntEnum):
    """Why a stream or a connection is given up."""

    H3_NO_ERROR = 0x100
    H3_GENERAL_PROTOCOL_ERROR = 0x101
    H3_INTERNAL_ERROR = 0x102
    H3_STREAM_CREATION_ERROR = 0x103
    H3_CLOSED_CRITICAL_STREAM = 0x104
    H3_FRAME_UNEXPECTED = 0x105
    H3_FRAME_ERROR = 0x106
    H3_EXCESSIVE_LOAD = 0x107
    H3_ID_ERROR = 0x108
    H3_SETTINGS_ERROR = 0x109
    H3_MISSING_SETTINGS = 0x10A
    H3_REQUEST_REJECTED = 0x10B
    H3_REQUEST_CANCELLED = 0x10C
    H3_REQUEST_INCOMPLETE = 0x10D
    H3_MESSAGE_ERROR = 0x10E
    H3_CONNECT_ERROR = 0x10F
    H3_VERSION_FALLBACK = 0x110
    QPACK_DECOMPRESSION_FAILED = 0x200
    QPACK_ENCODER_STREAM_ERROR = 0x201
    QPACK_DECODER_STREAM_ERROR = 0x202


def code_name(code: int) -> str:
    """Return the RFC's name of an application error code, or the number when it has none."""
    try:
        return Code(code).name
    except ValueError:
        return f"0x{code:x}"


class H3Error(QuicError):
    """What the peer did wrong in HTTP/3, or that it does not want to go on."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class H3ConnectionError(H3Error):
    """The connection is closed with `code` (RFC 9114 section 8)."""


class H3StreamError(H3Error):
    """One request is given up with `code`, the others go on."""


class GoingAway(QuicError):
    """The peer takes no more requests on this connection (GOAWAY); this one was not processed."""
