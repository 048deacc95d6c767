"""Factories of the stack's own TLS 1.3 engines: whom to trust, who we are, and what may be negotiated."""

from collections.abc import Container
from dataclasses import dataclass, field

from stack.errors import ConfigError
from stack.limits import MAX_SESSION_TICKETS
from stack.randomness import Randomness
from stack.tls.certificates import Anybody, Authorities, Credentials, Pinned, Trust
from stack.tls.client import ClientHandshake
from stack.tls.engine import LocalTransportParameters
from stack.tls.groups import GROUPS, P256, P384, X25519
from stack.tls.messages import MAX_TICKET_LIFETIME
from stack.tls.psk import PSK_DHE_KE, PSK_KE, ExternalPsk
from stack.tls.schedule import AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256, SUITES
from stack.tls.server import ServerHandshake
from stack.tls.session import Use, decode_session
from stack.tls.signatures import SCHEMES
from stack.tls.tickets import KEY_LENGTH, TicketOffice

DEFAULT_ALPN = ("quicsim",)
CLIENT_SUITES = (AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256)
DEFAULT_GROUPS = (X25519, P256, P384)


def _check_numbers(field: str, values: tuple[int, ...], known: Container[int], names: str) -> None:
    """Check a preference list. Raises ConfigError."""
    unknown = [f"0x{value:04x}" for value in values if value not in known]
    if unknown or not values or len(set(values)) != len(values):
        shown = ", ".join(f"0x{value:04x}" for value in values)
        raise ConfigError(f"{field} = ({shown}): must be one or more of {names}, none twice")


