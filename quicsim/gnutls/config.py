"""Factories of engines by GnuTLS, as `stack.tls.config` has them of the stack's own."""

import ctypes
import secrets
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate

from quicsim.gnutls import library
from quicsim.gnutls.client import GnuTlsClientEngine
from quicsim.gnutls.library import datum, load
from quicsim.gnutls.priority import GROUPS, SIGNATURES, SUITES, priority_string
from quicsim.gnutls.server import GnuTlsServerEngine
from quicsim.gnutls.session import ON_PSK_WANTED, Replays
from quicsim.gnutls.session import Credentials as Allocated
from quicsim.gnutls.sessions import decode_session
from quicsim.gnutls.tickets import TicketRegister
from stack.errors import ConfigError
from stack.randomness import Randomness
from stack.tls.certificates import Anybody, Authorities, Credentials, Pinned
from stack.tls.config import CLIENT_SUITES, DEFAULT_ALPN, DEFAULT_GROUPS, ClientTls, ServerTls
from stack.tls.engine import LocalTransportParameters
from stack.tls.groups import X25519
from stack.tls.psk import PSK_DHE_KE, ExternalPsk

_CERTIFICATE: Final = "certificate_%s_credentials"
_PSK_CLIENT: Final = "psk_%s_client_credentials"
_PSK_SERVER: Final = "psk_%s_server_credentials"


@dataclass(frozen=True, slots=True)
class GnuTlsClient:
    """Makes client engines that GnuTLS drives.

    The fields are those of `stack.tls.config.ClientTls`, and mean the same, within what GnuTLS can do: groups X25519,
    P-256 and P-384; `key_shares` 1, or 2 if one of them is for X25519 (the other one is for the first of the others);
    one key in `psks`, for SHA-256; a `session` of another connection by GnuTLS. Certificates are verified as the own
    engine does it, at the same instant.

    Raises ConfigError naming the field, its value and what would be right, or if GnuTLS is not installed.
    """

    trust: Pinned | Authorities | Anybody | Credentials
    alpn: tuple[str, ...] = DEFAULT_ALPN
    suites: tuple[int, ...] = CLIENT_SUITES
    groups: tuple[int, ...] = DEFAULT_GROUPS
    signatures: tuple[int, ...] = tuple(SIGNATURES)
    key_shares: int = 1
    credentials: Credentials | None = None
    session: bytes | None = field(default=None, repr=False)
    tickets: bool = True
    early_data: bool = False
    psks: tuple[ExternalPsk, ...] = ()
    psk_modes: tuple[int, ...] = (PSK_DHE_KE,)
    priority: str = field(init=False, repr=False, compare=False)
    certificate_credentials: Allocated = field(init=False, repr=False, compare=False)
    psk_credentials: Allocated | None = field(init=False, repr=False, compare=False)
    own: ClientTls = field(init=False, repr=False, compare=False)  # with the same fields

    def __post_init__(self) -> None:
        load()
        common = (self.trust, self.alpn, self.suites, self.groups, self.signatures, self.key_shares, self.credentials)
        own = ClientTls(*common, tickets=self.tickets, psks=self.psks, psk_modes=self.psk_modes)
        _check_known("groups", self.groups, GROUPS)
        if self.key_shares > 1 and (self.key_shares > 2 or X25519 not in self.groups):
            raise ConfigError(
                f"key_shares = {self.key_shares}: GnuTLS can make one, or one of X25519 and one of another"
            )
        _check_psks(self.psks)
        if len(self.psks) > 1:
            raise ConfigError(f"psks: GnuTLS can offer one, not {len(self.psks)}")
        if self.session is not None:
            decode_session(self.session)
        object.__setattr__(self, "own", own)
        priority = priority_string(self.suites, self.groups, self.signatures, self.psk_modes)
        object.__setattr__(self, "priority", priority)
        object.__setattr__(self, "certificate_credentials", _certificate_credentials(self.credentials))
        object.__setattr__(self, "psk_credentials", _client_psk(self.psks[0]) if self.psks else None)

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> GnuTlsClientEngine:
        """Return an engine that speaks to `server_name`; errors as of `ClientTls.client`."""
        self.own.check_server_name(server_name)
        session = None if self.session is None else decode_session(self.session)
        return GnuTlsClientEngine(self, self.own.verifier, session, server_name, transport_parameters, rng)

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> GnuTlsServerEngine:
        """Raise ConfigError: a server needs credentials, see `GnuTlsServer`."""
        raise ConfigError("tls = GnuTlsClient(…): an endpoint that accepts connections needs GnuTlsServer(credentials)")


