"""GnuTLS in the place of the own TLS engine: connections over a network that loses a tenth of all datagrams."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import quicsim
from links import Delay, Loss
from quicsim.gnutls import GnuTlsClient, GnuTlsServer, library
from stack.errors import ConfigError
from stack.events import ConnectionEnded, HandshakeCompleted, NewSession
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import P256, X25519, X25519MLKEM768
from stack.tls.psk import ExternalPsk
from stack.tls.schedule import AES_128_CCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import SECOND, Pair
from tests.support.peers import missing

try:
    library.load()
except ConfigError as error:
    missing("libgnutls", str(error))

pytestmark = pytest.mark.peer("gnutls")

CLIENTS = {"own": ClientTls, "gnutls": GnuTlsClient}
SERVERS = {"own": ServerTls, "gnutls": GnuTlsServer}
DATA = bytes(range(256)) * 40
AT = datetime(2030, 1, 1, tzinfo=UTC)


def usage(authority: bool) -> x509.KeyUsage:
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **others)


@cache
def chain(kind: str) -> tuple[Credentials, Authorities]:
    """A leaf for "bob" with an intermediate authority, all with keys of a kind, and the root that vouches for them."""
    certificates: list[x509.Certificate] = []
    key: Any = None
    for name in ("root", "intermediate", "bob"):
        issuer_key, issuer = key, certificates[-1].subject if certificates else None
        key = generate_private_key(65537, 2048) if kind == "rsa" else Ed25519PrivateKey.generate()
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
    """What the two ends are told beside their engines."""

    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=quicsim.test_certificate)
    trust: Any = field(default_factory=quicsim.test_certificate)
    connections: int = 1
    pause: str = "0s"  # between connections


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


CASES: dict[str, Callable[[], Case]] = {
    "full": Case,
    "hello retry request": lambda: Case({"groups": (P256, X25519)}, {"groups": (X25519,)}),
    "resumption": lambda: Case({}, {"tickets": 1}, connections=2),
    "0-RTT": lambda: Case({"early_data": True}, {"tickets": 1, "early_data": True}, connections=2),
    "client certificate": client_certificate,
    "aes-256": lambda: Case({"suites": (AES_256_GCM_SHA384,)}),
    "chacha20": lambda: Case({"suites": (CHACHA20_POLY1305_SHA256,)}),
    "ccm": lambda: Case({"suites": (AES_128_CCM_SHA256,)}),
    "RSA chain": rsa_chain,
    "Ed25519 chain": ed25519_chain,
    "external key": external_key,
}


def run(case: Case, client_tls: Any, server_tls: Any, seed: int) -> list[tuple[HandshakeCompleted, HandshakeCompleted]]:
    """Connect as often as the case says, with data to and fro; return what both ends know of each handshake."""

    async def serve(net: quicsim.Net, connection: quicsim.Connection) -> None:
        stream = await connection.accept_stream()
        await stream.write(await stream.read_all(), end=True)

    async def server(net: quicsim.Net) -> list[HandshakeCompleted]:
        listener = await net.listen(4433, case.credentials, tls=server_tls, **case.server)
        seen = []
        for _ in range(case.connections):
            connection = await listener.accept()
            net.spawn(serve, connection)
            await connection.established()
            assert connection.handshake is not None
            seen.append(connection.handshake)
        return seen

    async def client(net: quicsim.Net) -> list[HandshakeCompleted]:
        seen = []
        session = {}
        for number in range(case.connections):
            options = case.client | session | {"trust": case.trust, "tls": client_tls}
            connection = await net.connect("bob", 4433, **options)
            stream = await connection.open_stream()
            await stream.write(DATA, end=True)
            assert await stream.read_all() == DATA
            assert connection.handshake is not None
            seen.append(connection.handshake)
            if number + 1 < case.connections:
                await net.sleep(case.pause)
                session = {"session": await connection.session()}
        return seen

    sim = quicsim.Simulation(seed=seed)
    sim.link("alice", "bob", up=[Delay("10ms"), Loss(0.1)], down=[Delay("10ms"), Loss(0.1)])
    serving = sim.spawn("bob", server)
    seen = sim.run(sim.spawn("alice", client))
    return list(zip(seen, sim.run(serving), strict=True))


PAIRS = [("own", "own"), ("own", "gnutls"), ("gnutls", "own"), ("gnutls", "gnutls")]
# GnuTLS tells the age of tickets by the machine's clock, and takes no 0-RTT from a client for whom more time has passed
GAPS = [("own", "gnutls", "0-RTT")]


@pytest.mark.parametrize(
    ("client", "server", "case"), [(*pair, case) for case in CASES for pair in PAIRS if (*pair, case) not in GAPS]
)
def test_every_kind_of_handshake_over_a_network_that_loses(client: str, server: str, case: str) -> None:
    made = CASES[case]()
    seen = run(made, CLIENTS[client], SERVERS[server], seed=3)
    for number, (at_client, at_server) in enumerate(seen):
        resumed = number > 0
        assert (at_client.resumed, at_server.resumed) == (resumed, resumed)
        assert at_client.alpn == at_server.alpn == "quicsim"
        assert at_client.server_name == at_server.server_name == "bob"
        early = resumed and case == "0-RTT"
        assert (at_client.early_data_accepted, at_server.early_data_accepted) == (early, early)
        shown = () if case == "external key" else made.credentials.certificates
        assert at_client.peer_certificates == shown
        shown = quicsim.test_certificate().certificates if case == "client certificate" else ()
        assert at_server.peer_certificates == shown


@pytest.mark.parametrize(("client", "server"), PAIRS[1:3])
def test_early_data_is_refused_and_sent_again_where_the_clocks_of_the_ends_disagree(client: str, server: str) -> None:
    # The own engine goes by virtual time, GnuTLS by the machine's, which hardly moves meanwhile
    case = replace(CASES["0-RTT"](), pause="1min")
    _, (at_client, at_server) = run(case, CLIENTS[client], SERVERS[server], seed=4)
    assert at_client.resumed
    assert at_server.resumed
    assert not at_client.early_data_accepted
    assert not at_server.early_data_accepted


def test_what_gnutls_can_not_do_is_refused_at_once() -> None:
    trust = quicsim.test_certificate()
    hybrid, psks = (X25519MLKEM768, X25519), (ExternalPsk(b"a", bytes(32)), ExternalPsk(b"b", bytes(32)))
    sha384 = (ExternalPsk(b"a", bytes(48), "sha384"),)
    for message, client in (
        ("groups: GnuTLS does not have 0x11ec", {"groups": hybrid}),
        ("key_shares = 3: GnuTLS can make one, or one of X25519 and one of another", {"key_shares": 3}),
        ("psks: GnuTLS can offer one, not 2", {"psks": psks}),
        ("psks: GnuTLS takes external keys for SHA-256 only", {"psks": sha384}),
        ("session: must be what a SessionTicket event of a connection by GnuTLS gave", {"session": b"QSS"}),
        ("session: 3 bytes that were cut short or changed", {"session": b"QSG\x01QSS"}),
        ("suites = (0x1399): must be one or more of", {"suites": (0x1399,)}),
    ):
        with pytest.raises(ConfigError) as caught:
            GnuTlsClient(trust, **client)
        assert message in str(caught.value)
    for message, server in (
        ("groups: GnuTLS does not have 0x11ec", {"groups": hybrid}),
        ("psks: GnuTLS takes external keys for SHA-256 only", {"psks": sha384}),
        ("tickets = -1", {"tickets": -1}),
    ):
        with pytest.raises(ConfigError) as caught:
            GnuTlsServer(trust, **server)
        assert message in str(caught.value)


def test_each_end_needs_its_own_factory() -> None:
    credentials = quicsim.test_certificate()
    with pytest.raises(ConfigError, match="needs GnuTlsServer"):
        GnuTlsClient(credentials).server(b"", random.Random(1))
    with pytest.raises(ConfigError, match="needs GnuTlsClient"):
        GnuTlsServer(credentials).client("bob", b"", random.Random(1))
    with pytest.raises(ConfigError, match=r"server_name = 'b\.\.b'"):
        GnuTlsClient(credentials).client("b..b", b"", random.Random(1))


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SONAME", "libgnutls.so.nowhere")
    with pytest.raises(ConfigError, match=r"install libgnutls\.so\.nowhere, on Debian package libgnutls30"):
        library.load.__wrapped__()


def test_a_library_that_is_too_old_is_named_with_the_version_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "OLDEST", "99.0.0")
    with pytest.raises(ConfigError, match=r"GnuTLS 3\.\S+ is too old: must be 99\.0\.0 or newer"):
        library.load.__wrapped__()


def test_the_class_of_tls_engines_must_be_one() -> None:
    with pytest.raises(ConfigError, match="tls = 'gnutls': must be a class such as ClientTls"):
        run(Case(), "gnutls", ServerTls, seed=1)


@pytest.mark.parametrize(("client", "server"), PAIRS[1:])
def test_handshakes_that_fail_close_with_the_alert(client: str, server: str) -> None:
    wrong = chain("ed25519")[0].certificates
    for fields, code in (({"alpn": ("other",)}, 0x178), ({"trust": Pinned(wrong)}, 0x130)):
        tls = {"trust": quicsim.test_certificate(), **fields}
        pair = Pair(client={"tls": CLIENTS[client](**tls)}, server={"tls": SERVERS[server](quicsim.test_certificate())})
        pair.connect()
        pair.settle()
        for events in (pair.client_events, pair.server_events):
            assert [event.code for event in events if isinstance(event, ConnectionEnded)] == [code]


@pytest.mark.parametrize("client", ["own", "gnutls"])
def test_a_resumed_connection_that_changes_its_version_gets_no_ticket(client: str) -> None:
    certificate, fields = quicsim.test_certificate(), {"tickets": 1, "ticket_key": bytes(32)}
    pair = Pair(
        client={"tls": CLIENTS[client](certificate), "versions": (VERSION_1,)},
        server={"tls": GnuTlsServer(certificate, **fields)},
    )
    pair.established()
    (session,) = [event.session for event in pair.client_events if isinstance(event, NewSession)]
    for session_offered, tickets in ((None, [VERSION_2]), (session, [])):
        pair = Pair(
            client={"tls": CLIENTS[client](certificate, session=session_offered)},
            server={"tls": GnuTlsServer(certificate, **fields), "versions": (VERSION_2, VERSION_1)},
        )
        pair.now = SECOND
        connection, _ = pair.established()
        assert connection.version.number == VERSION_2
        completed = [event.resumed for event in pair.client_events if isinstance(event, HandshakeCompleted)]
        assert completed == [session_offered is not None]
        assert [event.version for event in pair.client_events if isinstance(event, NewSession)] == tickets


def test_a_server_by_gnutls_takes_early_data_where_time_is_real() -> None:
    async def server(net: quicsim.Net, serving: list[int]) -> None:
        certificate = quicsim.test_certificate()
        listener = await net.listen(0, certificate, tls=GnuTlsServer, tickets=1, early_data=True)
        serving.append(listener.address[1])
        while True:
            net.spawn(echo, await listener.accept())

    async def echo(net: quicsim.Net, connection: quicsim.Connection) -> None:
        stream = await connection.accept_stream()
        await stream.write(await stream.read_all(), end=True)

    async def client(net: quicsim.Net, serving: list[int]) -> list[bool]:
        while not serving:
            await net.sleep("1ms")
        accepted = []
        session = None
        for _ in range(2):
            options: dict[str, Any] = {"session": session, "early_data": True, "server_name": "localhost"}
            trust = quicsim.test_certificate()
            connection = await net.connect("127.0.0.1", serving[0], trust=trust, **options)
            stream = await connection.open_stream()
            await stream.write(DATA, end=True)
            assert await stream.read_all() == DATA
            session = await connection.session()
            assert connection.handshake is not None
            accepted.append(connection.handshake.early_data_accepted)
            connection.close()
        return accepted

    net = quicsim.RealNet()
    serving: list[int] = []
    net.spawn(server, serving)
    assert net.run(client, serving) == [False, True]
