"""The client's side of a handshake (RFC 8446 section 2, appendix A.1)."""

from functools import lru_cache
from typing import TYPE_CHECKING

from stack.randomness import Randomness
from stack.tls import codec, extensions, messages
from stack.tls.alerts import (
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    UNEXPECTED_MESSAGE,
    HandshakeError,
)
from stack.tls.certificates import Trust, leaf_kind, leaf_public_key, literal_address
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
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_VERIFY,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    SERVER_HELLO,
)
from stack.tls.groups import GROUPS, Offer
from stack.tls.handshake import HEADER_SIZE, Handshake
from stack.tls.hello import HelloRetryRequest, encode_client_hello, parse_server_hello
from stack.tls.hello_retry import check_retry, message_hash
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.signatures import CERTIFICATE_ONLY, server_content, verify
from stack.tls.states import State

if TYPE_CHECKING:
    from stack.tls.config import ClientTls


@lru_cache(maxsize=64)
def _constant_extensions(
    server_name: str | None, alpn: tuple[str, ...], groups: tuple[int, ...], signatures: tuple[int, ...]
) -> dict[int, bytes]:
    """Return the bodies of the extensions that are the same in every ClientHello to a server."""
    bodies: dict[int, bytes] = {}
    # An address may not stand in server_name, RFC 6066 section 3
    if server_name is not None and literal_address(server_name) is None:
        # rfc8446:4.4.2.2:4
        bodies[extensions.SERVER_NAME] = extensions.encode_server_name(server_name)
    # rfc8446:4.2.1:1 rfc9001:4.2:1 rfc9001:8.1:1
    bodies[extensions.SUPPORTED_VERSIONS] = codec.vector8(codec.numbers((extensions.TLS_1_3,)))
    bodies[extensions.SUPPORTED_GROUPS] = codec.vector16(codec.numbers(groups))
    bodies[extensions.SIGNATURE_ALGORITHMS] = codec.vector16(codec.numbers(signatures + CERTIFICATE_ONLY))
    bodies[extensions.ALPN] = extensions.encode_alpn(alpn)
    return bodies


