"""A server's choices from what a client offers (RFC 8446 section 4.1.1): our preferences go before the client's."""

from typing import TYPE_CHECKING

from stack.tls.alerts import (
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    HandshakeError,
)
from stack.tls.hello import ClientHello

if TYPE_CHECKING:
    from stack.tls.config import ServerTls


def choose_suite(config: "ServerTls", hello: ClientHello) -> int:
    """Return our preferred one of the client's cipher suites. Raises HandshakeError."""
    for suite in config.suites:
        if suite in hello.suites:
            return suite
    # rfc8446:4.1.1:4
    raise HandshakeError(HANDSHAKE_FAILURE, "no cipher suite in common")


def choose_group(config: "ServerTls", hello: ClientHello) -> int:
    """Return our preferred one of the client's groups: of those with a key share, unless our order is enforced.

    Raises HandshakeError.
    """
    groups, shares = hello.groups, hello.key_shares
    if groups is None or shares is None:
        # rfc8446:9.2:12
        raise HandshakeError(MISSING_EXTENSION, "ClientHello must have supported_groups and key_share")
    if any(group not in groups for group in shares):
        # rfc8446:4.2.8:8
        raise HandshakeError(ILLEGAL_PARAMETER, "a key share for a group that is not in supported_groups")
    common = [group for group in config.groups if group in groups]
    if not common:
        # rfc8446:4.1.1:1
        raise HandshakeError(HANDSHAKE_FAILURE, "no group in common")
    ready = [group for group in common if group in shares]
    return ready[0] if ready and not config.enforce_groups else common[0]


def choose_scheme(config: "ServerTls", hello: ClientHello) -> int:
    """Return our preferred one of the client's signature schemes that suit our key. Raises HandshakeError."""
    if hello.signatures is None:
        # rfc8446:4.2.3:3
        raise HandshakeError(MISSING_EXTENSION, "ClientHello must have signature_algorithms")
    for scheme in config.credentials.schemes:
        if scheme in hello.signatures:
            return scheme
    raise HandshakeError(HANDSHAKE_FAILURE, "no signature scheme in common that suits the server's key")


def choose_alpn(config: "ServerTls", hello: ClientHello) -> str:
    """Return our preferred one of the client's application protocols. Raises HandshakeError."""
    for protocol in config.alpn:
        if protocol.encode() in (hello.alpn or ()):
            return protocol
    # rfc9001:8.1:2
    raise HandshakeError(NO_APPLICATION_PROTOCOL, "no application protocol in common")
