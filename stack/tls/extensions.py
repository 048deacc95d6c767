"""Extension blocks: which extension may stand where (RFC 8446 section 4.2), and the bodies that QUIC uses."""

from collections.abc import Container
from typing import Final

from stack.tls import codec
from stack.tls.alerts import DECODE_ERROR, ILLEGAL_PARAMETER, UNSUPPORTED_EXTENSION, HandshakeError
from stack.tls.codec import Reader

# Handshake message types, RFC 8446 section 4.
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
NEW_SESSION_TICKET: Final = 4
END_OF_EARLY_DATA: Final = 5
ENCRYPTED_EXTENSIONS: Final = 8
CERTIFICATE: Final = 11
CERTIFICATE_REQUEST: Final = 13
CERTIFICATE_VERIFY: Final = 15
FINISHED: Final = 20
KEY_UPDATE: Final = 24
HELLO_RETRY_REQUEST: Final = 0x102  # on the wire a ServerHello; its extensions are others

MESSAGE_NAMES: Final[dict[int, str]] = {
    CLIENT_HELLO: "ClientHello",
    SERVER_HELLO: "ServerHello",
    NEW_SESSION_TICKET: "NewSessionTicket",
    END_OF_EARLY_DATA: "EndOfEarlyData",
    ENCRYPTED_EXTENSIONS: "EncryptedExtensions",
    CERTIFICATE: "Certificate",
    CERTIFICATE_REQUEST: "CertificateRequest",
    CERTIFICATE_VERIFY: "CertificateVerify",
    FINISHED: "Finished",
    KEY_UPDATE: "KeyUpdate",
    HELLO_RETRY_REQUEST: "HelloRetryRequest",
}

# Extension types.
SERVER_NAME: Final = 0
SUPPORTED_GROUPS: Final = 10
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
PADDING: Final = 21
PRE_SHARED_KEY: Final = 41
EARLY_DATA: Final = 42
SUPPORTED_VERSIONS: Final = 43
COOKIE: Final = 44
PSK_KEY_EXCHANGE_MODES: Final = 45
KEY_SHARE: Final = 51
QUIC_TRANSPORT_PARAMETERS: Final = 57

TLS_1_3: Final = 0x0304

_HELLO_AND_ENCRYPTED: Final = (CLIENT_HELLO, ENCRYPTED_EXTENSIONS)
_HELLOS: Final = (CLIENT_HELLO, SERVER_HELLO)
_HELLOS_AND_RETRY: Final = (CLIENT_HELLO, SERVER_HELLO, HELLO_RETRY_REQUEST)
_HELLO_AND_REQUEST: Final = (CLIENT_HELLO, CERTIFICATE_REQUEST)
_WITH_CERTIFICATES: Final = (CLIENT_HELLO, CERTIFICATE_REQUEST, CERTIFICATE)

# The table of RFC 8446 section 4.2, with RFC 9001 section 8.2's row.
PLACES: Final[dict[int, tuple[int, ...]]] = {
    SERVER_NAME: _HELLO_AND_ENCRYPTED,
    1: _HELLO_AND_ENCRYPTED,  # max_fragment_length
    5: _WITH_CERTIFICATES,  # status_request
    SUPPORTED_GROUPS: _HELLO_AND_ENCRYPTED,
    SIGNATURE_ALGORITHMS: _HELLO_AND_REQUEST,
    14: _HELLO_AND_ENCRYPTED,  # use_srtp
    15: _HELLO_AND_ENCRYPTED,  # heartbeat
    ALPN: _HELLO_AND_ENCRYPTED,
    18: _WITH_CERTIFICATES,  # signed_certificate_timestamp
    19: _HELLO_AND_ENCRYPTED,  # client_certificate_type
    20: _HELLO_AND_ENCRYPTED,  # server_certificate_type
    PADDING: (CLIENT_HELLO,),
    PRE_SHARED_KEY: _HELLOS,
    EARLY_DATA: (CLIENT_HELLO, ENCRYPTED_EXTENSIONS, NEW_SESSION_TICKET),
    SUPPORTED_VERSIONS: _HELLOS_AND_RETRY,
    COOKIE: (CLIENT_HELLO, HELLO_RETRY_REQUEST),
    PSK_KEY_EXCHANGE_MODES: (CLIENT_HELLO,),
    47: _HELLO_AND_REQUEST,  # certificate_authorities
    48: (CERTIFICATE_REQUEST,),  # oid_filters
    49: (CLIENT_HELLO,),  # post_handshake_auth
    50: _HELLO_AND_REQUEST,  # signature_algorithms_cert
    KEY_SHARE: _HELLOS_AND_RETRY,
    QUIC_TRANSPORT_PARAMETERS: _HELLO_AND_ENCRYPTED,
}


def encode_extension(kind: int, body: bytes) -> bytes:
    """Return one extension."""
    return kind.to_bytes(2) + codec.vector16(body)


