"""ClientHello, ServerHello and HelloRetryRequest (RFC 8446 sections 4.1.2 to 4.1.4): strict parsing, encoding."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from stack.tls import codec, extensions
from stack.tls.alerts import DECODE_ERROR, ILLEGAL_PARAMETER, MISSING_EXTENSION, PROTOCOL_VERSION, HandshakeError
from stack.tls.codec import Reader
from stack.tls.extensions import CLIENT_HELLO, HELLO_RETRY_REQUEST, SERVER_HELLO, TLS_1_3
from stack.tls.messages import encode_message
from stack.tls.psk import PskOffer, parse_modes, parse_offer, parse_selected

LEGACY_VERSION: Final = b"\x03\x03"
SSL_3: Final = b"\x03\x00"

# ServerHello.random values with a meaning, RFC 8446 section 4.1.3.
RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADES: Final = (b"DOWNGRD\x01", b"DOWNGRD\x00")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A ClientHello; None stands for an extension that is absent."""

    random: bytes
    suites: tuple[int, ...]
    extensions: dict[int, bytes]  # all of them, undecoded
    groups: tuple[int, ...] | None
    signatures: tuple[int, ...] | None
    key_shares: dict[int, bytes] | None
    server_name: str | None
    alpn: tuple[bytes, ...] | None
    transport_parameters: bytes | None
    psk_modes: tuple[int, ...]  # none when absent
    psk: PskOffer | None


@dataclass(frozen=True, slots=True)
class ServerHello:
    """A ServerHello of TLS 1.3; None stands for an extension that is absent."""

    random: bytes
    suite: int
    share: tuple[int, bytes] | None  # group and public key
    psk: int | None  # index among the client's identities


@dataclass(frozen=True, slots=True)
class HelloRetryRequest:
    """A server's wish for another ClientHello; None stands for an extension that is absent."""

    suite: int
    group: int | None
    cookie: bytes | None


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
    modes = found.get(extensions.PSK_KEY_EXCHANGE_MODES)
    psk = found.get(extensions.PRE_SHARED_KEY)
    if found.get(extensions.EARLY_DATA):
        raise HandshakeError(DECODE_ERROR, "ClientHello's early_data must be empty")
    if extensions.EARLY_DATA in found and psk is None:
        # rfc8446:4.2.10:1
        raise HandshakeError(ILLEGAL_PARAMETER, "early_data without pre_shared_key")
    return ClientHello(
        random,
        suites,
        found,
        None if groups is None else extensions.parse_numbers(groups, "supported_groups"),
        None if signatures is None else extensions.parse_numbers(signatures, "signature_algorithms"),
        None if key_shares is None else extensions.parse_key_shares(key_shares),
        None if names is None else extensions.parse_server_name(names),
        None if protocols is None else extensions.parse_alpn(protocols),
        found.get(extensions.QUIC_TRANSPORT_PARAMETERS),
        () if modes is None else parse_modes(modes),
        None if psk is None else parse_offer(psk),
    )


def _check_pre_shared_key(found: dict[int, bytes]) -> None:
    """Check the place of an offered pre-shared key, and that its modes are there (section 4.2.11)."""
    if extensions.PRE_SHARED_KEY not in found:
        return
    if next(reversed(found)) != extensions.PRE_SHARED_KEY:
        # rfc8446:4.2:6 rfc8446:4.2.11:16
        raise HandshakeError(ILLEGAL_PARAMETER, "pre_shared_key must be the last extension")
    if extensions.PSK_KEY_EXCHANGE_MODES not in found:
        # rfc8446:4.2.9:3
        raise HandshakeError(MISSING_EXTENSION, "pre_shared_key without psk_key_exchange_modes")


def parse_server_hello(body: bytes, offered: Container[int]) -> ServerHello | HelloRetryRequest:
    """Parse a ServerHello or HelloRetryRequest (RFC 8446 sections 4.1.3, 4.1.4).

    `offered` are the ClientHello's extension types. Raises HandshakeError.
    """
    reader = Reader(body, "ServerHello")
    legacy_version = reader.take(2)
    random = reader.take(32)
    session_id = reader.vector(1)
    suite = reader.integer(2)
    compression = reader.integer(1)
    block = reader.vector(2) if reader.left else b""
    reader.finish()
    # rfc8446:4.1.3:9
    retry = random == RETRY_RANDOM
    found = extensions.parse_extensions(block, HELLO_RETRY_REQUEST if retry else SERVER_HELLO)
    # rfc8446:4.1.4:4 rfc8446:4.1.4:12
    _check_version(legacy_version, random, found.get(extensions.SUPPORTED_VERSIONS))
    if session_id:
        # rfc8446:4.1.3:4
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_session_id_echo must be empty")
    if compression:
        # rfc8446:4.1.3:6
        raise HandshakeError(ILLEGAL_PARAMETER, "legacy_compression_method must be 0")
    cookie = found.pop(extensions.COOKIE, None)
    extensions.check_offered(found, offered)
    share = found.get(extensions.KEY_SHARE)
    if retry:
        return HelloRetryRequest(
            suite,
            None if share is None else extensions.parse_selected_group(share),
            None if cookie is None else extensions.parse_cookie(cookie),
        )
    psk = found.get(extensions.PRE_SHARED_KEY)
    if share is None and psk is None:
        raise HandshakeError(MISSING_EXTENSION, "ServerHello has neither key_share nor pre_shared_key")
    return ServerHello(
        random,
        suite,
        None if share is None else extensions.parse_key_share(share),
        None if psk is None else parse_selected(psk),
    )


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


def encode_client_hello(random: bytes, suites: tuple[int, ...], block: bytes) -> bytes:
    """Return a ClientHello with an empty legacy_session_id; `block` holds the encoded extensions."""
    # rfc8446:4.1.2:6 rfc8446:4.1.2:10 rfc8446:4.1.2:13 rfc9001:8.4:1
    body = LEGACY_VERSION + random + b"\x00" + codec.vector16(codec.numbers(suites)) + b"\x01\x00"
    return encode_message(CLIENT_HELLO, body + codec.vector16(block))


def encode_server_hello(random: bytes, suite: int, share: tuple[int, bytes] | None, psk: int | None = None) -> bytes:
    """Return a ServerHello that chooses TLS 1.3, `suite`, and a group with its key or a client's PSK, or both."""
    bodies: dict[int, bytes] = {}
    if psk is not None:
        bodies[extensions.PRE_SHARED_KEY] = psk.to_bytes(2)
    if share is not None:
        bodies[extensions.KEY_SHARE] = extensions.encode_key_share(*share)
    return _encode_server_hello(random, suite, extensions.encode_block(bodies))


def encode_hello_retry_request(suite: int, group: int) -> bytes:
    """Return a HelloRetryRequest that asks for a key share of `group`.

    There is no cookie in it: QUIC has Retry, so that an engine need not forget its client (RFC 9001 section 4.7).
    """
    # rfc8446:4.1.4:1 rfc8446:4.1.4:2
    return _encode_server_hello(
        RETRY_RANDOM, suite, extensions.encode_extension(extensions.KEY_SHARE, group.to_bytes(2))
    )


def _encode_server_hello(random: bytes, suite: int, block: bytes) -> bytes:
    # rfc8446:4.2.1:9 rfc8446:4.2.1:10
    block = extensions.encode_extension(extensions.SUPPORTED_VERSIONS, TLS_1_3.to_bytes(2)) + block
    body = LEGACY_VERSION + random + b"\x00" + suite.to_bytes(2) + b"\x00"
    return encode_message(SERVER_HELLO, body + codec.vector16(block))
