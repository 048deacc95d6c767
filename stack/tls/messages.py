"""Handshake messages of RFC 8446 section 4 other than the hellos: strict parsing of bodies, encoding of messages."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from stack.tls import codec, extensions
from stack.tls.alerts import DECODE_ERROR, ILLEGAL_PARAMETER, MISSING_EXTENSION, HandshakeError
from stack.tls.codec import Reader
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
)

# The largest body accepted, by message type: a message is held until it is complete, so there must be limits.
SIZE_LIMITS: Final[dict[int, int]] = {
    CLIENT_HELLO: 1 << 14,
    SERVER_HELLO: 1 << 12,
    ENCRYPTED_EXTENSIONS: 1 << 14,
    CERTIFICATE_REQUEST: 1 << 14,
    CERTIFICATE: 1 << 17,
    CERTIFICATE_VERIFY: 1 << 13,
    FINISHED: 64,
    NEW_SESSION_TICKET: (1 << 16) + (1 << 12),
}

MAX_TICKET_LIFETIME: Final = 604_800  # seconds
_UNLIMITED: Final = b"\xff\xff\xff\xff"  # the one max_early_data_size of QUIC


@dataclass(frozen=True, slots=True)
class EncryptedExtensions:
    """An EncryptedExtensions; None stands for an extension that is absent."""

    alpn: bytes | None
    transport_parameters: bytes | None
    early_data: bool


@dataclass(frozen=True, slots=True)
class NewSessionTicket:
    """A NewSessionTicket; `lifetime` in seconds."""

    lifetime: int
    age_add: int
    nonce: bytes
    ticket: bytes
    early_data: bool


def parse_encrypted_extensions(body: bytes, offered: Container[int]) -> EncryptedExtensions:
    """Parse an EncryptedExtensions (RFC 8446 section 4.3.1). Raises HandshakeError."""
    reader = Reader(body, "EncryptedExtensions")
    found = extensions.parse_extensions(reader.vector(2), ENCRYPTED_EXTENSIONS)
    reader.finish()
    extensions.check_offered(found, offered)
    if found.get(extensions.SERVER_NAME):
        raise HandshakeError(DECODE_ERROR, "the server's server_name must be empty")
    if extensions.SUPPORTED_GROUPS in found:
        extensions.parse_numbers(found[extensions.SUPPORTED_GROUPS], "supported_groups")
    alpn: bytes | None = None
    if extensions.ALPN in found:
        protocols = extensions.parse_alpn(found[extensions.ALPN])
        if len(protocols) != 1:
            raise HandshakeError(DECODE_ERROR, "the server must choose exactly one application protocol")
        alpn = protocols[0]
    if found.get(extensions.EARLY_DATA):
        raise HandshakeError(DECODE_ERROR, "EncryptedExtensions' early_data must be empty")
    return EncryptedExtensions(alpn, found.get(extensions.QUIC_TRANSPORT_PARAMETERS), extensions.EARLY_DATA in found)


def parse_certificate_request(body: bytes) -> tuple[int, ...]:
    """Return the signature schemes that a CertificateRequest allows (RFC 8446 section 4.3.2). Raises HandshakeError."""
    reader = Reader(body, "CertificateRequest")
    context = reader.vector(1)
    # rfc8446:4.3.2:7
    found = extensions.parse_extensions(reader.vector(2), CERTIFICATE_REQUEST)
    reader.finish()
    if context:
        # rfc8446:4.3.2:4
        raise HandshakeError(ILLEGAL_PARAMETER, "certificate_request_context must be empty in the handshake")
    signatures = found.get(extensions.SIGNATURE_ALGORITHMS)
    if signatures is None:
        # rfc8446:4.3.2:6
        raise HandshakeError(MISSING_EXTENSION, "CertificateRequest has no signature_algorithms")
    return extensions.parse_numbers(signatures, "signature_algorithms")


def parse_certificate(body: bytes, offered: Container[int]) -> tuple[bytes, ...]:
    """Return the peer's certificates as DER, leaf first (RFC 8446 section 4.4.2); a client may have none.

    `offered` are the extension types that their entries may carry. Raises HandshakeError.
    """
    reader = Reader(body, "Certificate")
    context = reader.vector(1)
    entries = Reader(reader.vector(3), "Certificate")
    reader.finish()
    if context:
        # rfc8446:4.4.2:5
        raise HandshakeError(ILLEGAL_PARAMETER, "certificate_request_context must be empty")
    chain = []
    while entries.left:
        chain.append(entries.vector(3, 1))
        # rfc8446:4.4.2:6 rfc8446:4.4.2:7
        extensions.check_offered(extensions.parse_extensions(entries.vector(2), CERTIFICATE), offered)
    return tuple(chain)


def parse_certificate_verify(body: bytes) -> tuple[int, bytes]:
    """Return signature scheme and signature (RFC 8446 section 4.4.3). Raises HandshakeError."""
    reader = Reader(body, "CertificateVerify")
    scheme = reader.integer(2)
    signature = reader.vector(2)
    reader.finish()
    return scheme, signature


def parse_new_session_ticket(body: bytes) -> NewSessionTicket:
    """Parse a NewSessionTicket (RFC 8446 section 4.6.1). Raises HandshakeError."""
    reader = Reader(body, "NewSessionTicket")
    lifetime = reader.integer(4)
    age_add = reader.integer(4)
    nonce = reader.vector(1)
    ticket = reader.vector(2, 1)
    # rfc8446:4.6.1:14
    found = extensions.parse_extensions(reader.vector(2), NEW_SESSION_TICKET)
    reader.finish()
    if lifetime > MAX_TICKET_LIFETIME:
        # rfc8446:4.6.1:9
        raise HandshakeError(ILLEGAL_PARAMETER, f"a ticket_lifetime of {lifetime} s is more than seven days")
    early_data = found.get(extensions.EARLY_DATA)
    if early_data is not None and len(early_data) != 4:
        raise HandshakeError(DECODE_ERROR, "NewSessionTicket's early_data must have 4 bytes")
    if early_data is not None and early_data != _UNLIMITED:
        # rfc9001:4.6.1:2
        raise HandshakeError(
            ILLEGAL_PARAMETER, "max_early_data_size must be 0xffffffff in QUIC", protocol_violation=True
        )
    return NewSessionTicket(lifetime, age_add, nonce, ticket, early_data is not None)


def encode_message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes((kind,)) + codec.vector24(body)


def encode_encrypted_extensions(alpn: str, transport_parameters: bytes, early_data: bool = False) -> bytes:
    """Return an EncryptedExtensions with the two extensions that QUIC needs, and whether 0-RTT is accepted."""
    bodies = {
        extensions.ALPN: extensions.encode_alpn((alpn,)),
        extensions.QUIC_TRANSPORT_PARAMETERS: transport_parameters,
    }
    if early_data:
        bodies[extensions.EARLY_DATA] = b""
    return encode_message(ENCRYPTED_EXTENSIONS, codec.vector16(extensions.encode_block(bodies)))


def encode_new_session_ticket(ticket: NewSessionTicket, more: bytes = b"") -> bytes:
    """Return a NewSessionTicket; `more` are further extensions."""
    body = ticket.lifetime.to_bytes(4) + ticket.age_add.to_bytes(4)
    body += codec.vector8(ticket.nonce) + codec.vector16(ticket.ticket)
    # rfc9001:4.6.1:1
    block = extensions.encode_extension(extensions.EARLY_DATA, _UNLIMITED) if ticket.early_data else b""
    return encode_message(NEW_SESSION_TICKET, body + codec.vector16(block + more))


def encode_certificate_request(signatures: tuple[int, ...], more: bytes = b"") -> bytes:
    """Return a CertificateRequest that allows `signatures`; `more` are further extensions."""
    bodies = {extensions.SIGNATURE_ALGORITHMS: codec.vector16(codec.numbers(signatures))}
    block = extensions.encode_block(bodies) + more
    return encode_message(CERTIFICATE_REQUEST, b"\x00" + codec.vector16(block))


def encode_certificate(chain: tuple[bytes, ...]) -> bytes:
    """Return a Certificate message without entry extensions."""
    entries = b"".join(codec.vector24(der) + b"\x00\x00" for der in chain)
    return encode_message(CERTIFICATE, b"\x00" + codec.vector24(entries))


def encode_certificate_verify(scheme: int, signature: bytes) -> bytes:
    """Return a CertificateVerify."""
    return encode_message(CERTIFICATE_VERIFY, scheme.to_bytes(2) + codec.vector16(signature))


def encode_finished(verify_data: bytes) -> bytes:
    """Return a Finished."""
    return encode_message(FINISHED, verify_data)
