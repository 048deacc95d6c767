"""Handshake messages of RFC 8446 section 4: strict parsing of bodies, encoding of whole messages."""

from dataclasses import dataclass
from typing import Final

from stack.tls import codec, extensions
from stack.tls.alerts import (
    DECODE_ERROR,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    PROTOCOL_VERSION,
    HandshakeError,
)
from stack.tls.codec import Reader
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    NEW_SESSION_TICKET,
    SERVER_HELLO,
    TLS_1_3,
)

# The largest body accepted, by message type: a message is held until it is complete, so there must be limits.
SIZE_LIMITS: Final[dict[int, int]] = {
    CLIENT_HELLO: 1 << 14,
    SERVER_HELLO: 1 << 12,
    ENCRYPTED_EXTENSIONS: 1 << 14,
    CERTIFICATE: 1 << 17,
    CERTIFICATE_VERIFY: 1 << 13,
    FINISHED: 64,
    NEW_SESSION_TICKET: (1 << 16) + (1 << 12),
}

LEGACY_VERSION: Final = b"\x03\x03"
SSL_3: Final = b"\x03\x00"
MAX_TICKET_LIFETIME: Final = 604_800  # seconds

# ServerHello.random values with a meaning, RFC 8446 section 4.1.3.
HELLO_RETRY_REQUEST: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADES: Final = (b"DOWNGRD\x01", b"DOWNGRD\x00")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A ClientHello; None stands for an extension that is absent."""

    random: bytes
    suites: tuple[int, ...]
    versions: tuple[int, ...] | None
    groups: tuple[int, ...] | None
    signatures: tuple[int, ...] | None
    key_shares: dict[int, bytes] | None
    server_name: str | None
    alpn: tuple[bytes, ...] | None
    transport_parameters: bytes | None


@dataclass(frozen=True, slots=True)
class ServerHello:
    """A ServerHello of TLS 1.3."""

    random: bytes
    suite: int
    group: int
    public: bytes


@dataclass(frozen=True, slots=True)
class EncryptedExtensions:
    """An EncryptedExtensions; None stands for an extension that is absent."""

    alpn: bytes | None
    transport_parameters: bytes | None


def parse_client_hello(body: bytes) -> ClientHello:
    """Parse a ClientHello (RFC 8446 section 4.1.2) that must offer TLS 1.3 without compatibility mode.

    Raises HandshakeError.
    """
    reader = Reader(body, "ClientHello")
    legacy_version = reader.take(2)
    random = reader.take(32)
    session_id = reader.vector(1)
    suites = reader.numbers(2)
    compression = reader.vector(1, 1)
    found = extensions.parse_extensions(reader.vector(2), CLIENT_HELLO) if reader.left else {}
    reader.finish()
    if len(session_id) > 32:
        raise HandshakeError(DECODE_ERROR, "legacy_session_id has more than 32 bytes")
    versions = found.get(extensions.SUPPORTED_VERSIONS)
    offered = None if versions is None else extensions.parse_numbers(versions, "supported_versions", 1)
    # rfc8446:4.2.1:4 rfc8446:D.2:3 rfc8446:D.5:10
    if legacy_version == SSL_3 or offered is None or TLS_1_3 not in offered:
        raise HandshakeError(PROTOCOL_VERSION, "the client does not offer TLS 1.3")
    if compression != b"\x00":
        # rfc8446:4.1.2:14
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_compression_methods must be the null method alone")
    if session_id:
        # rfc9001:8.4:2
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_session_id must be empty in QUIC", protocol_violation=True)
    _check_pre_shared_key(found)
    names = found.get(extensions.SERVER_NAME)
    groups = found.get(extensions.SUPPORTED_GROUPS)
    signatures = found.get(extensions.SIGNATURE_ALGORITHMS)
    key_shares = found.get(extensions.KEY_SHARE)
    protocols = found.get(extensions.ALPN)
    return ClientHello(
        random,
        suites,
        offered,
        None if groups is None else extensions.parse_numbers(groups, "supported_groups"),
        None if signatures is None else extensions.parse_numbers(signatures, "signature_algorithms"),
        None if key_shares is None else extensions.parse_key_shares(key_shares),
        None if names is None else extensions.parse_server_name(names),
        None if protocols is None else extensions.parse_alpn(protocols),
        found.get(extensions.QUIC_TRANSPORT_PARAMETERS),
    )


def _check_pre_shared_key(found: dict[int, bytes]) -> None:
    """Check the place of an offered pre-shared key, and that its modes are there (section 4.2.11)."""
    if extensions.PRE_SHARED_KEY not in found:
        return
    if next(reversed(found)) != extensions.PRE_SHARED_KEY:
        # rfc8446:4.2:6
        raise HandshakeError(ILLEGAL_PARAMETER, "pre_shared_key must be the last extension")
    if extensions.PSK_KEY_EXCHANGE_MODES not in found:
        # rfc8446:4.2.9:3
        raise HandshakeError(MISSING_EXTENSION, "pre_shared_key without psk_key_exchange_modes")


def parse_server_hello(body: bytes, offered: tuple[int, ...]) -> ServerHello:
    """Parse a ServerHello (RFC 8446 section 4.1.3); `offered` are the ClientHello's extension types.

    Raises HandshakeError; handshake_failure for a HelloRetryRequest, which this version does not follow.
    """
    reader = Reader(body, "ServerHello")
    legacy_version = reader.take(2)
    random = reader.take(32)
    session_id = reader.vector(1)
    suite = reader.integer(2)
    compression = reader.integer(1)
    block = reader.vector(2) if reader.left else b""
    reader.finish()
    if random == HELLO_RETRY_REQUEST:
        # rfc8446:4.1.3:9
        raise HandshakeError(HANDSHAKE_FAILURE, "the server asks for another hello, HelloRetryRequest is not supported")
    found = extensions.parse_extensions(block, SERVER_HELLO)
    _check_version(legacy_version, random, found.get(extensions.SUPPORTED_VERSIONS))
    if session_id:
        # rfc8446:4.1.3:4
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_session_id_echo must be empty")
    if compression:
        # rfc8446:4.1.3:6
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_compression_method must be 0")
    extensions.check_offered(found, offered)
    if extensions.KEY_SHARE not in found:
        raise HandshakeError(MISSING_EXTENSION, "ServerHello has no key_share")
    group, public = extensions.parse_key_share(found[extensions.KEY_SHARE])
    return ServerHello(random, suite, group, public)


def _check_version(legacy_version: bytes, random: bytes, selected: bytes | None) -> None:
    """Check that the server chose TLS 1.3, and whether it says that somebody downgraded the ClientHello."""
    # rfc8446:4.2.1:11 rfc8446:D.5:10 rfc9001:4.2:2
    if legacy_version == SSL_3:
        raise HandshakeError(PROTOCOL_VERSION, "the server chose SSL 3")
    if selected is not None:
        if extensions.parse_selected_version(selected) != TLS_1_3:
            # rfc8446:4.2.1:13
            raise HandshakeError(ILLEGAL_PARAMETER, "the server chose a version that was not offered")
        return
    if random.endswith(DOWNGRADES):
        # rfc8446:4.1.3:15
        raise HandshakeError(ILLEGAL_PARAMETER, "the ServerHello carries the downgrade sentinel")
    raise HandshakeError(PROTOCOL_VERSION, "the server chose a version older than TLS 1.3")


def parse_encrypted_extensions(body: bytes, offered: tuple[int, ...]) -> EncryptedExtensions:
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
    return EncryptedExtensions(alpn, found.get(extensions.QUIC_TRANSPORT_PARAMETERS))


def parse_certificate(body: bytes, offered: tuple[int, ...]) -> tuple[bytes, ...]:
    """Return a server's certificates as DER, leaf first (RFC 8446 section 4.4.2). Raises HandshakeError."""
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
        # rfc8446:4.4.2:6
        extensions.check_offered(extensions.parse_extensions(entries.vector(2), CERTIFICATE), offered)
    if not chain:
        # rfc8446:4.4.2.4:1
        raise HandshakeError(DECODE_ERROR, "the server sent no certificate")
    return tuple(chain)


