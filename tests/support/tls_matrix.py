"""Every kind of handshake, between any two of the TLS engines, over a simulated network that loses a tenth of all."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import quicsim
from links import Delay, Loss
from quicsim.agent.factory import AgentTls, LocalAgent
from quicsim.agent.keys import Keys, Policy
from quicsim.gnutls import GnuTlsClient, GnuTlsServer, library
from stack.errors import ConfigError
from stack.events import HandshakeCompleted
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import DEFAULT_GROUPS, ClientTls, ServerTls
from stack.tls.groups import P256, X25519, X25519MLKEM768
from stack.tls.psk import ExternalPsk
from stack.tls.schedule import AES_128_CCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256
from tests.support.peers import missing

ENGINES = ("own", "gnutls", "agent")
AGENT = "agent"
CLIENTS = {"own": ClientTls, "gnutls": GnuTlsClient}
SERVERS = {"own": ServerTls, "gnutls": GnuTlsServer}
PORT = 4433
DATA = bytes(range(256)) * 40
AT = datetime(2030, 1, 1, tzinfo=UTC)
WAIT_FOR_TICKET_S = 5


def usage(authority: bool) -> x509.KeyUsage:
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **others)


@cache
def chain(kind: str) -> tuple[Credentials, Authorities]:
    """A leaf for "bob" with an intermediate authority, all with keys of a kind, and the root that vouches for them."""
    certificates: list[x509.Certificate] = []
    key: Any = None
    for number, name in enumerate(("root", "intermediate", "bob")):
        issuer_key, issuer = key, certificates[-1].subject if certificates else None
        rsa = kind == "rsa"
        key = generate_private_key(65537, 2048) if rsa else Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer_key or key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(name != "bob", None), critical=True)
            .add_extension(usage(name != "bob"), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        certificates.append(builder.sign(signer, None if kind == "ed25519" else SHA256()))
    root, *others = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    return Credentials(tuple(reversed(others)), key), Authorities((root,), AT)


@dataclass(frozen=True)
class Case:
    """What the two ends are told beside their engines, as fields of ClientTls and ServerTls.

    The second connection and those after it resume the session that the first one gave.
    """

    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=quicsim.test_certificate)
    trust: Any = field(default_factory=quicsim.test_certificate)
    connections: int = 1
    accepted: tuple[int, ...] = ()  # numbers of the connections whose 0-RTT the server takes
    pause: str = "0s"  # between the session and the second connection


def client_certificate() -> Case:
    credentials = quicsim.test_certificate()
    server = {"client_auth": "require", "client_trust": Pinned(credentials.certificates)}
    return Case({"credentials": credentials}, server)


def external_key() -> Case:
    psks = (ExternalPsk(b"alice\x00bob", bytes(range(32))),)
    nobody = Pinned(chain("ed25519")[0].certificates)
    return Case({"psks": psks}, {"psks": psks}, trust=nobody)


def rsa_chain() -> Case:
    credentials, authorities = chain("rsa")
    return Case(credentials=credentials, trust=authorities)


def ed25519_chain() -> Case:
    # cryptography's verifier refuses Ed25519 keys, so there is a pin instead of an authority
    credentials, _ = chain("ed25519")
    return Case(credentials=credentials, trust=credentials)


def early_data(connections: int) -> Case:
    """The session serves for 0-RTT once: a third connection is refused it."""
    server = {"tickets": 1, "early_data": True}
    return Case({"early_data": True}, server, connections=connections, accepted=(1,))


CASES: dict[str, Callable[[], Case]] = {
    "full": Case,
    "HelloRetryRequest": lambda: Case({"groups": (P256, X25519)}, {"groups": (X25519,)}),
    "resumption": lambda: Case({}, {"tickets": 1}, connections=2),
    "0-RTT accepted": lambda: early_data(2),
    "0-RTT rejected": lambda: early_data(3),
    "external key": external_key,
    "client certificate": client_certificate,
    "aes-256": lambda: Case({"suites": (AES_256_GCM_SHA384,)}),
    "chacha20": lambda: Case({"suites": (CHACHA20_POLY1305_SHA256,)}),
    "aes-ccm": lambda: Case({"suites": (AES_128_CCM_SHA256,)}),
    "RSA chain": rsa_chain,
    "Ed25519 chain": ed25519_chain,
    "X25519MLKEM768": lambda: Case({"groups": (X25519MLKEM768, X25519)}, {"groups": (X25519MLKEM768,)}),
}


def require_gnutls() -> None:
    """Skip what needs GnuTLS where it is not installed."""
    try:
        library.load()
    except ConfigError as error:
        missing("libgnutls", str(error))


def agent_of(case: Case, client: bool, clock: Callable[[], int]) -> tuple[LocalAgent, dict[str, Any]]:
    """An agent with the keys of one end, and the fields of AgentTls that go with them."""
    told = case.client if client else case.server
    psks = dict(enumerate(told.get("psks", ()), 7))
    credentials = told.get("credentials") if client else case.credentials
    trust = case.trust if client else told.get("client_trust")
    keys = Keys(
        {} if credentials is None else {(1, 2): credentials},
        psks,
        {} if trust is None else {0: Pinned(trust.certificates[:1]) if isinstance(trust, Credentials) else trust},
        Policy(told.get("groups", DEFAULT_GROUPS)),
    )
    fields: dict[str, Any] = {"early_data": told.get("early_data", False), "auth": "x509" if credentials else "anon"}
    if psks:
        fields |= {"auth": "psk", "my_peerids": tuple(psks) if client else ()}
    if "alpn" in told:
        fields["alpn"] = told["alpn"]
    if "suites" in told:
        (fields["suite"],) = told["suites"]
    if "client_auth" in told:
        fields["certificate_request"] = ("none", "request", "require").index(told["client_auth"])
    return LocalAgent(keys, random.Random(11 + client), clock, print), fields


class Seen(NamedTuple):
    """What the ends know of each handshake, the client first, and the digest of the run."""

    handshakes: list[tuple[HandshakeCompleted, HandshakeCompleted]]
    digest: str


def run(case: Case, client_engine: str, server_engine: str, seed: int) -> Seen:
    """Connect as often as the case says, with data to and fro."""
    if "gnutls" in (client_engine, server_engine):
        require_gnutls()
    sim = quicsim.Simulation(seed=seed)
    agents = {
        client: agent_of(case, client, lambda: sim.now)
        for client, engine in ((True, client_engine), (False, server_engine))
        if engine == AGENT
    }

    def listen(net: quicsim.Net) -> Any:
        if False in agents:
            local, fields = agents[False]
            return net.listen(PORT, None, tls=AgentTls(local.handshakes, **fields))
        return net.listen(PORT, case.credentials, tls=SERVERS[server_engine], **case.server)

    def connect(net: quicsim.Net, session: bytes | None, wants_session: bool) -> Any:
        if True in agents:
            local, fields = agents[True]
            wait_s = WAIT_FOR_TICKET_S if wants_session else 0
            tls = AgentTls(local.handshakes, session=session, receive_session_ticket=wait_s, **fields)
            return net.connect("bob", PORT, trust=None, tls=tls)
        options = case.client | ({} if session is None else {"session": session})
        return net.connect("bob", PORT, trust=case.trust, tls=CLIENTS[client_engine], **options)

    async def serve(net: quicsim.Net, connection: quicsim.Connection) -> None:
        stream = await connection.accept_stream()
        await stream.write(await stream.read_all(), end=True)

    async def server(net: quicsim.Net) -> list[HandshakeCompleted]:
        listener = await listen(net)
        seen = []
        for _ in range(case.connections):
            connection = await listener.accept()
            net.spawn(serve, connection)
            await connection.established()
            seen.append(connection.handshake)
        return seen

    async def transfer(net: quicsim.Net, connection: quicsim.Connection) -> HandshakeCompleted:
        stream = await connection.open_stream()
        await stream.write(DATA, end=True)
        assert await stream.read_all() == DATA
        assert connection.handshake is not None
        return connection.handshake

    async def client(net: quicsim.Net) -> list[HandshakeCompleted]:
        first = await connect(net, None, case.connections > 1)
        job = net.spawn(transfer, first)
        session = None
        if case.connections > 1:
            # The next connection starts in the instant in which the session comes, unless there is a pause
            session = await first.session()
            await net.sleep(case.pause)
        others = [await transfer(net, await connect(net, session, False)) for _ in range(case.connections - 1)]
        return [await job, *others]

    sim.link("alice", "bob", up=[Delay("10ms"), Loss(0.1)], down=[Delay("10ms"), Loss(0.1)])
    serving = sim.spawn("bob", server)
    try:
        at_client = sim.run(sim.spawn("alice", client))
        return Seen(list(zip(at_client, sim.run(serving), strict=True)), sim.digest)
    finally:
        for local, _ in agents.values():
            local.close()


def check(case: Case, made: Seen, *, accepted: tuple[int, ...]) -> None:
    """Both ends say of each handshake what the case is about; `accepted` as in `Case`."""
    assert len(made.handshakes) == case.connections
    at_server = case.client["credentials"].certificates if "client_trust" in case.server else ()
    at_client = () if "psks" in case.server else case.credentials.certificates
    for number, ends in enumerate(made.handshakes):
        for end, shown in zip(ends, (at_client, at_server), strict=True):
            assert (end.alpn, end.server_name) == ("quicsim", "bob")
            assert end.resumed == (number > 0)
            assert end.early_data_accepted == (number in accepted)
            assert end.peer_certificates == shown
