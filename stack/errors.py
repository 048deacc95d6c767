"""Errors: what a peer did wrong (TransportError) and what the local application did wrong (QuicError's others).

QuicError
├── TransportError      the peer broke a rule, or we must close: becomes CONNECTION_CLOSE at one place
├── ConnectionClosed    the application used a connection that has ended
├── StreamError         the application used a stream in a state that does not allow it
│   ├── StreamReset     the peer reset the stream that is being read
│   └── StreamStopped   the peer asked us to stop sending on the stream that is being written
├── DatagramError       the application sent a datagram that the peer or the path does not take
│   └── DatagramQueueFull   too many datagrams wait to be sent
├── KeyUpdateError      the application asked for a key update that is not allowed now
├── AckFrequencyError   the application asked for ACKs in a way that the peer does not take
└── ConfigError         a configuration value that can't work
"""

from typing import Final

# Transport error codes, RFC 9000 section 20.1.
NO_ERROR: Final = 0x00
INTERNAL_ERROR: Final = 0x01
CONNECTION_REFUSED: Final = 0x02
FLOW_CONTROL_ERROR: Final = 0x03
STREAM_LIMIT_ERROR: Final = 0x04
STREAM_STATE_ERROR: Final = 0x05
FINAL_SIZE_ERROR: Final = 0x06
FRAME_ENCODING_ERROR: Final = 0x07
TRANSPORT_PARAMETER_ERROR: Final = 0x08
CONNECTION_ID_LIMIT_ERROR: Final = 0x09
PROTOCOL_VIOLATION: Final = 0x0A
INVALID_TOKEN: Final = 0x0B
APPLICATION_ERROR: Final = 0x0C
CRYPTO_BUFFER_EXCEEDED: Final = 0x0D
KEY_UPDATE_ERROR: Final = 0x0E
AEAD_LIMIT_REACHED: Final = 0x0F
NO_VIABLE_PATH: Final = 0x10
VERSION_NEGOTIATION_ERROR: Final = 0x11
CRYPTO_ERROR: Final = 0x0100  # to 0x01ff: the low byte is a TLS alert

NAMES: Final[dict[int, str]] = {
    NO_ERROR: "NO_ERROR",
    INTERNAL_ERROR: "INTERNAL_ERROR",
    CONNECTION_REFUSED: "CONNECTION_REFUSED",
    FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
    STREAM_LIMIT_ERROR: "STREAM_LIMIT_ERROR",
    STREAM_STATE_ERROR: "STREAM_STATE_ERROR",
    FINAL_SIZE_ERROR: "FINAL_SIZE_ERROR",
    FRAME_ENCODING_ERROR: "FRAME_ENCODING_ERROR",
    TRANSPORT_PARAMETER_ERROR: "TRANSPORT_PARAMETER_ERROR",
    CONNECTION_ID_LIMIT_ERROR: "CONNECTION_ID_LIMIT_ERROR",
    PROTOCOL_VIOLATION: "PROTOCOL_VIOLATION",
    INVALID_TOKEN: "INVALID_TOKEN",
    APPLICATION_ERROR: "APPLICATION_ERROR",
    CRYPTO_BUFFER_EXCEEDED: "CRYPTO_BUFFER_EXCEEDED",
    KEY_UPDATE_ERROR: "KEY_UPDATE_ERROR",
    AEAD_LIMIT_REACHED: "AEAD_LIMIT_REACHED",
    NO_VIABLE_PATH: "NO_VIABLE_PATH",
    VERSION_NEGOTIATION_ERROR: "VERSION_NEGOTIATION_ERROR",
}


def error_name(code: int) -> str:
    """Return the RFC's name of a transport error code, such as "CRYPTO_ERROR(0x28)" for alert 40."""
    if CRYPTO_ERROR <= code <= CRYPTO_ERROR + 0xFF:
        return f"CRYPTO_ERROR(0x{code - CRYPTO_ERROR:02x})"
    return NAMES.get(code, f"0x{code:x}")


class QuicError(Exception):
    """Root of everything the stack raises on purpose."""


class TransportError(QuicError):
    """The connection must close with a CONNECTION_CLOSE of type 0x1c (RFC 9000 section 11.1).

    `code` is a transport error code, `frame_type` the type of the frame that triggered it (0 when unknown), `reason`
    a sentence for people.
    """

    def __init__(self, code: int, reason: str, frame_type: int = 0) -> None:
        super().__init__(f"{error_name(code)}: {reason}")
        self.code = code
        self.reason = reason
        self.frame_type = frame_type


class ConnectionClosed(QuicError):
    """The connection has ended; `code`, `reason`, whether the error is the `application`'s and who closed it.

    `idle` marks an idle timeout, which has neither code nor author, and `stateless_reset` a peer that has lost the
    connection's state, which has no code.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        application: bool = False,
        remote: bool = False,
        idle: bool = False,
        stateless_reset: bool = False,
    ) -> None:
        kind = "application error" if application else "transport error"
        name = f"{code}" if application else error_name(code)
        side = "peer" if remote else "local end"
        message = f"connection closed by the {side} with {kind} {name}: {reason or 'no reason given'}"
        if idle:
            message = "connection given up: idle timeout, nothing came from the peer for too long"
        elif stateless_reset:
            message = f"connection given up: {reason}"
        super().__init__(message)
        self.idle = idle
        self.stateless_reset = stateless_reset
        self.code = code
        self.reason = reason
        self.application = application
        self.remote = remote


class MigrationError(QuicError):
    """The connection can't move to another path (now); the message says why."""


class StreamError(QuicError):
    """The application used a stream in a way that its state does not allow."""


class StreamReset(StreamError):
    """The peer sent RESET_STREAM; `code` is the application's error code."""

    def __init__(self, stream_id: int, code: int) -> None:
        super().__init__(f"stream {stream_id} was reset by the peer with application error {code}")
        self.stream_id = stream_id
        self.code = code


class StreamStopped(StreamError):
    """The peer sent STOP_SENDING; `code` is the application's error code."""

    def __init__(self, stream_id: int, code: int) -> None:
        super().__init__(f"the peer stopped reading stream {stream_id} with application error {code}")
        self.stream_id = stream_id
        self.code = code


class DatagramError(QuicError):
    """The application sent a datagram that the peer or the path does not take; the message says what they do."""


class DatagramQueueFull(DatagramError):
    """More datagrams wait to be sent than may, and `Config.datagram_overflow` is "refuse"."""


class KeyUpdateError(QuicError):
    """A key update is not allowed now; the message says why (RFC 9001 sections 6.1 and 6.5)."""


class AckFrequencyError(QuicError):
    """The application asked the peer for ACKs in a way that it does not take; the message says what would be right."""


class ConfigError(QuicError):
    """A configuration value that can't work; the message names the field, the value and what would be right."""
