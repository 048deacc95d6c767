"""The server's side of a handshake (RFC 8446 section 2, appendix A.2)."""

from collections.abc import Callable
from operator import eq
from typing import TYPE_CHECKING, Final

from stack.limits import MAX_TICKET_CERTIFICATES
from stack.randomness import Randomness
from stack.tls import extensions, grease, messages, selection
from stack.tls.alerts import CERTIFICATE_REQUIRED, MISSING_EXTENSION, HandshakeError
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
)
from stack.tls.extensions import CERTIFICATE, CERTIFICATE_VERIFY, CLIENT_HELLO
from stack.tls.groups import GROUPS
from stack.tls.handshake import HEADER_SIZE, Handshake
from stack.tls.hello import ClientHello, encode_hello_retry_request, encode_server_hello, parse_client_hello
from stack.tls.hello_retry import check_second_hello, message_hash
from stack.tls.proof import check_proof, prove
from stack.tls.psk import PSK_KE, check_binder
from stack.tls.schedule import SUITES, KeySchedule
from stack.tls.selection import ChosenPsk
from stack.tls.signatures import CERTIFICATE_ONLY, SCHEMES
from stack.tls.states import State
from stack.tls.tickets import Ticket, TicketOffice

if TYPE_CHECKING:
    from stack.tls.config import ServerTls


# What a client's certificates and its CertificateVerify may be signed with
_CLIENT_SIGNATURES: Final = (*SCHEMES, *CERTIFICATE_ONLY)


