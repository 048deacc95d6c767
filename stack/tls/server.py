"""The server's side of a handshake (RFC 8446 section 2, appendix A.2)."""

from functools import lru_cache
from typing import TYPE_CHECKING

from stack.randomness import Randomness
from stack.tls import messages, selection
from stack.tls.alerts import MISSING_EXTENSION, HandshakeError
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
from stack.tls.hello import ClientHello, encode_hello_retry_request, encode_server_hello, parse_client_hello
from stack.tls.hello_retry import check_second_hello, message_hash
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.signatures import salt_length, server_content, sign
from stack.tls.states import State

if TYPE_CHECKING:
    from stack.tls.config import ServerTls


@lru_cache(maxsize=64)
def _certificate_message(chain: tuple[bytes, ...]) -> bytes:
    return messages.encode_certificate(chain)


class ServerHandshake(Handshake):
    """A server's engine; see `stack.tls.engine.Engine`."""

    __slots__ = ("_alpn", "_client_application_secret", "_config", "_first_hello", "_group", "_parameters", "_scheme")

    def __init__(self, config: "ServerTls", transport_parameters: LocalTransportParameters, rng: Randomness) -> None:
        super().__init__(State.SERVER_START, None, transport_parameters, rng)
        self._config = config
        self._first_hello: ClientHello | None = None  # while the second one is awaited
        self._group = 0
        self._scheme = 0
        self._alpn = ""
        self._parameters = b""  # ours
        self._client_application_secret = b""

    def _handle(self, kind: int, message: bytes) -> State | None:
        if kind == CLIENT_HELLO:
            return self._on_client_hello(message)
        self._on_finished(message)
        return None

    def _on_client_hello(self, message: bytes) -> State | None:
        hello = parse_client_hello(message[HEADER_SIZE:])
        if self._first_hello is None:
            self._choose(hello)
            if self._group not in (hello.key_shares or ()):
                return self._ask_again(hello, message)
        else:
            # rfc8446:4.1.4:9 nothing is chosen anew
            check_second_hello(self._first_hello, hello, self._group)
            self._first_hello = None
        self._answer(hello, message)
        return None

    def _choose(self, hello: ClientHello) -> None:
        """Choose everything that a second ClientHello does not change, and exchange transport parameters."""
        config = self._config
        self._suite = selection.choose_suite(config, hello)
        self._group = selection.choose_group(config, hello)
        self._scheme = selection.choose_scheme(config, hello)
        self._alpn = selection.choose_alpn(config, hello)
        if hello.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "ClientHello has no quic_transport_parameters")
        self._client_random = hello.random
        self._server_name = hello.server_name
        # Before anything is sent: the transport may change its version for what the client offers
        self._events.append(PeerTransportParameters(hello.transport_parameters))
        self._parameters = self._local_parameters(hello.transport_parameters)

    def _ask_again(self, hello: ClientHello, message: bytes) -> State:
        """Ask for a key share of the chosen group (rfc8446:4.1.1:3)."""
        self._first_hello = hello
        retry = encode_hello_retry_request(self._suite, self._group)
        self._prefix = message_hash(SUITES[self._suite], message) + retry
        self._send(INITIAL, retry)
        return State.SERVER_WAIT_SECOND_CLIENT_HELLO

    def _answer(self, hello: ClientHello, message: bytes) -> None:
        """Send ServerHello to Finished."""
        random = self._rng.randbytes(32)
        share = (hello.key_shares or {})[self._group]
        public, shared_secret = GROUPS[self._group].answer(share, self._rng, self._config.deterministic)
        self._events.append(HandshakeInfo(self._alpn, self._server_name, resumed=False))
        server_hello = encode_server_hello(random, self._suite, self._group, public)
        self._schedule = KeySchedule(SUITES[self._suite])
        self._schedule.add_message(self._prefix + message + server_hello)
        self._prefix = b""
        self._send(INITIAL, server_hello)
        self._enter_handshake(shared_secret, client=False)
        self._send_flight()

    def _send_flight(self) -> None:
        """Send EncryptedExtensions to Finished and give out the application write secret."""
        schedule = self._schedule
        credentials = self._config.credentials
        flight = messages.encode_encrypted_extensions(self._alpn, self._parameters)
        flight += _certificate_message(credentials.certificates)
        schedule.add_message(flight)
        scheme = self._scheme
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
