"""A server's choices from what a client offers (RFC 8446 section 4.1.1): our preferences go before the client's."""

from typing import TYPE_CHECKING, Final, NamedTuple

from stack.limits import MAX_PSK_IDENTITIES
from stack.tls.alerts import (
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    HandshakeError,
)
from stack.tls.hello import ClientHello
from stack.tls.schedule import SUITES
from stack.tls.tickets import Ticket, TicketOffice

if TYPE_CHECKING:
    from stack.tls.config import ServerTls

SECOND: Final = 1_000_000_000  # ns


class ChosenPsk(NamedTuple):
    """One of a client's pre-shared keys, and what it settles. `ticket` is None for an external key."""

    position: int  # among the client's identities
    mode: int
    suite: int
    key: bytes
    ticket: Ticket | None


def choose_psk(
    config: "ServerTls", office: TicketOffice, hello: ClientHello, suites: tuple[int, ...], context: bytes, now: int
) -> ChosenPsk | None:
    """Return the client's first key that we know, for which it offers a suite of `suites` and a mode of ours."""
    # rfc8446:4.1.1:2 rfc8446:4.2.9:4
    mode = next((mode for mode in config.psk_modes if mode in hello.psk_modes), None)
    if hello.psk is None or mode is None:
        return None
    external = {psk.identity: psk for psk in config.psks}
    for position, (identity, _) in enumerate(hello.psk.identities[:MAX_PSK_IDENTITIES]):
        shared = external.get(identity)
        if shared is not None:
            ticket, key = None, shared.key
            suite = _suite_with(shared.hash_name, suites, hello.suites)
        else:
            ticket = office.open(identity, now)
            if ticket is None or not _may_resume(config, ticket, hello, context, now):
                continue
            key = ticket.key
            # rfc8446:4.6.1:4; the session's own suite, if possible: 0-RTT goes with that one only
            preferred = (ticket.suite, *suites) if ticket.suite in suites else suites
            suite = _suite_with(SUITES[ticket.suite], preferred, hello.suites)
        if suite is not None:
            # rfc8446:4.2.11:3
            return ChosenPsk(position, mode, suite, key, ticket)
    return None


def _suite_with(hash_name: str, suites: tuple[int, ...], offered: tuple[int, ...]) -> int | None:
    return next((suite for suite in suites if suite in offered and SUITES[suite] == hash_name), None)


def _may_resume(config: "ServerTls", ticket: Ticket, hello: ClientHello, context: bytes, now: int) -> bool:
    return (
        now < ticket.issued_at + config.ticket_lifetime * SECOND
        and ticket.server_name == hello.server_name
        and ticket.context == context
        and _authenticates(config, ticket.certificates)
    )


def _authenticates(config: "ServerTls", chain: tuple[bytes, ...]) -> bool:
    """Whether the certificates that a client once showed still serve."""
    if config.client_trust is None or not chain:
        return config.client_auth != "require"
    try:
        config.client_trust.verify_client(chain)
    except HandshakeError:
        return False
    return True


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
    if config.credentials is None:
        raise HandshakeError(HANDSHAKE_FAILURE, "the client has none of our keys, and we have no certificate")
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
