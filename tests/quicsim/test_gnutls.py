"""GnuTLS in the place of the own TLS engine: what is its own; `test_tls_matrix.py` has every kind of handshake."""

import random
from typing import Any

import pytest

import quicsim
from quicsim.gnutls import GnuTlsClient, GnuTlsServer, library
from quicsim.net import client_config
from stack.errors import ConfigError
from stack.events import ConnectionEnded, HandshakeCompleted, NewSession
from stack.tls.certificates import Pinned
from stack.tls.config import DEFAULT_ALPN
from stack.tls.groups import X25519, X25519MLKEM768
from stack.tls.psk import ExternalPsk
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import SECOND, Pair
from tests.support.tls_matrix import CLIENTS, DATA, SERVERS, chain, require_gnutls

require_gnutls()

pytestmark = pytest.mark.peer("gnutls")


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
        client_config(quicsim.test_certificate(), DEFAULT_ALPN, {"tls": "gnutls"})


@pytest.mark.parametrize(("client", "server"), [("own", "gnutls"), ("gnutls", "own"), ("gnutls", "gnutls")])
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