class ServerHandshake(Handshake):
    """A server's engine; see `stack.tls.engine.Engine`."""

    __slots__ = (
        "_alpn",
        "_check_parameters",
        "_client_application_secret",
        "_config",
        "_first_hello",
        "_group",
        "_office",
        "_parameters",
        "_psk",
        "_remember",
        "_scheme",
        "_takes_tickets",
        "_tickets",
    )

    def __init__(
        self,
        config: "ServerTls",
        office: TicketOffice,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> None:
        super().__init__(State.SERVER_START, None, transport_parameters, rng)
        self._config = config
        self._office = office
        self._first_hello: ClientHello | None = None  # while the second one is awaited
        self._psk: ChosenPsk | None = None
        self._group = 0  # none in mode psk_ke
        self._scheme = 0
        self._alpn = ""
        self._parameters = b""  # ours
        self._check_parameters: Callable[[bytes, bytes], bool] = eq
        self._remember: Callable[[bytes], bytes] | None = None
        self._client_application_secret = b""
        self._takes_tickets = False
        self._tickets = 0  # sent

    def allow_early_data(
        self, check: Callable[[bytes, bytes], bool], remember: Callable[[bytes], bytes] | None = None
    ) -> None:
        """Accept 0-RTT only if `check` of our transport parameters, as tickets `remember` them and now, is true."""
        self._check_parameters = check
        self._remember = remember

    def send_ticket(self, now: int) -> None:
        """Queue as many NewSessionTickets as configured, if the client can use them."""
        config = self._config
        certificates_length = sum(len(der) for der in self._peer_certificates)
        # rfc8446:4.2.9:5
        if (
            self._state is not State.SERVER_CONNECTED
            or not self._takes_tickets
            or certificates_length > MAX_TICKET_CERTIFICATES
        ):
            return
        for _ in range(config.tickets):
            # rfc8446:4.6.1:12
            nonce = self._tickets.to_bytes(2)
            self._tickets += 1
            ticket = Ticket(
                self._context,
                self._suite,
                now,
                int.from_bytes(self._rng.randbytes(4)),
                config.early_data,
                self._schedule.resumption_key(self._schedule.resumption_secret(), nonce),
                self._alpn,
                self._server_name,
                self._parameters if self._remember is None else self._remember(self._parameters),
                self._peer_certificates,
            )
            message = messages.NewSessionTicket(
                config.ticket_lifetime, ticket.age_add, nonce, self._office.seal(ticket, self._rng), config.early_data
            )
            more = grease.extension(self._rng) if config.grease else b""
            self._send(APPLICATION, messages.encode_new_session_ticket(message, more))

    def _handle(self, kind: int, message: bytes) -> State | None:
        if kind == CLIENT_HELLO:
            return self._on_client_hello(message)
        if kind == CERTIFICATE:
            return self._on_certificate(message)
        if kind == CERTIFICATE_VERIFY:
            self._on_certificate_verify(message)
        else:
            self._on_finished(message)
        return None

    def _on_client_hello(self, message: bytes) -> State | None:
        hello = parse_client_hello(message[HEADER_SIZE:])
        if self._first_hello is None:
            self._choose(hello, message)
            if self._group and self._group not in (hello.key_shares or ()):
                return self._ask_again(hello, message)
        else:
            # rfc8446:4.1.4:9 the suite and the protocol are not chosen anew
            check_second_hello(self._first_hello, hello, self._group)
            self._first_hello = None
            self._authenticate(hello, message, (self._suite,))
        self._answer(hello, message)
        return State.SERVER_WAIT_CERTIFICATE if self._requests_certificate else State.SERVER_WAIT_FINISHED

    def _choose(self, hello: ClientHello, message: bytes) -> None:
        """Choose what a second ClientHello does not change, and exchange transport parameters."""
        config = self._config
        self._authenticate(hello, message, config.suites)
        psk = self._psk
        self._suite = psk.suite if psk else selection.choose_suite(config, hello)
        self._group = 0 if psk and psk.mode == PSK_KE else selection.choose_group(config, hello)
        self._alpn = selection.choose_alpn(config, hello)
        if hello.transport_parameters is None:
            # rfc9001:8.2:1
            raise HandshakeError(MISSING_EXTENSION, "ClientHello has no quic_transport_parameters")
        self._client_random = hello.random
        self._server_name = hello.server_name
        self._takes_tickets = any(mode in hello.psk_modes for mode in config.psk_modes)
        # Before anything is sent: the transport may change its version for what the client offers
        self._events.append(PeerTransportParameters(hello.transport_parameters))
        self._parameters = self._local_parameters(hello.transport_parameters)

    def _authenticate(self, hello: ClientHello, message: bytes, suites: tuple[int, ...]) -> None:
        """Choose the client's key or, without one, how we sign."""
        self._psk = psk = selection.choose_psk(self._config, self._office, hello, suites, self._context, self._now)
        if psk is None or hello.psk is None:
            self._scheme = selection.choose_scheme(self._config, hello)
            return
        transcript = self._prefix + message[: -hello.psk.binders_length]
        # rfc8446:4.2.11:10
        check_binder(psk.key, SUITES[psk.suite], psk.ticket is None, hello.psk.binders[psk.position], transcript)

    def _ask_again(self, hello: ClientHello, message: bytes) -> State:
        """Ask for a key share of the chosen group (rfc8446:4.1.1:3)."""
        self._first_hello = hello
        retry = encode_hello_retry_request(self._suite, self._group)
        self._prefix = message_hash(SUITES[self._suite], message) + retry
        self._send(INITIAL, retry)
        if extensions.EARLY_DATA in hello.extensions:
            self._events.append(EarlyData(accepted=False))
        return State.SERVER_WAIT_SECOND_CLIENT_HELLO

    def _answer(self, hello: ClientHello, message: bytes) -> None:
        """Send ServerHello to Finished."""
        psk = self._psk
        random = self._rng.randbytes(32)
        share, shared_secret = None, b""
        if self._group:
            offered = (hello.key_shares or {})[self._group]
            public, shared_secret = GROUPS[self._group].answer(offered, self._rng, self._config.deterministic)
            share = self._group, public
        resumed = psk is not None and psk.ticket is not None
        self._events.append(HandshakeInfo(self._alpn, self._server_name, resumed))
        schedule = self._schedule = KeySchedule(SUITES[self._suite], psk.key if psk else b"")
        schedule.add_message(self._prefix + message)
        self._prefix = b""
        early = extensions.EARLY_DATA in hello.extensions
        accepted = early and self._accepts_early_data(hello)
        if accepted:
            self._enter_early(schedule, self._suite, READ)
        if early:
            self._events.append(EarlyData(accepted))
        server_hello = encode_server_hello(random, self._suite, share, psk.position if psk else None)
        schedule.add_message(server_hello)
        self._send(INITIAL, server_hello)
        self._enter_handshake(shared_secret, client=False)
        self._send_flight(accepted)

    def _accepts_early_data(self, hello: ClientHello) -> bool:
        """Whether 0-RTT goes with the chosen key: the session's first, fresh, and as it was then (section 4.2.10)."""
        psk = self._psk
        # rfc8446:4.2.10:7 rfc8446:4.2.10:8 rfc8446:4.2.10:10
        if not self._config.early_data or psk is None or psk.position or psk.ticket is None or hello.psk is None:
            return False
        ticket = psk.ticket
        identity, age = hello.psk.identities[0]
        return (
            ticket.early_data
            and (ticket.suite, ticket.alpn) == (self._suite, self._alpn)
            and self._check_parameters(ticket.transport_parameters, self._parameters)
            and ticket.is_fresh(age, self._now)
            and self._office.strike(identity, ticket, self._now)
        )

    def _send_flight(self, early_data: bool) -> None:
        """Send EncryptedExtensions to Finished and give out the application write secret."""
        schedule = self._schedule
        flight = messages.encode_encrypted_extensions(self._alpn, self._parameters, early_data)
        schedule.add_message(flight)
        if self._requests_certificate:
            # rfc8446:4.3.2:2
            more = grease.extension(self._rng) if self._config.grease else b""
            request = messages.encode_certificate_request(_CLIENT_SIGNATURES, more)
            schedule.add_message(request)
            flight += request
        credentials = self._config.credentials
        if self._psk is None and credentials is not None:
            salts = self._rng if self._config.deterministic else None
            flight += prove(credentials, self._scheme, schedule, salts, client=False)
        finished = messages.encode_finished(schedule.verify_data(self._server_secret))
        schedule.add_message(finished)
        self._send(HANDSHAKE, flight + finished)
        self._client_application_secret, server_secret = self._enter_application()
        self._secret(APPLICATION, WRITE, server_secret)

    @property
    def _requests_certificate(self) -> bool:
        # rfc8446:4.3.2:8
        return self._config.client_trust is not None and self._psk is None

    def _on_certificate(self, message: bytes) -> State | None:
        chain = messages.parse_certificate(message[HEADER_SIZE:], ())
        self._schedule.add_message(message)
        if chain:
            if self._config.client_trust is not None:
                self._config.client_trust.verify_client(chain)
            self._peer_certificates = chain
            return None
        if self._config.client_auth == "require":
            # rfc8446:4.4.2.4:2
            raise HandshakeError(CERTIFICATE_REQUIRED, "the client has no certificate for us")
        return State.SERVER_WAIT_FINISHED

    def _on_certificate_verify(self, message: bytes) -> None:
        leaf = self._peer_certificates[0]
        check_proof(message[HEADER_SIZE:], leaf, tuple(SCHEMES), self._schedule, client=True)
        self._schedule.add_message(message)

    def _on_finished(self, message: bytes) -> None:
        self._check_finished(message[HEADER_SIZE:], self._client_secret)
        self._schedule.add_message(message)
        self._secret(APPLICATION, READ, self._client_application_secret)
        self._client_application_secret = self._client_secret = self._server_secret = b""
        if self._psk is not None and self._psk.ticket is not None:
            self._peer_certificates = self._psk.ticket.certificates
        self._psk = None
        self._events.append(Completed(self._peer_certificates))
