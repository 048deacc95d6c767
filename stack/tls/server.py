"""The server's side of a full handshake (RFC 8446 section 2, appendix A.2).

There is no HelloRetryRequest in this version: a ClientHello without a key share of a group that the server
knows ends the handshake with handshake_failure.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from stack.randomness import Randomness
from stack.tls import messages
from stack.tls.alerts import (
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    HandshakeError,
)
from stack.tls.engine import (
    APPLICATION,
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Completed,
    HandshakeInfo,
    LocalTransportParameters,
    PeerTransportParameters,
)
from stack.tls.extensions import CLIENT_HELLO
from stack.tls.groups import GROUPS
from stack.tls.handshake import HEADER_SIZE, Handshake
from stack.tls.messages import ClientHello
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.signatures import salt_length, schemes_for, server_content, sign
from stack.tls.states import State

if TYPE_CHECKING:
    from stack.tls.config import ServerTls


@lru_cache(maxsize=64)
def _certificate_message(chain: tuple[bytes, ...]) -> bytes:
    return messages.encode_certificate(chain)


class ServerHandshake(Handshake):
    """A server's engine; see `stack.tls.engine.Engine`."""

    __slots__ = ("_client_application_secret", "_config")

    def __init__(self, config: "ServerTls", transport_parameters: LocalTransportParameters, rng: Randomness) -> None:
        super().__init__(State.SERVER_START, None, transport_parameters, rng)
        self._config = config
        self._client_application_secret = b""

    def _handle(self, kind: int, message: bytes) -> None:
        if kind == CLIENT_HELLO:
            self._on_client_hello(message)
        else:
            self._on_finished(message)

    def _on_client_hello(self, message: bytes) -> None:
        hello = messages.parse_client_hello(message[HEADER_SIZE:])
        suite = self._choose_suite(hello)
        group, share = self._choose_share(hello)
        scheme = self._choose_scheme(hello)
        alpn = self._choose_alpn(hello)
        if hello.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "ClientHello has no quic_transport_parameters")
        random = self._rng.randbytes(32)
        public, shared_secret = GROUPS[group].answer(share, self._rng)

        self._client_random = hello.random
        self._server_name = hello.server_name
        self._events.append(PeerTransportParameters(hello.transport_parameters))
        self._events.append(HandshakeInfo(alpn, hello.server_name, resumed=False))
        parameters = self._local_parameters(hello.transport_parameters)

        server_hello = messages.encode_server_hello(random, suite, group, public)
        self._suite = suite
        self._schedule = KeySchedule(SUITES[suite])
        self._schedule.add_message(message)
        self._schedule.add_message(server_hello)
        self._send(INITIAL, server_hello)
        self._enter_handshake(shared_secret, client=False)
        self._send_flight(alpn, parameters, scheme)

    def _choose_suite(self, hello: ClientHello) -> int:
        """Return our preferred one of the client's cipher suites."""
        for suite in self._config.suites:
            if suite in hello.suites:
                return suite
        # rfc8446:4.1.1:4
        raise HandshakeError(HANDSHAKE_FAILURE, "no cipher suite in common")

    def _choose_share(self, hello: ClientHello) -> tuple[int, bytes]:
        """Return our preferred one of the groups for which the client sent a key share, and that share."""
        groups, shares = hello.groups, hello.key_shares
        if groups is None or shares is None:
            # rfc8446:9.2:12
            raise HandshakeError(MISSING_EXTENSION, "ClientHello must have supported_groups and key_share")
        if any(group not in groups for group in shares):
            # rfc8446:4.2.8:8
            raise HandshakeError(ILLEGAL_PARAMETER, "a key share for a group that is not in supported_groups")
        for group in self._config.groups:
            if group in shares:
                return group, shares[group]
        # rfc8446:4.1.1:1
        raise HandshakeError(HANDSHAKE_FAILURE, "no key share of a group in common")

    def _choose_scheme(self, hello: ClientHello) -> int:
        """Return our preferred one of the client's signature schemes that suit our key."""
        if hello.signatures is None:
            # rfc8446:4.2.3:3
            raise HandshakeError(MISSING_EXTENSION, "ClientHello must have signature_algorithms")
        for scheme in schemes_for(self._config.credentials.private_key):
            if scheme in hello.signatures:
                return scheme
        raise HandshakeError(HANDSHAKE_FAILURE, "no signature scheme in common that suits the server's key")

    def _choose_alpn(self, hello: ClientHello) -> str:
        """Return our preferred one of the client's application protocols."""
        for protocol in self._config.alpn:
            if protocol.encode() in (hello.alpn or ()):
                return protocol
        # rfc9001:8.1:2
        raise HandshakeError(NO_APPLICATION_PROTOCOL, "no application protocol in common")

    def _send_flight(self, alpn: str, parameters: bytes, scheme: int) -> None:
        """Send EncryptedExtensions to Finished and give out the application write secret."""
        schedule = self._schedule
        credentials = self._config.credentials
        flight = messages.encode_encrypted_extensions(alpn, parameters)
        flight += _certificate_message(credentials.certificates)
        schedule.add_message(flight)
        salt = self._rng.randbytes(salt_length(scheme)) if self._config.deterministic else None
        content = server_content(schedule.transcript_hash())
        verify = messages.encode_certificate_verify(scheme, sign(credentials.private_key, scheme, content, salt))
        schedule.add_message(verify)
        finished = messages.encode_finished(schedule.verify_data(self._server_secret))
        schedule.add_message(finished)
        self._send(HANDSHAKE, flight + verify + finished)
        self._client_application_secret, server_secret = self._enter_application()
        self._secret(APPLICATION, WRITE, server_secret)

    def _on_finished(self, message: bytes) -> None:
        self._check_finished(message[HEADER_SIZE:], self._client_secret)
        self._schedule.add_message(message)
        self._secret(APPLICATION, READ, self._client_application_secret)
        self._client_application_secret = self._client_secret = self._server_secret = b""
        self._events.append(Completed())