def parse_certificate_verify(body: bytes) -> tuple[int, bytes]:
    """Return signature scheme and signature (RFC 8446 section 4.4.3). Raises HandshakeError."""
    reader = Reader(body, "CertificateVerify")
    scheme = reader.integer(2)
    signature = reader.vector(2)
    reader.finish()
    return scheme, signature


def check_new_session_ticket(body: bytes) -> None:
    """Check the form of a NewSessionTicket (RFC 8446 section 4.6.1). Raises HandshakeError."""
    reader = Reader(body, "NewSessionTicket")
    lifetime = reader.integer(4)
    reader.take(4)
    reader.vector(1)
    reader.vector(2, 1)
    extensions.parse_extensions(reader.vector(2), NEW_SESSION_TICKET)
    reader.finish()
    if lifetime > MAX_TICKET_LIFETIME:
        # rfc8446:4.6.1:9
        raise HandshakeError(ILLEGAL_PARAMETER, f"a ticket_lifetime of {lifetime} s is more than seven days")


def encode_message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes((kind,)) + codec.vector24(body)


def encode_client_hello(random: bytes, suites: tuple[int, ...], block: bytes) -> bytes:
    """Return a ClientHello with an empty legacy_session_id; `block` holds the encoded extensions."""
    # rfc8446:4.1.2:6 rfc8446:4.1.2:10 rfc8446:4.1.2:13 rfc9001:8.4:1
    body = LEGACY_VERSION + random + b"\x00" + codec.vector16(codec.numbers(suites)) + b"\x01\x00"
    return encode_message(CLIENT_HELLO, body + codec.vector16(block))


