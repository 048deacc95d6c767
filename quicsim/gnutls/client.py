"""The client's side of a handshake by GnuTLS."""

from typing import TYPE_CHECKING

from quicsim.gnutls import library
from quicsim.gnutls.engine import GnuTlsEngine
from quicsim.gnutls.session import Session
from quicsim.gnutls.sessions import encode_session
from stack.limits import MAX_SESSION_TICKETS
from stack.randomness import Randomness
from stack.tls import messages
from stack.tls import session as own
from stack.tls.alerts import (
    ILLEGAL_PARAMETER,
    INTERNAL_ERROR,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    UNEXPECTED_MESSAGE,
    HandshakeError,
)
from stack.tls.certificates import Trust, literal_address
from stack.tls.engine import (
    APPLICATION,
    EARLY,
    WRITE,
    Completed,
    EarlyData,
    HandshakeInfo,
    LocalTransportParameters,
    NewSecret,
    PeerTransportParameters,
    RememberedParameters,
    SessionTicket,
)
from stack.tls.extensions import CLIENT_HELLO, ENCRYPTED_EXTENSIONS, FINISHED, NEW_SESSION_TICKET, SERVER_HELLO
from stack.tls.handshake import HEADER_SIZE
from stack.tls.hello import ClientHello, HelloRetryRequest, parse_client_hello, parse_server_hello
from stack.tls.hello_retry import check_retry
from stack.tls.states import State

if TYPE_CHECKING:
    from quicsim.gnutls.config import GnuTlsClient