def parse_extensions(block: bytes, message: int) -> dict[int, bytes]:
    """Return the extensions of a block of handshake message `message`, by type, in their order.

    Raises HandshakeError decode_error, or illegal_parameter for a repeated or a misplaced extension.
    """
    name = f"{MESSAGE_NAMES[message]}'s extensions"
    reader = Reader(block, name)
    extensions: dict[int, bytes] = {}
    while reader.left:
        kind = reader.integer(2)
        body = reader.vector(2)
        if kind in extensions:
            # rfc8446:4.2:7
            raise HandshakeError(ILLEGAL_PARAMETER, f"{name} repeat extension {kind}")
        if message not in PLACES.get(kind, (message,)):
            # rfc8446:4.2:5 rfc8446:4.3.1:2
            raise HandshakeError(ILLEGAL_PARAMETER, f"extension {kind} may not stand in {MESSAGE_NAMES[message]}")
        extensions[kind] = body
    return extensions


def encode_block(bodies: dict[int, bytes]) -> bytes:
    """Return the extensions one after the other."""
    return b"".join(encode_extension(kind, body) for kind, body in bodies.items())


def check_offered(extensions: dict[int, bytes], offered: Container[int]) -> None:
    """Check that the peer answers only what was offered; raises HandshakeError unsupported_extension."""
    for kind in extensions:
        if kind not in offered:
            # rfc8446:4.2:4
            raise HandshakeError(UNSUPPORTED_EXTENSION, f"the peer answers extension {kind}, which was not offered")


def encode_server_name(name: str) -> bytes:
    """Return a server_name body with one host name (RFC 6066 section 3)."""
    return codec.vector16(b"\x00" + codec.vector16(name.encode("ascii")))


def parse_server_name(body: bytes) -> str | None:
    """Return the host name of a ClientHello's server_name; names of other types are skipped."""
    outer = Reader(body, "server_name")
    entries = Reader(outer.vector(2, 1), "server_name")
    outer.finish()
    host: str | None = None
    while entries.left:
        kind = entries.integer(1)
        data = entries.vector(2, 1)
        if kind != 0:
            continue
        if host is not None or not data.isascii() or b"\x00" in data:
            raise HandshakeError(ILLEGAL_PARAMETER, "server_name must hold one ASCII host name")
        host = data.decode("ascii")
    return host


def encode_alpn(protocols: tuple[str, ...]) -> bytes:
    """Return an application_layer_protocol_negotiation body (RFC 7301 section 3.1)."""
    return codec.vector16(b"".join(codec.vector8(protocol.encode()) for protocol in protocols))


def parse_alpn(body: bytes) -> tuple[bytes, ...]:
    """Return the protocol names of an ALPN body."""
    outer = Reader(body, "the ALPN extension")
    entries = Reader(outer.vector(2, 2), "the ALPN extension")
    outer.finish()
    protocols = []
    while entries.left:
        protocols.append(entries.vector(1, 1))
    return tuple(protocols)


def parse_numbers(body: bytes, name: str, width: int = 2) -> tuple[int, ...]:
    """Return a body that is one list of 16-bit numbers: groups, signature schemes or (`width` 1) versions."""
    reader = Reader(body, name)
    values = reader.numbers(width)
    reader.finish()
    return values


def parse_selected_version(body: bytes) -> int:
    """Return the version in a ServerHello's supported_versions."""
    if len(body) != 2:
        raise HandshakeError(DECODE_ERROR, "ServerHello's supported_versions must have 2 bytes")
    return int.from_bytes(body)


def encode_key_share(group: int, public: bytes) -> bytes:
    """Return one KeyShareEntry: a ServerHello's key_share body, or an item of a ClientHello's."""
    return group.to_bytes(2) + codec.vector16(public)


def parse_key_share(body: bytes) -> tuple[int, bytes]:
    """Return group and public key of a ServerHello's key_share."""
    reader = Reader(body, "key_share")
    share = reader.integer(2), reader.vector(2, 1)
    reader.finish()
    return share


def parse_key_shares(body: bytes) -> dict[int, bytes]:
    """Return a ClientHello's key shares by group, in their order."""
    outer = Reader(body, "key_share")
    entries = Reader(outer.vector(2), "key_share")
    outer.finish()
    shares: dict[int, bytes] = {}
    while entries.left:
        group = entries.integer(2)
        public = entries.vector(2, 1)
        if group in shares:
            # rfc8446:4.2.8:8
            raise HandshakeError(ILLEGAL_PARAMETER, f"two key shares for group 0x{group:04x}")
        shares[group] = public
    return shares


def parse_cookie(body: bytes) -> bytes:
    """Return the cookie of a HelloRetryRequest."""
    reader = Reader(body, "cookie")
    cookie = reader.vector(2, 1)
    reader.finish()
    return cookie


def parse_selected_group(body: bytes) -> int:
    """Return the group in a HelloRetryRequest's key_share."""
    if len(body) != 2:
        raise HandshakeError(DECODE_ERROR, "HelloRetryRequest's key_share must have 2 bytes")
    return int.from_bytes(body)