def encode_server_hello(random: bytes, suite: int, group: int, public: bytes) -> bytes:
    """Return a ServerHello that chooses TLS 1.3, `suite` and `group`."""
    # rfc8446:4.2.1:9 rfc8446:4.2.1:10
    block = extensions.encode_extension(extensions.SUPPORTED_VERSIONS, TLS_1_3.to_bytes(2))
    block += extensions.encode_extension(extensions.KEY_SHARE, extensions.encode_key_share(group, public))
    body = LEGACY_VERSION + random + b"\x00" + suite.to_bytes(2) + b"\x00"
    return encode_message(SERVER_HELLO, body + codec.vector16(block))


def encode_encrypted_extensions(alpn: str, transport_parameters: bytes) -> bytes:
    """Return an EncryptedExtensions with the two extensions that QUIC needs."""
    block = extensions.encode_extension(extensions.ALPN, extensions.encode_alpn((alpn,)))
    block += extensions.encode_extension(extensions.QUIC_TRANSPORT_PARAMETERS, transport_parameters)
    return encode_message(ENCRYPTED_EXTENSIONS, codec.vector16(block))


def encode_certificate(chain: tuple[bytes, ...]) -> bytes:
    """Return a server's Certificate message without entry extensions."""
    entries = b"".join(codec.vector24(der) + b"\x00\x00" for der in chain)
    return encode_message(CERTIFICATE, b"\x00" + codec.vector24(entries))


def encode_certificate_verify(scheme: int, signature: bytes) -> bytes:
    """Return a CertificateVerify."""
    return encode_message(CERTIFICATE_VERIFY, scheme.to_bytes(2) + codec.vector16(signature))


def encode_finished(verify_data: bytes) -> bytes:
    """Return a Finished."""
    return encode_message(FINISHED, verify_data)