class GnuTlsClientEngine(GnuTlsEngine):
    """A client's engine; see `stack.tls.engine.Engine`."""

    __slots__ = ("_by_psk", "_config", "_early", "_hello", "_peer_parameters", "_resumable", "_tickets", "_trust")

    def __init__(
        self,
        config: "GnuTlsClient",
        trust: Trust,
        session: own.Session | None,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(State.CLIENT_START, server_name, transport_parameters, rng)
        self._config = config
        self._trust = trust
        self._resumable = session  # None once that is out of the question
        self._early = False  # whether 0-RTT is offered
        self._by_psk = False  # whether the server chose a key, a session's or an external one
        self._hello: ClientHello | None = None  # the last one that was sent
        self._peer_parameters = b""
        self._tickets = 0  # received

    def start(self, now: int) -> None:
        """Make the ClientHello. Exceptions of a callable that makes the transport parameters pass through."""
        if self._state is not State.CLIENT_START:
            return
        self._now = now
        config = self._config
        self._local = self._local_parameters(b"")
        if self._resumable is not None and not (self._may_resume(self._resumable) and config.own.use.take()):
            self._resumable = None
        resumable = self._resumable
        if resumable is not None and config.early_data:
            self._early = resumable.allows_early_data(config.suites, config.alpn)
        self._session = session = Session(self._flags(), config.priority, self)
        session.use(library.CERTIFICATE, config.certificate_credentials)
        if config.psk_credentials is not None:
            session.use(library.PSK, config.psk_credentials)
        session.set_protocols(config.alpn)
        # An address may not stand in server_name, RFC 6066 section 3
        if self._server_name is not None and literal_address(self._server_name) is None:
            session.set_server_name(self._server_name)
        if resumable is not None:
            session.resume(resumable.ticket)
            if self._early:
                self._events.append(RememberedParameters(resumable.transport_parameters, resumable.alpn))
        session.run()
        self._state = State.CLIENT_WAIT_SERVER_HELLO

    def _flags(self) -> int:
        config = self._config
        # With 0-RTT as many shares as possible: GnuTLS can't go on after a HelloRetryRequest
        key_shares = min(2, len(config.groups)) if self._early else config.key_shares
        flags = library.CLIENT | library.NO_END_OF_EARLY_DATA | library.KEY_SHARE_TOP[key_shares - 1]
        if self._early:
            flags |= library.ENABLE_EARLY_DATA
        if not config.tickets and self._resumable is None:
            flags |= library.NO_TICKETS
        return flags

    def _may_resume(self, session: own.Session) -> bool:
        """Whether the session's server is the one that we want to speak to, and we would still take it for that."""
        config = self._config
        if (session.server_name, session.context) != (self._server_name, self._context):
            return False
        if session.age(self._now) is None or session.suite not in config.suites:
            return False
        if not session.certificates:
            return bool(config.psks)  # nobody but an owner of a shared key can have issued it
        try:
            self._trust.verify(session.certificates, self._server_name)
        except HandshakeError:
            return False
        return True

    def _handle(self, kind: int, message: bytes) -> State | None:
        body = message[HEADER_SIZE:]
        if kind == SERVER_HELLO:
            return self._on_server_hello(message, body)
        if kind == ENCRYPTED_EXTENSIONS:
            return self._on_encrypted_extensions(message, body)
        if kind == NEW_SESSION_TICKET:
            self._on_new_session_ticket(message, body)
        elif kind == FINISHED:
            self._on_finished(message)
        else:
            self._pass(message)
        return None

    def _on_server_hello(self, message: bytes, body: bytes) -> State | None:
        offer = self._hello
        assert offer is not None
        hello = parse_server_hello(body, offer.extensions)
        if isinstance(hello, HelloRetryRequest):
            if self._state is State.CLIENT_WAIT_SECOND_SERVER_HELLO:
                raise HandshakeError(UNEXPECTED_MESSAGE, "a second HelloRetryRequest")
            check_retry(hello, self._config.suites, self._config.groups, offer.key_shares or ())
            if self._early:
                raise HandshakeError(INTERNAL_ERROR, "GnuTLS can't offer 0-RTT and then take a HelloRetryRequest")
            self._pass(message)
            return State.CLIENT_WAIT_SECOND_SERVER_HELLO
        self._by_psk = hello.psk is not None
        self._pass(message)
        return None

    def _on_encrypted_extensions(self, message: bytes, body: bytes) -> State | None:
        assert self._hello is not None
        encrypted = messages.parse_encrypted_extensions(body, self._hello.extensions)
        if encrypted.alpn is None:
            # rfc9001:8.1:3
            raise HandshakeError(NO_APPLICATION_PROTOCOL, "the server chose no application protocol")
        if encrypted.alpn not in [protocol.encode() for protocol in self._config.alpn]:
            raise HandshakeError(ILLEGAL_PARAMETER, "the server chose an application protocol that was not offered")
        if encrypted.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "EncryptedExtensions has no quic_transport_parameters")
        self._peer_parameters = encrypted.transport_parameters
        self._events.append(PeerTransportParameters(encrypted.transport_parameters))
        self._pass(message)
        if self._early:
            self._check_early_data(encrypted.early_data)
        return State.CLIENT_WAIT_FINISHED if self._by_psk else None

    def _check_early_data(self, accepted: bool) -> None:
        session, resumed = self._resumable, self._gnutls
        if accepted and (
            session is None or not resumed.resumed or (resumed.suite, resumed.protocol) != (session.suite, session.alpn)
        ):
            raise HandshakeError(ILLEGAL_PARAMETER, "the server accepted early data, but not the session it belongs to")
        self._events.append(EarlyData(accepted))

    def _on_finished(self, message: bytes) -> None:
        session = self._gnutls
        complete = self._pass(message)
        if not complete or not (self._by_psk or self._verified):
            raise HandshakeError(INTERNAL_ERROR, "GnuTLS has not proved who the server is")
        if session.resumed and self._resumable is not None:
            self._peer_certificates = self._resumable.certificates
        self._resumable = self._hello = None
        self._events.append(HandshakeInfo(session.protocol, self._server_name, session.resumed))
        self._events.append(Completed(self._peer_certificates))

    def _on_new_session_ticket(self, message: bytes, body: bytes) -> None:
        ticket = messages.parse_new_session_ticket(body)
        if not ticket.lifetime or not self._config.tickets or self._tickets == MAX_SESSION_TICKETS:
            return
        self._tickets += 1
        gnutls = self._gnutls
        gnutls.feed(APPLICATION, message)
        session = own.Session(
            context=self._context,
            suite=self._suite,
            received_at=self._now,
            lifetime=ticket.lifetime,
            age_add=ticket.age_add,
            early_data=ticket.early_data,
            key=b"-",  # it is in GnuTLS's data
            ticket=gnutls.data,
            alpn=gnutls.protocol or "",
            server_name=self._server_name,
            transport_parameters=self._peer_parameters,
            certificates=self._peer_certificates,
        )
        self._events.append(SessionTicket(encode_session(session), ticket.early_data, ticket.lifetime))

    # What GnuTLS tells

    def _on_early_secret(self, secret: bytes) -> None:
        if self._early and self._resumable is not None:
            self._events.append(NewSecret(EARLY, WRITE, self._resumable.suite, secret))

    def on_message(self, level: int, kind: int, message: bytes) -> None:
        """A message to send."""
        if kind == CLIENT_HELLO:
            self._hello = parse_client_hello(message[HEADER_SIZE:])
        super().on_message(level, kind, message)

    def verify(self, chain: tuple[bytes, ...]) -> None:
        """Check the server's certificates."""
        self._trust.verify(chain, self._server_name)
        self._peer_certificates = chain
        self._verified = True