def _check_common(
    alpn: tuple[str, ...],
    suites: tuple[int, ...],
    groups: tuple[int, ...],
    psks: tuple[ExternalPsk, ...],
    psk_modes: tuple[int, ...],
) -> None:
    """Check the fields that both factories have. Raises ConfigError."""
    if not isinstance(alpn, tuple) or not alpn or not all(1 <= len(protocol.encode()) <= 255 for protocol in alpn):
        raise ConfigError(f"alpn = {alpn!r}: must be a tuple of one or more names of 1 to 255 bytes")
    _check_numbers("suites", suites, SUITES, ", ".join(f"0x{suite:04x}" for suite in SUITES))
    _check_numbers("groups", groups, GROUPS, ", ".join(f"0x{group:04x}" for group in GROUPS))
    _check_numbers("psk_modes", psk_modes, (PSK_KE, PSK_DHE_KE), "0x0000 (psk_ke), 0x0001 (psk_dhe_ke)")
    if len({psk.identity for psk in psks}) != len(psks):
        raise ConfigError("psks: must not have an identity twice")


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Makes client engines.

    `trust` says which servers are accepted; a server's own Credentials pin its leaf. `alpn`, `suites`,
    `groups` and `signatures` are in order of preference. `key_shares` is the number of `groups`, from the
    first on, for which the ClientHello carries a key share.

    `credentials` are shown to servers that ask for a certificate; `deterministic` as in `ServerTls`.

    `session` is what a SessionTicket event of an earlier connection to the same server gave, to resume that
    session; the first connection that can offers it, later ones start afresh, so that its ticket shows nobody that they
    are one client's (RFC 8446 appendix C.4). Its ticket's age is told by the engine's clock, so it is of no use where
    that has started anew. With `early_data`, 0-RTT is offered if the session allows it. Without
    `tickets`, servers are not told that we could use any, and those that come are dropped.

    `psks` are keys that are shared with servers already; one that takes none of them proves itself to `trust`.
    `psk_modes`: how keys of either kind are used, in order of preference; PSK_KE gives up forward secrecy.

    With `grease`, the ClientHello carries reserved values that servers must ignore (RFC 8701).

    Raises ConfigError naming the field, its value and what would be right.
    """

    trust: Pinned | Authorities | Anybody | Credentials
    alpn: tuple[str, ...] = DEFAULT_ALPN
    suites: tuple[int, ...] = CLIENT_SUITES
    groups: tuple[int, ...] = DEFAULT_GROUPS
    signatures: tuple[int, ...] = tuple(SCHEMES)
    key_shares: int = 1
    credentials: Credentials | None = None
    deterministic: bool = False
    session: bytes | None = field(default=None, repr=False)
    tickets: bool = True
    early_data: bool = False
    psks: tuple[ExternalPsk, ...] = ()
    psk_modes: tuple[int, ...] = (PSK_DHE_KE,)
    grease: bool = False
    use: Use = field(init=False, repr=False, compare=False, default_factory=Use)

    def __post_init__(self) -> None:
        _check_common(self.alpn, self.suites, self.groups, self.psks, self.psk_modes)
        names = ", ".join(f"0x{number:04x} ({scheme.name})" for number, scheme in SCHEMES.items())
        _check_numbers("signatures", self.signatures, SCHEMES, names)
        if not 1 <= self.key_shares <= len(self.groups):
            raise ConfigError(f"key_shares = {self.key_shares}: must be from 1 to the {len(self.groups)} groups")
        if self.session is not None:
            decode_session(self.session)

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> ClientHandshake:
        """Return an engine that speaks to `server_name`, a host name or an address.

        A callable as `transport_parameters` is called with b"" by `start`. Raises ConfigError for a name that
        can't be sent, or when certificates must be verified and there is no name to verify them for.
        """
        self.check_server_name(server_name)
        session = None if self.session is None else decode_session(self.session)
        return ClientHandshake(self, self.verifier, session, server_name, transport_parameters, rng)

    def server(
        self,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> ServerHandshake:
        """Raise ConfigError: a server needs credentials, see `ServerTls`."""
        raise ConfigError("tls = ClientTls(…): an endpoint that accepts connections needs ServerTls(credentials)")

    def check_server_name(self, server_name: str | None) -> None:
        """Raise ConfigError for a name that can't be sent, or for none where it must be verified."""
        if server_name is None and isinstance(self.trust, Authorities):
            raise ConfigError("server_name = None: verifying a certificate needs the server's name or address")
        if server_name is not None:
            _check_server_name(server_name)

    @property
    def verifier(self) -> Trust:
        """What checks a server's certificates."""
        if isinstance(self.trust, Credentials):
            return Pinned(self.trust.certificates[:1])
        return self.trust


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Makes server engines.

    `alpn`, `suites` and `groups` are in order of preference, which goes before the client's. Of the groups, the
    first one is taken for which the client has sent a key share; with `enforce_groups`, the first one that the
    client knows, even if that takes a HelloRetryRequest and so a round trip.

    With `deterministic`, the salts of RSA signatures and what X25519MLKEM768 encapsulates come from the injected
    randomness, so that a seeded run is exact; they are then computed in Python, in time that depends on the key:
    for simulations only. Everything else is always exact.

    `client_auth` tells whether clients are asked for a certificate that `client_trust` accepts: "none"; "request", for
    those that have one; or "require". A pre-shared key makes up for it.

    `tickets` are issued to each client that can use them, valid for `ticket_lifetime` seconds, sealed with
    `ticket_key` of 32 bytes; without one, with a random key, so that no other process can open them. `early_data`
    lets clients send 0-RTT with a ticket, once each, as far as this object's connections are concerned.

    `psks` are keys that clients have already, which prove both ends instead of a certificate; without `credentials`
    every client must have one. `psk_modes`: how keys of either kind may be used, in order of preference; PSK_KE gives
    up forward secrecy. With `grease`, tickets and CertificateRequest carry reserved extensions that clients must
    ignore (RFC 8701).

    Raises ConfigError naming the field, its value and what would be right.
    """

    credentials: Credentials | None
    alpn: tuple[str, ...] = DEFAULT_ALPN
    suites: tuple[int, ...] = tuple(SUITES)
    groups: tuple[int, ...] = DEFAULT_GROUPS
    enforce_groups: bool = False
    deterministic: bool = False
    client_auth: str = "none"
    client_trust: Pinned | Authorities | None = None
    tickets: int = 0
    ticket_lifetime: int = 86_400
    ticket_key: bytes | None = field(default=None, repr=False)
    early_data: bool = False
    psks: tuple[ExternalPsk, ...] = ()
    psk_modes: tuple[int, ...] = (PSK_DHE_KE,)
    grease: bool = False
    office: TicketOffice = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_common(self.alpn, self.suites, self.groups, self.psks, self.psk_modes)

        if self.credentials is None and not self.psks:
            raise ConfigError("credentials = None: must be set if there are no psks")
        if self.client_auth not in ("none", "request", "require"):
            raise ConfigError(f'client_auth = {self.client_auth!r}: must be "none", "request" or "require"')
        if (self.client_auth == "none") != (self.client_trust is None):
            raise ConfigError('client_trust: must be set if client_auth is not "none", and only then')
        if not 0 <= self.tickets <= MAX_SESSION_TICKETS:
            raise ConfigError(f"tickets = {self.tickets}: must be from 0 to {MAX_SESSION_TICKETS}")
        if not 1 <= self.ticket_lifetime <= MAX_TICKET_LIFETIME:
            # rfc8446:4.6.1:9
            raise ConfigError(f"ticket_lifetime = {self.ticket_lifetime}: must be 1 to {MAX_TICKET_LIFETIME} seconds")
        if self.ticket_key is not None and len(self.ticket_key) != KEY_LENGTH:
            raise ConfigError(f"ticket_key has {len(self.ticket_key)} bytes: must have {KEY_LENGTH}")
        object.__setattr__(self, "office", TicketOffice(self.ticket_key))

    def client(
        self,
        server_name: str | None,
        transport_parameters: LocalTransportParameters,
        rng: Randomness,
    ) -> ClientHandshake:
        """Raise ConfigError: a client must say whom it trusts, see `ClientTls`."""
        raise ConfigError("tls = ServerTls(…): an endpoint that connects needs ClientTls(trust)")

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> ServerHandshake:
        """Return an engine that speaks as server.

        A callable as `transport_parameters` gets the client's, undecoded; what it raises passes through
        `feed`.
        """
        return ServerHandshake(self, self.office, transport_parameters, rng)


def _check_server_name(name: str) -> None:
    """Check a name that goes into the ClientHello. Raises ConfigError."""
    labels = name.split(".")
    if not name.isascii() or len(name) > 253 or not all(1 <= len(label) <= 63 for label in labels):
        raise ConfigError(f"server_name = {name!r}: must be an ASCII host name without a trailing dot, or an address")
