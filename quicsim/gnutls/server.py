"""The server's side of a handshake by GnuTLS."""

from collections.abc import Callable
from operator import eq
from typing import TYPE_CHECKING, Final

from quicsim.gnutls import library
from quicsim.gnutls.engine import GnuTlsEngine
from quicsim.gnutls.session import Session
from quicsim.gnutls.tickets import Issued
from stack.randomness import Randomness
from stack.tls import extensions, messages
from stack.tls.alerts import CERTIFICATE_REQUIRED, MISSING_EXTENSION, NO_APPLICATION_PROTOCOL, HandshakeError
from stack.tls.engine import (
    EARLY,
    READ,
    Completed,
    EarlyData,
    HandshakeInfo,
    LocalTransportParameters,
    PeerTransportParameters,
)
from stack.tls.extensions import (
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    NEW_SESSION_TICKET,
)
from stack.tls.handshake import HEADER_SIZE
from stack.tls.hello import ClientHello, HelloRetryRequest, parse_client_hello, parse_server_hello
from stack.tls.hello_retry import check_second_hello
from stack.tls.schedule import SUITES
from stack.tls.states import State

if TYPE_CHECKING:
    from quicsim.gnutls.config import GnuTlsServer

_HELLO_RETRY_REQUEST: Final = 1025  # GnuTLS's type of that ServerHello
_UNLIMITED: Final = 0xFFFFFFFF  # the one max_early_data_size of QUIC


