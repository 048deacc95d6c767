"""The client's side of a handshake (RFC 8446 section 2, appendix A.1)."""

from functools import lru_cache
from typing import TYPE_CHECKING

from stack.limits import MAX_SESSION_TICKETS
from stack.randomness import Randomness
from stack.tls import codec, extensions, grease, messages
from stack.tls.alerts import (
    DECODE_ERROR,
    ILLEGAL_PARAMETER,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    UNEXPECTED_MESSAGE,
    HandshakeError,
)
from stack.tls.certificates import Trust, literal_address
from stack.tls.engine import (
    APPLICATION,
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Completed,
    EarlyData,
    HandshakeInfo,
    LocalTransportParameters,
    PeerTransportParameters,
    RememberedParameters,
    SessionTicket,
)
from stack.tls.extensions import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    SERVER_HELLO,
)
from stack.tls.groups import GROUPS, Offer
from stack.tls.handshake import HEADER_SIZE, Handshake
from stack.tls.hello import HelloRetryRequest, ServerHello, encode_client_hello, parse_server_hello
from stack.tls.hello_retry import check_retry, message_hash
from stack.tls.proof import check_proof, prove
from stack.tls.psk import PSK_DHE_KE, PSK_KE, Psk, bind, encode_offer
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.session import Session, encode_session
from stack.tls.signatures import CERTIFICATE_ONLY
from stack.tls.states import State

if TYPE_CHECKING:
    from stack.tls.config import ClientTls


