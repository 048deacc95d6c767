"""The client's side of a full handshake (RFC 8446 section 2, appendix A.1).

One ClientHello only: a server that asks for another one with HelloRetryRequest, or for a client certificate,
ends the handshake in this version.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from stack.randomness import Randomness
from stack.tls import codec, extensions, messages
from stack.tls.alerts import ILLEGAL_PARAMETER, MISSING_EXTENSION, NO_APPLICATION_PROTOCOL, HandshakeError
from stack.tls.certificates import Trust, leaf_public_key, literal_address
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
    encode_extension,
)
from stack.tls.groups import GROUPS, Offer
from stack.tls.handshake import HEADER_SIZE, Handshake
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.signatures import CERTIFICATE_ONLY, server_content, verify
from stack.tls.states import State

if TYPE_CHECKING:
    from stack.tls.config import ClientTls

_OFFERED: Final[tuple[int, ...]] = (
    extensions.SUPPORTED_GROUPS,
    extensions.SIGNATURE_ALGORITHMS,
    extensions.ALPN,
    extensions.SUPPORTED_VERSIONS,
    extensions.KEY_SHARE,
    extensions.QUIC_TRANSPORT_PARAMETERS,
)


@lru_cache(maxsize=64)
def _constant_extensions(alpn: tuple[str, ...], groups: tuple[int, ...], signatures: tuple[int, ...]) -> bytes:
    """Return the extensions that are the same in every ClientHello of a configuration."""
    signatures += CERTIFICATE_ONLY
    # rfc8446:4.2.1:1 rfc9001:4.2:1 rfc9001:8.1:1
    return b"".join(
        (
            encode_extension(extensions.SUPPORTED_VERSIONS, codec.vector8(codec.numbers((extensions.TLS_1_3,)))),
            encode_extension(extensions.SUPPORTED_GROUPS, codec.vector16(codec.numbers(groups))),
            encode_extension(extensions.SIGNATURE_ALGORITHMS, codec.vector16(codec.numbers(signatures))),
            encode_extension(extensions.ALPN, extensions.encode_alpn(alpn)),
        )
    )


class ClientHandshake(Handshake):
    """A client's engine; see `stack.tls.engine.Engine`."""

    __slots__ = ("_alpn", "_config", "_hello", "_offered", "_offers", "_trust")

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
        self._offered = _OFFERED
        self._alpn: str | None = None

    def start(self, now: int) -> None:
        """Make the ClientHello. Exceptions of a callable that makes the transport parameters pass through."""
        if self._state is not State.CLIENT_START:
            return
        config = self._config
        parameters = self._local_parameters(b"")
        self._client_random = self._rng.randbytes(32)
        # rfc8446:4.2.8:5
        self._offers = {group: GROUPS[group].offer(self._rng) for group in config.groups[: config.key_shares]}
        shares = b"".join(extensions.encode_key_share(group, offer.public) for group, offer in self._offers.items())
        block = _constant_extensions(config.alpn, config.groups, config.signatures)
        name = self._server_name
        if name is not None and literal_address(name) is None:  # an address may not stand there, RFC 6066 section 3
            # rfc8446:4.4.2.2:4
            block = encode_extension(extensions.SERVER_NAME, extensions.encode_server_name(name)) + block
            self._offered = (*_OFFERED, extensions.SERVER_NAME)
        block += encode_extension(extensions.KEY_SHARE, codec.vector16(shares))
        # rfc9001:8.2:1
        block += encode_extension(extensions.QUIC_TRANSPORT_PARAMETERS, parameters)
        self._hello = messages.encode_client_hello(self._client_random, config.suites, block)
        self._send(INITIAL, self._hello)
        self._state = State.CLIENT_WAIT_SERVER_HELLO

    def _handle(self, kind: int, message: bytes) -> None:
        body = message[HEADER_SIZE:]
        if kind == SERVER_HELLO:
            self._on_server_hello(message, body)
        elif kind == ENCRYPTED_EXTENSIONS:
            self._on_encrypted_extensions(message, body)
        elif kind == CERTIFICATE:
            self._on_certificate(message, body)
        elif kind == CERTIFICATE_VERIFY:
            self._on_certificate_verify(message, body)
        elif kind == FINISHED:
            self._on_finished(message, body)
        else:
            messages.check_new_session_ticket(body)

    def _on_server_hello(self, message: bytes, body: bytes) -> None:
        hello = messages.parse_server_hello(body, self._offered)
        if hello.suite not in self._config.suites:
            # rfc8446:4.1.3:5
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose suite 0x{hello.suite:04x}, not offered")
        offer = self._offers.get(hello.group)
        if offer is None:
            # rfc8446:4.2.8:12
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose group 0x{hello.group:04x}, no share sent")
        shared_secret = offer.accept(hello.public)
        self._suite = hello.suite
        self._schedule = KeySchedule(SUITES[hello.suite])
        self._schedule.add_message(self._hello)
        self._schedule.add_message(message)
        self._hello = b""
        self._offers.clear()
        self._enter_handshake(shared_secret, client=True)

    def _on_encrypted_extensions(self, message: bytes, body: bytes) -> None:
        encrypted = messages.parse_encrypted_extensions(body, self._offered)
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
        chain = messages.parse_certificate(body, self._offered)
        self._trust.verify(chain, self._server_name)
        self._peer_certificates = chain
        self._schedule.add_message(message)

    def _on_certificate_verify(self, message: bytes, body: bytes) -> None:
        scheme, signature = messages.parse_certificate_verify(body)
        if scheme not in self._config.signatures:
            # rfc8446:4.4.3:4
            raise HandshakeError(ILLEGAL_PARAMETER, f"signature scheme 0x{scheme:04x} was not offered")
        key = leaf_public_key(self._peer_certificates[0])
        # rfc8446:4.4.3:9
        verify(key, scheme, signature, server_content(self._schedule.transcript_hash()))
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