class GnuTlsServerEngine(GnuTlsEngine):
    """A server's engine; see `stack.tls.engine.Engine`."""

    __slots__ = (
        "_alpn",
        "_check_parameters",
        "_config",
        "_early_accepted",
        "_early_secret",
        "_first_hello",
        "_group",
        "_offers_keys",
        "_requests_certificate",
        "_takes_tickets",
    )

    def __init__(
        self,
        config: "GnuTlsServer",
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(State.SERVER_START, None, transport_parameters, rng)
        self._config = config
        self._check_parameters: Callable[[bytes, bytes], bool] = eq
        self._alpn = ""
        self._first_hello: ClientHello | None = None  # while the second one is awaited
        self._group = 0  # that a HelloRetryRequest has asked for
        self._early_secret = b""
        self._early_accepted = False
        self._requests_certificate = False
        self._offers_keys = False  # whether the client does
        self._takes_tickets = False

    def allow_early_data(
        self, check: Callable[[bytes, bytes], bool], remember: Callable[[bytes], bytes] | None = None
    ) -> None:
        """Accept 0-RTT only if `check` of our transport parameters, of the session and of now, is true."""
        self._check_parameters = check

    def set_context(self, context: bytes) -> None:
        """Bind sessions to `context`, of up to 255 bytes: they are resumed only in an equal one."""
        changed = context != self._context
        super().set_context(context)
        if self._session is None or not changed:
            return
        if self._offers_keys:
            self._takes_tickets = False  # GnuTLS can't seal with another key than it tried to open one with
        else:
            self._session.set_ticket_key(self._sealing_key())

    def send_ticket(self, now: int) -> None:
        """Queue as many NewSessionTickets as configured, if the client can use them."""
        if self._state is State.SERVER_CONNECTED and self._takes_tickets and self._config.tickets:
            self._gnutls.send_tickets(self._config.tickets)

    def _sealing_key(self) -> bytes:
        config = self._config
        return config.register.sealing_key(self._context, self._server_name, self._alpn, config.client_auth)

    def _handle(self, kind: int, message: bytes) -> State | None:
        if kind == CLIENT_HELLO:
            return self._on_client_hello(message)
        if kind == FINISHED:
            self._on_finished(message)
            return None
        self._pass(message)
        # An empty Certificate is not followed by CertificateVerify
        nothing = kind == extensions.CERTIFICATE and not messages.parse_certificate(message[HEADER_SIZE:], ())
        return State.SERVER_WAIT_FINISHED if nothing else None

    def _on_client_hello(self, message: bytes) -> State | None:
        hello = parse_client_hello(message[HEADER_SIZE:])
        if self._first_hello is None:
            self._choose(hello)
            self._open(hello)
        else:
            check_second_hello(self._first_hello, hello, self._group)
            self._first_hello = None
        self._pass(message)
        if self._group and self._suite == 0:
            self._first_hello = hello
            if extensions.EARLY_DATA in hello.extensions:
                self._events.append(EarlyData(accepted=False))
            return State.SERVER_WAIT_SECOND_CLIENT_HELLO
        session = self._gnutls
        if session.resumed:
            self._verify_resumed(session.peer_certificates)
        self._events.append(HandshakeInfo(session.protocol, self._server_name, session.resumed))
        if extensions.EARLY_DATA in hello.extensions:
            if self._early_accepted:
                self._secret(EARLY, READ, self._early_secret)
            self._events.append(EarlyData(self._early_accepted))
        return State.SERVER_WAIT_CERTIFICATE if self._requests_certificate else None

    def _choose(self, hello: ClientHello) -> None:
        """Choose the protocol, and exchange transport parameters."""
        config = self._config
        offered = hello.alpn or ()
        protocol = next((protocol for protocol in config.alpn if protocol.encode() in offered), None)
        if protocol is None:
            # rfc9001:8.1:6
            raise HandshakeError(NO_APPLICATION_PROTOCOL, "the client offers no application protocol of ours")
        if hello.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "ClientHello has no quic_transport_parameters")
        self._alpn = protocol
        self._server_name = hello.server_name
        self._offers_keys = hello.psk is not None
        self._takes_tickets = any(mode in hello.psk_modes for mode in config.psk_modes)
        self._events.append(PeerTransportParameters(hello.transport_parameters))
        self._local = self._local_parameters(hello.transport_parameters)

    def _open(self, hello: ClientHello) -> None:
        """Make the session for what a client offers."""
        config = self._config
        flags = library.SERVER | library.NO_END_OF_EARLY_DATA | library.NO_AUTO_SEND_TICKET
        if config.early_data:
            flags |= library.ENABLE_EARLY_DATA
        self._session = session = Session(flags, config.priority, self)
        session.use(library.CERTIFICATE, config.certificate_credentials)
        # With these, GnuTLS gives up at a key that it does not know, also before one that it does
        first = self._first_identity(hello)
        if first is not None and self.psk(first) is not None:
            session.use(library.PSK, config.psk_credentials)
        session.set_protocols(config.alpn)
        if config.client_trust is not None:
            session.request_certificate(config.client_auth == "require")
        session.set_ticket_lifetime(config.ticket_lifetime)
        session.set_ticket_key(self._sealing_key())
        if config.early_data:
            session.set_max_early_data(_UNLIMITED)
            if extensions.EARLY_DATA in hello.extensions and self._may_accept_early_data(hello):
                session.accept_early_data(config.replays)

    @staticmethod
    def _first_identity(hello: ClientHello) -> bytes | None:
        return None if hello.psk is None else hello.psk.identities[0][0]

    def _may_accept_early_data(self, hello: ClientHello) -> bool:
        """Whether 0-RTT goes with the first key of the client: used for the first time, and as it was then."""
        config = self._config
        ticket = self._first_identity(hello)
        issued = None if ticket is None else config.register.take(ticket)
        if issued is None or not any(group in config.groups for group in hello.key_shares or ()):
            return False
        same_hash = (suite for suite in config.suites if SUITES[suite] == SUITES[issued.suite])
        suite = next((suite for suite in same_hash if suite in hello.suites), None)
        session = suite, self._alpn, self._server_name, self._context
        return session == issued[:4] and self._check_parameters(issued.transport_parameters, self._local)

    def _verify_resumed(self, chain: tuple[bytes, ...]) -> None:
        """Look again at the certificates that a client once showed."""
        trust = self._config.client_trust
        if trust is not None and chain:
            trust.verify_client(chain)
            self._peer_certificates = chain
        elif self._config.client_auth == "require":
            raise HandshakeError(CERTIFICATE_REQUIRED, "the client's session has no certificate for us")
        self._verified = True

    def _on_finished(self, message: bytes) -> None:
        self._pass(message)
        if self._config.client_auth == "require" and not self._verified and not self._gnutls.by_psk:
            raise HandshakeError(CERTIFICATE_REQUIRED, "the client has no certificate for us")
        self._events.append(Completed(self._peer_certificates))

    # What GnuTLS tells

    def _on_early_secret(self, secret: bytes) -> None:
        self._early_secret = secret

    def on_message(self, level: int, kind: int, message: bytes) -> None:
        """A message to send."""
        body = message[HEADER_SIZE:]
        if kind == _HELLO_RETRY_REQUEST:
            retry = parse_server_hello(body, (extensions.KEY_SHARE, extensions.SUPPORTED_VERSIONS))
            assert isinstance(retry, HelloRetryRequest)
            self._group = retry.group or 0
        elif kind == ENCRYPTED_EXTENSIONS:
            self._early_accepted = extensions.EARLY_DATA in extensions.parse_extensions(body[2:], kind)
        elif kind == CERTIFICATE_REQUEST:
            self._requests_certificate = True
        elif kind == NEW_SESSION_TICKET:
            ticket = messages.parse_new_session_ticket(body)
            if ticket.early_data:
                issued = Issued(self._suite, self._alpn, self._server_name, self._context, self._local)
                self._config.register.issue(ticket.ticket, issued)
        super().on_message(level, kind, message)

    def verify(self, chain: tuple[bytes, ...]) -> None:
        """Check the client's certificates; GnuTLS itself sees to it that there are some where they are required."""
        if chain and self._config.client_trust is not None:
            self._config.client_trust.verify_client(chain)
            self._peer_certificates = chain
            self._verified = True

    def psk(self, identity: bytes) -> bytes | None:
        """The key that a client calls so."""
        return next((psk.key for psk in self._config.psks if psk.identity == identity), None)