@lru_cache(maxsize=64)
def _constant_extensions(
    server_name: str | None,
    alpn: tuple[str, ...],
    groups: tuple[int, ...],
    signatures: tuple[int, ...],
    psk_modes: tuple[int, ...],
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
    if psk_modes:
        # rfc8446:4.2.9:2
        bodies[extensions.PSK_KEY_EXCHANGE_MODES] = codec.vector8(bytes(psk_modes))
    return bodies


class ClientHandshake(Handshake):
    """A client's engine; see `stack.tls.engine.Engine`."""

    __slots__ = (
        "_alpn",
        "_config",
        "_extensions",
        "_hello",
        "_offers",
        "_peer_parameters",
        "_psk",
        "_psks",
        "_requested",
        "_session",
        "_suites",
        "_tickets",
        "_trust",
    )

    def __init__(
        self,
        config: "ClientTls",
        trust: Trust,
        session: Session | None,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(State.CLIENT_START, server_name, transport_parameters, rng)
        self._config = config
        self._trust = trust
        self._session = session  # to resume; None once that is out of the question
        self._psks: list[Psk] = []  # in the last ClientHello, the session's first
        self._psk: int | None = None  # index of the one that the server chose
        self._suites = config.suites  # in the ClientHello
        self._hello = b""
        self._offers: dict[int, Offer] = {}
        self._extensions: dict[int, bytes] = {}  # bodies in the last ClientHello
        self._requested: tuple[int, ...] | None = None  # signature schemes of the server's CertificateRequest
        self._alpn: str | None = None
        self._peer_parameters = b""
        self._tickets = 0  # received

    def start(self, now: int) -> None:
        """Make the ClientHello. Exceptions of a callable that makes the transport parameters pass through."""
        if self._state is not State.CLIENT_START:
            return
        self._now = now
        config = self._config
        parameters = self._local_parameters(b"")
        self._client_random = self._rng.randbytes(32)
        modes = config.psk_modes if config.tickets or config.session or config.psks else ()
        self._extensions = dict(
            _constant_extensions(self._server_name, config.alpn, config.groups, config.signatures, modes)
        )
        self._offer_shares(config.groups[: config.key_shares])
        # rfc9001:8.2:1
        self._extensions[extensions.QUIC_TRANSPORT_PARAMETERS] = parameters
        if config.grease:
            self._suites = grease.add_to_hello(self._extensions, config.suites, self._rng)
        self._offer_keys()
        session = self._session  # unless it could not be offered
        early = config.early_data and session is not None and session.allows_early_data(config.suites, config.alpn)
        if early:
            self._extensions[extensions.EARLY_DATA] = b""
        self._send_hello()
        self._state = State.CLIENT_WAIT_SERVER_HELLO
        if early and session is not None:
            schedule = KeySchedule(SUITES[session.suite], session.key)
            schedule.add_message(self._hello)
            self._events.append(RememberedParameters(session.transport_parameters, session.alpn))
            self._enter_early(schedule, session.suite, WRITE)

    def _offer_shares(self, groups: tuple[int, ...]) -> None:
        """Make key shares of `groups`, instead of any that were made before."""
        # rfc8446:4.2.8:5
        self._offers = {group: GROUPS[group].offer(self._rng) for group in groups}
        shares = b"".join(extensions.encode_key_share(group, offer.public) for group, offer in self._offers.items())
        self._extensions[extensions.KEY_SHARE] = codec.vector16(shares)

    def _offer_keys(self) -> None:
        """Offer the session's key and the external ones: those whose hash a suite that we offer has."""
        config = self._config
        suites = (self._suite,) if self._prefix else config.suites
        hashes = {SUITES[suite] for suite in suites}
        self._psks = []
        session = self._session
        if session is not None:
            age = session.age(self._now)
            if (
                age is None
                or SUITES[session.suite] not in hashes
                or not self._trusts(session)
                # rfc9001:4.5:1 but our second ClientHello has it again
                or not (self._prefix or config.use.take())
            ):
                self._session = None
            else:
                obfuscated = (age + session.age_add) % (1 << 32)
                self._psks.append(Psk(session.ticket, obfuscated, session.key, SUITES[session.suite], False))
        # rfc8446:4.2.11:1 rfc8446:4.1.4:11
        external = [psk for psk in config.psks if psk.hash_name in hashes]
        self._psks += [Psk(psk.identity, 0, psk.key, psk.hash_name, True) for psk in external]

    def _trusts(self, session: Session) -> bool:
        """Whether we would still take the session's server for the one that we want to speak to."""
        if (session.server_name, session.context) != (self._server_name, self._context):
            # rfc8446:4.6.1:5
            return False
        if not session.certificates:
            return bool(self._config.psks)  # nobody but an owner of a shared key can have issued it
        try:
            self._trust.verify(session.certificates, self._server_name)
        except HandshakeError:
            return False
        return True

    def _send_hello(self) -> None:
        self._extensions.pop(extensions.PRE_SHARED_KEY, None)
        if self._psks:
            # rfc8446:4.2.11:15
            self._extensions[extensions.PRE_SHARED_KEY] = encode_offer(self._psks)
        block = extensions.encode_block(self._extensions)
        self._hello = encode_client_hello(self._client_random, self._suites, block)
        if self._psks:
            self._hello = bind(self._prefix, self._hello, self._psks)
        self._send(INITIAL, self._hello)

    def _handle(self, kind: int, message: bytes) -> State | None:
        body = message[HEADER_SIZE:]
        if kind == SERVER_HELLO:
            return self._on_server_hello(message, body)
        if kind == ENCRYPTED_EXTENSIONS:
            return self._on_encrypted_extensions(message, body)
        if kind == CERTIFICATE:
            self._on_certificate(message, body)
        elif kind == CERTIFICATE_REQUEST:
            self._requested = messages.parse_certificate_request(body)
            self._schedule.add_message(message)
        elif kind == CERTIFICATE_VERIFY:
            self._on_certificate_verify(message, body)
        elif kind == FINISHED:
            self._on_finished(message, body)
        else:
            self._on_new_session_ticket(body)
        return None

    def _on_server_hello(self, message: bytes, body: bytes) -> State | None:
        hello = parse_server_hello(body, self._extensions)
        if isinstance(hello, HelloRetryRequest):
            return self._on_hello_retry_request(message, hello)
        if hello.suite not in self._config.suites or (self._prefix and hello.suite != self._suite):
            # rfc8446:4.1.3:5 rfc8446:4.1.4:10
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose suite 0x{hello.suite:04x}, not offered")
        psk = self._chosen_key(hello)
        shared_secret = self._shared_secret(hello)
        self._suite = hello.suite
        self._schedule = KeySchedule(SUITES[hello.suite], psk.key if psk else b"")
        self._schedule.add_message(self._prefix + self._hello + message)
        self._prefix = self._hello = b""
        self._offers.clear()
        self._enter_handshake(shared_secret, client=True)
        return None

    def _chosen_key(self, hello: ServerHello) -> Psk | None:
        """Return the pre-shared key that the server chose, None for a full handshake."""
        if hello.psk is None:
            return None
        # rfc8446:4.2.11:11 rfc8446:4.2.11:12
        if hello.psk >= len(self._psks):
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose PSK {hello.psk} of {len(self._psks)}")
        psk = self._psks[hello.psk]
        if psk.hash_name != SUITES[hello.suite]:
            raise HandshakeError(ILLEGAL_PARAMETER, "the server chose a suite whose hash is not that of the PSK")
        mode = PSK_KE if hello.share is None else PSK_DHE_KE
        if mode not in self._config.psk_modes:
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose PSK key exchange mode {mode}, not offered")
        self._psk = hello.psk
        return psk

    def _shared_secret(self, hello: ServerHello) -> bytes:
        """Return the (EC)DHE output, empty in mode psk_ke."""
        if hello.share is None:
            return b""
        group, public = hello.share
        offer = self._offers.get(group)
        if offer is None:
            # rfc8446:4.2.8:12 rfc8446:4.2.8:15
            raise HandshakeError(ILLEGAL_PARAMETER, f"the server chose group 0x{group:04x}, no share sent")
        return offer.accept(public)

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
        if self._extensions.pop(extensions.EARLY_DATA, None) is not None:
            # rfc8446:4.2.10:6
            self._events.append(EarlyData(accepted=False))
        self._offer_keys()
        self._send_hello()
        return State.CLIENT_WAIT_SECOND_SERVER_HELLO

    def _on_encrypted_extensions(self, message: bytes, body: bytes) -> State | None:
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
        self._peer_parameters = encrypted.transport_parameters
        self._schedule.add_message(message)
        self._events.append(PeerTransportParameters(encrypted.transport_parameters))
        if extensions.EARLY_DATA in self._extensions:
            self._check_early_data(encrypted.early_data)
        if self._psk is None:
            return None
        if self._session is not None and not self._psks[self._psk].external:
            self._peer_certificates = self._session.certificates
        return State.CLIENT_WAIT_FINISHED

    def _check_early_data(self, accepted: bool) -> None:
        session = self._session
        # rfc8446:4.2.11:13 rfc8446:4.2.11:14
        if accepted and (session is None or (self._psk, self._suite, self._alpn) != (0, session.suite, session.alpn)):
            raise HandshakeError(ILLEGAL_PARAMETER, "the server accepted early data, but not the session it belongs to")
        self._events.append(EarlyData(accepted))

    def _on_certificate(self, message: bytes, body: bytes) -> None:
        chain = messages.parse_certificate(body, self._extensions)
        if not chain:
            # rfc8446:4.4.2.4:1
            raise HandshakeError(DECODE_ERROR, "the server sent no certificate")
        self._trust.verify(chain, self._server_name)
        self._peer_certificates = chain
        self._schedule.add_message(message)

    def _on_certificate_verify(self, message: bytes, body: bytes) -> None:
        check_proof(body, self._peer_certificates[0], self._config.signatures, self._schedule, client=False)
        self._schedule.add_message(message)

    def _on_finished(self, message: bytes, body: bytes) -> None:
        schedule = self._schedule
        self._check_finished(body, self._server_secret)
        schedule.add_message(message)
        client_secret, server_secret = self._enter_application()
        flight = b"" if self._requested is None else self._prove(self._requested)
        finished = messages.encode_finished(schedule.verify_data(self._client_secret))
        schedule.add_message(finished)
        self._send(HANDSHAKE, flight + finished)
        self._client_secret = self._server_secret = b""
        self._secret(APPLICATION, WRITE, client_secret)
        self._secret(APPLICATION, READ, server_secret)
        resumed = self._psk is not None and not self._psks[self._psk].external
        self._session = None
        self._psks.clear()
        self._extensions = {}
        self._events.append(HandshakeInfo(self._alpn, self._server_name, resumed))
        self._events.append(Completed(self._peer_certificates))

    def _prove(self, requested: tuple[int, ...]) -> bytes:
        """Return our Certificate and CertificateVerify; an empty Certificate if we have nothing suitable."""
        credentials = self._config.credentials
        if credentials is not None:
            # rfc8446:4.4.3:5
            scheme = next((scheme for scheme in credentials.schemes if scheme in requested), None)
            if scheme is not None:
                salts = self._rng if self._config.deterministic else None
                return prove(credentials, scheme, self._schedule, salts, client=True)
        # rfc8446:4.4.2:3
        nothing = messages.encode_certificate(())
        self._schedule.add_message(nothing)
        return nothing

    def _on_new_session_ticket(self, body: bytes) -> None:
        ticket = messages.parse_new_session_ticket(body)
        if not ticket.lifetime or not self._config.tickets or self._tickets == MAX_SESSION_TICKETS:
            return
        self._tickets += 1
        session = Session(
            self._context,
            self._suite,
            self._now,
            ticket.lifetime,
            ticket.age_add,
            ticket.early_data,
            self._schedule.resumption_key(self._schedule.resumption_secret(), ticket.nonce),
            ticket.ticket,
            self._alpn or "",
            self._server_name,
            self._peer_parameters,
            self._peer_certificates,
        )
        self._events.append(SessionTicket(encode_session(session), ticket.early_data, ticket.lifetime))