@dataclass(frozen=True, slots=True)
class GnuTlsServer:
    """Makes server engines that GnuTLS drives.

    The fields are those of `stack.tls.config.ServerTls`, and mean the same, within what GnuTLS can do: groups X25519,
    P-256 and P-384, and keys in `psks` for SHA-256. 0-RTT is accepted once with each ticket that this object's
    connections have issued, and with no other.

    Raises ConfigError naming the field, its value and what would be right, or if GnuTLS is not installed.
    """

    credentials: Credentials
    alpn: tuple[str, ...] = DEFAULT_ALPN
    suites: tuple[int, ...] = tuple(SUITES)
    groups: tuple[int, ...] = DEFAULT_GROUPS
    client_auth: str = "none"
    client_trust: Pinned | Authorities | None = None
    tickets: int = 0
    ticket_lifetime: int = 86_400
    ticket_key: bytes | None = field(default=None, repr=False)
    early_data: bool = False
    psks: tuple[ExternalPsk, ...] = ()
    psk_modes: tuple[int, ...] = (PSK_DHE_KE,)
    priority: str = field(init=False, repr=False, compare=False)
    certificate_credentials: Allocated = field(init=False, repr=False, compare=False)
    psk_credentials: Allocated = field(init=False, repr=False, compare=False)
    register: TicketRegister = field(init=False, repr=False, compare=False)
    replays: Replays = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lib = load()
        ServerTls(
            self.credentials,
            self.alpn,
            self.suites,
            self.groups,
            client_auth=self.client_auth,
            client_trust=self.client_trust,
            tickets=self.tickets,
            ticket_lifetime=self.ticket_lifetime,
            ticket_key=self.ticket_key,
            psks=self.psks,
            psk_modes=self.psk_modes,
        )
        _check_known("groups", self.groups, GROUPS)
        _check_psks(self.psks)
        priority = priority_string(self.suites, self.groups, tuple(SIGNATURES), self.psk_modes)
        object.__setattr__(self, "priority", priority)
        object.__setattr__(self, "certificate_credentials", _certificate_credentials(self.credentials))
        psk_credentials = Allocated(_PSK_SERVER)
        lib.psk_set_server_credentials_function2(psk_credentials.pointer, ON_PSK_WANTED)
        object.__setattr__(self, "psk_credentials", psk_credentials)
        object.__setattr__(self, "register", TicketRegister(self.ticket_key or secrets.token_bytes(32)))
        object.__setattr__(self, "replays", Replays())

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> GnuTlsClientEngine:
        """Raise ConfigError: a client must say whom it trusts, see `GnuTlsClient`."""
        raise ConfigError("tls = GnuTlsServer(…): an endpoint that connects needs GnuTlsClient(trust)")

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> GnuTlsServerEngine:
        """Return an engine that speaks as server; `transport_parameters` as of `ServerTls.server`."""
        return GnuTlsServerEngine(self, transport_parameters, rng)


def _check_known(name: str, values: tuple[int, ...], known: Container[int]) -> None:
    unknown = ", ".join(f"0x{value:04x}" for value in values if value not in known)
    if unknown:
        raise ConfigError(f"{name}: GnuTLS does not have {unknown}")


def _check_psks(psks: tuple[ExternalPsk, ...]) -> None:
    if any(psk.hash_name != "sha256" for psk in psks):
        raise ConfigError("psks: GnuTLS takes external keys for SHA-256 only")


def _certificate_credentials(credentials: Credentials | None) -> Allocated:
    """Return GnuTLS's own form of credentials, empty for None. Raises ConfigError if it does not take them."""
    allocated, lib = Allocated(_CERTIFICATE), load()
    if credentials is not None:
        chain = [load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in credentials.certificates]
        key = credentials.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = ctypes.byref(datum(b"".join(chain))), ctypes.byref(datum(key))
        result = lib.certificate_set_x509_key_mem2(allocated.pointer, *pem, library.FORMAT_PEM, None, 0)
        if result < 0:
            raise ConfigError(f"credentials: GnuTLS does not take them: {lib.explain(result)}")
    return allocated


def _client_psk(psk: ExternalPsk) -> Allocated:
    allocated, lib = Allocated(_PSK_CLIENT), load()
    pair = ctypes.byref(datum(psk.identity)), ctypes.byref(datum(psk.key))
    result = lib.psk_set_client_credentials2(allocated.pointer, *pair, library.PSK_KEY_RAW)
    if result < 0:
        raise ConfigError(f"psks: GnuTLS does not take the key: {lib.explain(result)}")
    return allocated