class ClientHandshake(Handshake):
    """A client's engine; see `stack.tls.engine.Engine`."""

    __slots__ = ("_alpn", "_config", "_extensions", "_hello", "_offers", "_trust")

    def __init__(
        self,
        config: "ClientTls",
        trust: Trust,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(State.CLIENT_START, server_name, transport_parameters, rng)
        self._config = config
        self._trust = trust
        self._hello = b""
        self._offers: dict[int, Offer] = {}
        self._extensions: dict[int, bytes] = {}  # bodies in the last ClientHello
        self._alpn: str | None = None

    def start(self, now: int) -> None:
        """Make the ClientHello. Exceptions of a callable that makes the transport parameters pass through."""
        if self._state is not State.CLIENT_START:
            return
        config = self._config
        parameters = self._local_parameters(b"")
        self._client_random = self._rng.randbytes(32)
        self._extensions = dict(_constant_extensions(self._server_name, config.alpn, config.groups, config.signatures))
        self._offer_shares(config.groups[: config.key_shares])
        # rfc9001:8.2:1
        self._extensions[extensions.QUIC_TRANSPORT_PARAMETERS] = parameters
        self._send_hello()
        self._state = State.CLIENT_WAIT_SERVER_HELLO

    def _offer_shares(self, groups: tuple[int, ...]) -> None:
        """Make key shares of `groups`, instead of any that were made before."""
        # rfc8446:4.2.8:5
        self._offers = {group: GROUPS[group].offer(self._rng) for group in groups}
        shares = b"".join(extensions.encode_key_share(group, offer.public) for group, offer in self._offers.items())
        self._extensions[extensions.KEY_SHARE] = codec.vector16(shares)

    def _send_hello(self) -> None:
        block = extensions.encode_block(self._extensions)
        self._hello = encode_client_hello(self._client_random, self._config.suites, block)
        self._send(INITIAL, self._hello)

    def _handle(self, kind: int, message: bytes) -> State | None:
        body = message[HEADER_SIZE:]
        if kind == SERVER_HELLO:
            return self._on_server_hello(message, body)
        if kind == ENCRYPTED_EXTENSIONS:
            self._on_encrypted_extensions(message, body)
        elif kind == CERTIFICATE:
            self._on_certificate(message, body)
        elif kind == CERTIFICATE_VERIFY:
            self._on_certificate_verify(message, body)
        elif kind == FINISHED:
            self._on_finished(message, body)
        else:
            messages.check_new_session_ticket(body)
        return None

    def _on_server_hello(self, message: bytes, body: bytes) -> State | None:
        hello = parse_server_hello(body, self._extensions)
        if isinstance(hello, HelloRetryRequest):
            return self._on_hello_retry_request(message, hello)
        if hello.suite not in self._config.suites or (self._prefix and hello.suite != self._suite):
            # rfc8446:4.1.3:5 rfc8446:4.1.4:10
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose suite 0x{hello.suite:04x}, not offered")
        group, public = hello.share
        offer = self._offers.get(group)
        if offer is None:
            # rfc8446:4.2.8:12 rfc8446:4.2.8:15
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose group 0x{group:04x}, no share sent")
        shared_secret = offer.accept(public)
        self._suite = hello.suite
        self._schedule = KeySchedule(SUITES[hello.suite])
        self._schedule.add_message(self._prefix + self._hello + message)
        self._prefix = self._hello = b""
        self._offers.clear()
        self._enter_handshake(shared_secret, client=True)
        return None

    def _on_hello_retry_request(self, message: bytes, retry: HelloRetryRequest) -> State:
        """Send another ClientHello, changed as the server wishes (rfc8446:4.1.4:7)."""
        if self._state is State.CLIENT_WAIT_SECOND_SERVER_HELLO:
            # rfc8446:4.1.4:6
            raise HandshakeError(UNEXPECTED_MESSAGE, "a second HelloRetryRequest")
        check_retry(retry, self._config.suites, self._config.groups, self._offers)
        self._suite = retry.suite
        self._prefix = message_hash(SUITES[retry.suite], self._hello) + message
        if retry.group is not None:
            # rfc8446:4.2.8:11
            self._offer_shares((retry.group,))
        if retry.cookie is not None:
            # rfc8446:4.2.2:2
            self._extensions[extensions.COOKIE] = codec.vector16(retry.cookie)
        self._send_hello()
        return State.CLIENT_WAIT_SECOND_SERVER_HELLO

    def _on_encrypted_extensions(self, message: bytes, body: bytes) -> None:
        encrypted = messages.parse_encrypted_extensions(body, self._extensions)
        if encrypted.alpn is None:
            # rfc9001:8.1:3
            raise HandshakeError(NO_APPLICATION_PROTOCOL, "the server chose no application protocol")
        chosen = [protocol for protocol in self._config.alpn if protocol.encode() == encrypted.alpn]
        if not chosen:
            raise HandshakeError(ILLEGAL_PARAMETER, "the server chose an application protocol that was not offered")
        if encrypted.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "EncryptedExtensions has no quic_transport_parameters")
        self._alpn = chosen[0]
        self._schedule.add_message(message)
        self._events.append(PeerTransportParameters(encrypted.transport_parameters))

    def _on_certificate(self, message: bytes, body: bytes) -> None:
        chain = messages.parse_certificate(body, self._extensions)
        self._trust.verify(chain, self._server_name)
        self._peer_certificates = chain
        self._schedule.add_message(message)

    def _on_certificate_verify(self, message: bytes, body: bytes) -> None:
        scheme, signature = messages.parse_certificate_verify(body)
        if scheme not in self._config.signatures:
            # rfc8446:4.4.3:4
            raise HandshakeError(ILLEGAL_PARAMETER, f"signature scheme 0x{scheme:04x} was not offered")
        leaf = self._peer_certificates[0]
        content = server_content(self._schedule.transcript_hash())
        # rfc8446:4.4.3:9
        verify(leaf_public_key(leaf), scheme, signature, content, leaf_kind(leaf))
        self._schedule.add_message(message)

    def _on_finished(self, message: bytes, body: bytes) -> None:
        schedule = self._schedule
        self._check_finished(body, self._server_secret)
        schedule.add_message(message)
        finished = messages.encode_finished(schedule.verify_data(self._client_secret))
        self._send(HANDSHAKE, finished)
        client_secret, server_secret = self._enter_application()
        schedule.add_message(finished)
        self._client_secret = self._server_secret = b""
        self._secret(APPLICATION, WRITE, client_secret)
        self._secret(APPLICATION, READ, server_secret)
        self._events.append(HandshakeInfo(self._alpn, self._server_name, resumed=False))
        self._events.append(Completed(self._peer_certificates))
