"""TLS alert descriptions (RFC 8446 section 6) and the exception that carries one to the engine's edge."""

from typing import Final

from stack.errors import QuicError

UNEXPECTED_MESSAGE: Final = 10
HANDSHAKE_FAILURE: Final = 40
BAD_CERTIFICATE: Final = 42
UNSUPPORTED_CERTIFICATE: Final = 43
CERTIFICATE_EXPIRED: Final = 45
ILLEGAL_PARAMETER: Final = 47
UNKNOWN_CA: Final = 48
DECODE_ERROR: Final = 50
DECRYPT_ERROR: Final = 51
PROTOCOL_VERSION: Final = 70
INTERNAL_ERROR: Final = 80  # also of an engine that has lost what it needs
MISSING_EXTENSION: Final = 109
UNSUPPORTED_EXTENSION: Final = 110
CERTIFICATE_REQUIRED: Final = 116
NO_APPLICATION_PROTOCOL: Final = 120

NAMES: Final[dict[int, str]] = {
    0: "close_notify",
    UNEXPECTED_MESSAGE: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    HANDSHAKE_FAILURE: "handshake_failure",
    BAD_CERTIFICATE: "bad_certificate",
    UNSUPPORTED_CERTIFICATE: "unsupported_certificate",
    44: "certificate_revoked",
    CERTIFICATE_EXPIRED: "certificate_expired",
    46: "certificate_unknown",
    ILLEGAL_PARAMETER: "illegal_parameter",
    UNKNOWN_CA: "unknown_ca",
    49: "access_denied",
    DECODE_ERROR: "decode_error",
    DECRYPT_ERROR: "decrypt_error",
    PROTOCOL_VERSION: "protocol_version",
    71: "insufficient_security",
    INTERNAL_ERROR: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    MISSING_EXTENSION: "missing_extension",
    UNSUPPORTED_EXTENSION: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    CERTIFICATE_REQUIRED: "certificate_required",
    NO_APPLICATION_PROTOCOL: "no_application_protocol",
}


def alert_name(description: int) -> str:
    """Return the RFC's name of an alert, or "alert N" for one that it does not name."""
    return NAMES.get(description, f"alert {description}")


class HandshakeError(QuicError):
    """The peer broke a rule of TLS; becomes one `Alert` event and never leaves the engine.

    `description` is the alert to send, `reason` a sentence for people. `protocol_violation`: TLS would let it pass, but
    QUIC forbids it and has an error of its own for it.
    """

    def __init__(self, description: int, reason: str, *, protocol_violation: bool = False) -> None:
        super().__init__(f"{alert_name(description)}: {reason}")
        self.protocol_violation = protocol_violation
        self.description = description
        self.reason = reason
