"""The engine by GnuTLS against the own one, message by message: secrets, sessions, keys, and what is refused."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from quicsim.gnutls import GnuTlsClient, GnuTlsServer, library
from quicsim.gnutls.tickets import Issued, TicketRegister
from stack.errors import ConfigError, QuicError
from stack.limits import MAX_EARLY_TICKETS
from stack.tls import extensions, messages
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import (
    APPLICATION,
    EARLY,
    HANDSHAKE,
    INITIAL,
    Alert,
    Completed,
    EarlyData,
    Event,
    HandshakeBytes,
    HandshakeInfo,
    KeyLog,
    NewSecret,
    PeerTransportParameters,
    RememberedParameters,
    SessionTicket,
)
from stack.tls.groups import P256, P384, X25519
from stack.tls.hello import parse_client_hello
from stack.tls.psk import PSK_DHE_KE, PSK_KE, ExternalPsk
from stack.tls.session import decode_session, encode_session
from tests.support.peers import missing

try:
    library.load()
except ConfigError as error:
    missing("libgnutls", str(error))

pytestmark = pytest.mark.peer("gnutls")

BOTH = pytest.mark.parametrize(
    ("client", "server"),
    [(GnuTlsClient, ServerTls), (ClientTls, GnuTlsServer), (GnuTlsClient, GnuTlsServer)],
    ids=["gnutls-own", "own-gnutls", "gnutls-gnutls"],
)
KEY_UPDATE = b"\x18\x00\x00\x01\x00"


class Connection:
    """Two engines that have talked as far as they could, tickets included."""

    def __init__(self, tls: Any, client: Any, server: Any, *, name: str = "localhost", **how: Any) -> None:
        self.client = client.client(name, b"client's", random.Random(1))
        self.server = server.server(how.pop("parameters", b"server's"), random.Random(2))
        for engine in (self.client, self.server):
            engine.set_context(how.get("context", b""))
        self.server.allow_early_data(how.pop("check", lambda then, now: then == now))
        how.pop("context", None)
        self.at_client, self.at_server = tls.exchange(self.client, self.server, **how)
        self.server.send_ticket(0)
        for event in tls.drain(self.server):
            self.at_server.append(event)
            if isinstance(event, HandshakeBytes):
                self.client.feed(event.level, event.data, 0)
        self.at_client += tls.drain(self.client)

    @property
    def alerts(self) -> tuple[list[int], list[int]]:
        return of(self.at_client, Alert, "description"), of(self.at_server, Alert, "description")

    @property
    def resumed(self) -> bool:
        client, server = of(self.at_client, HandshakeInfo, "resumed"), of(self.at_server, HandshakeInfo, "resumed")
        assert client == server
        assert len(client) == 1
        return bool(client[0])

    @property
    def early_data(self) -> tuple[list[bool], list[bool]]:
        return of(self.at_client, EarlyData, "accepted"), of(self.at_server, EarlyData, "accepted")

    @property
    def session(self) -> bytes:
        blob: bytes = of(self.at_client, SessionTicket, "blob")[0]
        return blob


def of(events: list[Event], kind: type, field: str) -> list[Any]:
    return [getattr(event, field) for event in events if isinstance(event, kind)]


def secrets(events: list[Event], direction: int) -> set[tuple[int, int, bytes]]:
    found = [event for event in events if isinstance(event, NewSecret) and event.direction == direction]
    return {(event.level, event.suite, event.secret) for event in found}


def check(connection: Connection) -> None:
    """Both are complete and agree on everything."""
    assert connection.alerts == ([], [])
    at_client, at_server = connection.at_client, connection.at_server
    for direction in (0, 1):
        assert secrets(at_client, direction) == secrets(at_server, 1 - direction)
        assert {level for level, *_ in secrets(at_client, direction)} >= {HANDSHAKE, APPLICATION}
    assert of(at_client, PeerTransportParameters, "data") == [b"server's"]
    assert of(at_server, PeerTransportParameters, "data") == [b"client's"]
    assert of(at_client, HandshakeInfo, "alpn") == of(at_server, HandshakeInfo, "alpn") == ["quicsim"]
    assert len(of(at_client, Completed, "peer_certificates")) == len(of(at_server, Completed, "peer_certificates")) == 1
    exported = [
        engine.export_keying_material(b"label", b"context", 50) for engine in (connection.client, connection.server)
    ]
    assert exported[0] == exported[1]


# What works


@BOTH
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303, 0x1304])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_every_suite(tls: Any, client: Any, server: Any, suite: int, size: int) -> None:
    credentials = tls.credentials("p256")
    connection = Connection(tls, client(credentials, suites=(suite,)), server(credentials), size=size)
    check(connection)
    assert {event.suite for event in connection.at_client if isinstance(event, NewSecret)} == {suite}
    assert not connection.resumed


@BOTH
@pytest.mark.parametrize("kind", ["p384", "p521", "rsa", "ed25519"])
def test_every_kind_of_key(tls: Any, client: Any, server: Any, kind: str) -> None:
    check(Connection(tls, client(tls.credentials(kind)), server(tls.credentials(kind))))


@BOTH
@pytest.mark.parametrize("group", [X25519, P256, P384])
def test_every_group_with_and_without_a_retry(tls: Any, client: Any, server: Any, group: int) -> None:
    credentials = tls.credentials("p256")
    other = P256 if group == X25519 else X25519
    for offered in ((group,), (other, group)):
        connection = Connection(tls, client(credentials, groups=offered), server(credentials, groups=(group,)))
        check(connection)
        hellos = [
            event for event in connection.at_client if isinstance(event, HandshakeBytes) and event.level == INITIAL
        ]
        assert len(hellos) == len(offered)


@BOTH
def test_both_keep_the_same_key_log(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    connection = Connection(tls, client(credentials), server(credentials))
    logs = [
        {(event.label, event.client_random, event.secret) for event in events if isinstance(event, KeyLog)}
        for events in (connection.at_client, connection.at_server)
    ]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 5
    hello = parse_client_hello(of(connection.at_client, HandshakeBytes, "data")[0][4:])
    assert {entry[1] for entry in logs[0]} == {hello.random}


def test_the_client_hello_is_one_of_quic(tls: Any) -> None:
    client = GnuTlsClient(tls.credentials("p256")).client("localhost", b"client's", random.Random(1))
    client.start(0)
    hello = client.next_event().data
    assert hello[38] == 0  # no legacy_session_id: parse_client_hello would refuse it too
    parsed = parse_client_hello(hello[4:])
    assert parsed.suites == (0x1301, 0x1302, 0x1303)
    assert parsed.groups == (X25519, P256, P384)
    assert parsed.psk_modes == (PSK_DHE_KE,)
    assert parsed.transport_parameters == b"client's"
    assert parsed.server_name == "localhost"


def test_no_transport_parameters_at_all_still_make_an_extension(tls: Any) -> None:
    client = GnuTlsClient(tls.credentials("p256")).client("localhost", b"", random.Random(1))
    client.start(0)
    assert parse_client_hello(client.next_event().data[4:]).transport_parameters == b""


def test_no_server_name_is_sent_for_an_address(tls: Any) -> None:
    client = GnuTlsClient(tls.credentials("p256")).client("192.0.2.1", b"", random.Random(1))
    client.start(0)
    assert parse_client_hello(client.next_event().data[4:]).server_name is None


def test_two_shares_are_of_x25519_and_one_other_group(tls: Any) -> None:
    config = GnuTlsClient(tls.credentials("p256"), groups=(P384, P256, X25519), key_shares=2)
    client = config.client("localhost", b"", random.Random(1))
    client.start(0)
    assert list(parse_client_hello(client.next_event().data[4:]).key_shares or ()) == [P384, X25519]


# Sessions


@BOTH
def test_sessions_are_resumed(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    config = server(credentials, tickets=2, ticket_lifetime=500)
    first = Connection(tls, client(credentials), config)
    assert of(first.at_client, SessionTicket, "lifetime") == [500, 500]
    again = Connection(tls, client(credentials, session=first.session), config)
    check(again)
    assert again.resumed
    assert of(again.at_client, Completed, "peer_certificates") == [credentials.certificates]
    assert again.early_data == ([], [])


@BOTH
@pytest.mark.parametrize("change", ["name", "context", "protocol"])
def test_sessions_belong_to_a_name_a_context_and_with_gnutls_a_protocol(
    tls: Any, client: Any, server: Any, change: str
) -> None:
    credentials = tls.credentials("p256")
    config = server(credentials, tickets=1, alpn=("quicsim", "other"))
    session = Connection(tls, client(credentials), config).session
    how: dict[str, Any] = {"name": {"name": "other.test"}, "context": {"context": b"2"}}.get(change, {})
    alpn = ("other",) if change == "protocol" else ("quicsim",)
    connection = Connection(tls, client(credentials, session=session, alpn=alpn), config, **how)
    assert connection.alerts == ([], [])
    assert connection.resumed == (change == "protocol" and server is ServerTls)


def test_a_server_does_not_trust_its_clients_to_keep_to_the_name_of_a_session(tls: Any) -> None:
    credentials = tls.credentials("p256")
    config = GnuTlsServer(credentials, tickets=1)
    first = Connection(tls, ClientTls(credentials), config)
    for name, context, resumed in (("localhost", b"", True), ("other.test", b"", False), ("localhost", b"2", False)):
        client = ClientTls(credentials, session=first.session).client("localhost", b"client's", random.Random(1))
        server = config.server(b"server's", random.Random(2))
        server.set_context(context)
        if name != "localhost":
            client = _with_name(credentials, first.session, name)
        at_client, _ = tls.exchange(client, server)
        assert of(at_client, HandshakeInfo, "resumed") == [resumed]


def _with_name(credentials: Credentials, session: bytes, name: str) -> Any:
    """A client that resumes a session of another name."""
    changed = encode_session(decode_session(session)._replace(server_name=name))
    return ClientTls(credentials, session=changed).client(name, b"client's", random.Random(1))


def test_a_session_is_not_resumed_with_a_server_that_is_not_trusted_any_more(tls: Any) -> None:
    credentials = tls.credentials("p256")
    server = ServerTls(credentials, tickets=1)
    session = Connection(tls, GnuTlsClient(credentials), server).session
    client = GnuTlsClient(Pinned(tls.credentials("p384").certificates), session=session)
    assert Connection(tls, client, server).alerts[0] == [48]


def test_a_client_that_wants_no_tickets_keeps_none(tls: Any) -> None:
    credentials = tls.credentials("p256")
    connection = Connection(tls, GnuTlsClient(credentials, tickets=False), ServerTls(credentials, tickets=1))
    check(connection)
    assert of(connection.at_client, SessionTicket, "blob") == []


def test_a_session_that_is_too_old_is_not_offered(tls: Any) -> None:
    credentials = tls.credentials("p256")
    server = ServerTls(credentials, tickets=1, ticket_lifetime=10)
    session = Connection(tls, GnuTlsClient(credentials), server).session
    for seconds, resumed in ((9, True), (10, False)):
        client = GnuTlsClient(credentials, session=session)
        assert Connection(tls, client, server, now=seconds * 1_000_000_000).resumed == resumed


# 0-RTT


@pytest.mark.requirement("rfc8446:8:3")
@BOTH
def test_early_data_is_accepted_once_with_a_ticket(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    config = server(credentials, tickets=1, early_data=True)
    session = Connection(tls, client(credentials), config).session
    first = Connection(tls, client(credentials, session=session, early_data=True), config)
    check(first)
    assert first.early_data == ([True], [True])
    assert RememberedParameters(b"server's", "quicsim") in first.at_client
    assert EARLY in {level for level, *_ in secrets(first.at_client, 1)}
    second = Connection(tls, client(credentials, session=session, early_data=True), config)
    assert second.early_data == ([False], [False])
    assert second.resumed
    assert EARLY not in {level for level, *_ in secrets(second.at_server, 0)}


def test_early_data_needs_a_ticket_that_allows_it(tls: Any) -> None:
    credentials = tls.credentials("p256")
    server = ServerTls(credentials, tickets=1)
    session = Connection(tls, GnuTlsClient(credentials), server).session
    connection = Connection(tls, GnuTlsClient(credentials, session=session, early_data=True), server)
    assert connection.resumed
    assert connection.early_data == ([], [])
    assert EARLY not in {level for level, *_ in secrets(connection.at_client, 1)}


@pytest.mark.parametrize("client", [ClientTls, GnuTlsClient])
def test_early_data_is_refused_when_the_transport_says_so(tls: Any, client: Any) -> None:
    credentials = tls.credentials("p256")
    config = GnuTlsServer(credentials, tickets=1, early_data=True)
    session = Connection(tls, client(credentials), config).session
    asked = []

    def refuse(then: bytes, now: bytes) -> bool:
        asked.append((then, now))
        return False

    connection = Connection(
        tls, client(credentials, session=session, early_data=True), config, check=refuse, parameters=b"lower"
    )
    assert asked == [(b"server's", b"lower")]
    assert connection.early_data == ([False], [False])
    assert connection.resumed


@pytest.mark.parametrize("server", [ServerTls, GnuTlsServer])
def test_after_early_data_a_retry_of_the_server_is_one_too_many_for_gnutls(tls: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    key = bytes(32)
    issuing = server(credentials, tickets=1, early_data=True, ticket_key=key)
    session = Connection(tls, GnuTlsClient(credentials), issuing).session
    other = server(credentials, groups=(P384,), early_data=True, ticket_key=key)
    connection = Connection(tls, GnuTlsClient(credentials, session=session, early_data=True), other)
    assert connection.alerts == ([80], [])
    # With a share of the group that the server wants there is none: GnuTLS then sends as many as it can
    other = server(credentials, groups=(P256,), early_data=True, ticket_key=key)
    check(Connection(tls, GnuTlsClient(credentials, session=session), other))
    fitting = GnuTlsClient(credentials, session=session, early_data=True)
    assert Connection(tls, fitting, other).alerts == ([], [])


def test_a_register_of_issued_tickets_keeps_the_newest() -> None:
    register = TicketRegister(bytes(32))
    for number in range(MAX_EARLY_TICKETS + 1):
        register.issue(number.to_bytes(4), Issued(0x1301, "quicsim", None, b"", b""))
    assert register.take((0).to_bytes(4)) is None
    assert register.take((1).to_bytes(4)) is not None
    assert register.take((1).to_bytes(4)) is None


# Client certificates and external keys


@BOTH
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_clients_show_certificates(tls: Any, client: Any, server: Any, kind: str) -> None:
    credentials, mine = tls.credentials("p256"), tls.credentials(kind)
    config = server(credentials, client_auth="require", client_trust=Pinned(mine.certificates), tickets=1)
    first = Connection(tls, client(credentials, credentials=mine), config)
    check(first)
    again = Connection(tls, client(credentials, session=first.session), config)
    check(again)
    assert again.resumed
    for connection in (first, again):
        assert of(connection.at_server, Completed, "peer_certificates") == [mine.certificates]


@BOTH
def test_clients_without_a_certificate_are_taken_or_refused(tls: Any, client: Any, server: Any) -> None:
    credentials, trust = tls.credentials("p256"), Pinned(tls.credentials("p384").certificates)
    for client_auth, alert in (("request", []), ("require", [116])):
        config = server(credentials, client_auth=client_auth, client_trust=trust)
        assert Connection(tls, client(credentials), config).alerts == ([], alert)
        wrong = client(credentials, credentials=tls.credentials("p521"))
        assert Connection(tls, wrong, config).alerts == ([], [48])


def test_a_session_without_certificate_is_not_resumed_where_one_is_required(tls: Any) -> None:
    credentials, mine = tls.credentials("p256"), tls.credentials("p384")
    fields = {"client_trust": Pinned(mine.certificates), "ticket_key": bytes(32)}
    asking = GnuTlsServer(credentials, client_auth="request", tickets=1, **fields)
    session = Connection(tls, ClientTls(credentials), asking).session
    demanding = GnuTlsServer(credentials, client_auth="require", **fields)
    client = ClientTls(credentials, session=session, credentials=mine)
    connection = Connection(tls, client, demanding)
    check(connection)
    assert not connection.resumed
    # Nor one with a certificate that is not good any more
    session = Connection(tls, ClientTls(credentials, credentials=mine), asking).session
    stricter = GnuTlsServer(
        credentials, client_auth="request", client_trust=Pinned(credentials.certificates), ticket_key=bytes(32)
    )
    assert Connection(tls, ClientTls(credentials, session=session), stricter).alerts == ([], [48])


@BOTH
@pytest.mark.parametrize("modes", [(PSK_DHE_KE,), (PSK_KE,), (PSK_DHE_KE, PSK_KE)])
def test_external_keys_prove_both_ends(tls: Any, client: Any, server: Any, modes: tuple[int, ...]) -> None:
    psks = (ExternalPsk(b"with a \x00 inside", bytes(range(32))),)
    nobody = Pinned(tls.credentials("p384").certificates)
    connection = Connection(
        tls, client(nobody, psks=psks, psk_modes=modes), server(tls.credentials("p256"), psks=psks, psk_modes=modes)
    )
    check(connection)
    assert not connection.resumed
    assert of(connection.at_client, Completed, "peer_certificates") == [()]


@BOTH
def test_an_unknown_external_key_leaves_the_certificate(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    mine, theirs = ((ExternalPsk(name, bytes(32)),) for name in (b"mine", b"theirs"))
    connection = Connection(tls, client(credentials, psks=mine), server(credentials, psks=theirs))
    check(connection)
    assert of(connection.at_client, Completed, "peer_certificates") == [credentials.certificates]


@BOTH
def test_a_wrong_external_key_fails(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    mine, theirs = ((ExternalPsk(b"name", key),) for key in (bytes(32), bytes(range(32))))
    connection = Connection(tls, client(credentials, psks=mine), server(credentials, psks=theirs))
    assert connection.alerts == ([], [51 if server is ServerTls else 47])


def test_of_several_keys_a_server_by_gnutls_looks_at_the_first(tls: Any) -> None:
    credentials = tls.credentials("p256")
    unknown, known = ExternalPsk(b"unknown", bytes(32)), ExternalPsk(b"known", bytes(32))
    config = GnuTlsServer(credentials, psks=(known,))
    for offered, shown in (((known, unknown), ()), ((unknown, known), credentials.certificates)):
        connection = Connection(tls, ClientTls(credentials, psks=offered), config)
        check(connection)
        assert of(connection.at_client, Completed, "peer_certificates") == [shown]


# What is refused


def authorities(tls: Any, **leaf: Any) -> tuple[Credentials, Authorities]:
    """A leaf by an authority, and trust in that."""
    root_key, key = tls.key("p384"), tls.key("p256")
    root = tls.certificate(root_key, authority=True)
    certificate = tls.certificate(key, (root_key, root), **leaf)
    credentials = Credentials((certificate.public_bytes(Encoding.DER),), key)
    return credentials, Authorities((root.public_bytes(Encoding.DER),), tls.now)


def test_a_client_verifies_name_authority_and_dates(tls: Any) -> None:
    good, trust = authorities(tls)
    check(Connection(tls, GnuTlsClient(trust), ServerTls(good)))
    wrong_name, _ = authorities(tls, names=("other.test",))
    expired, _ = authorities(tls, end=tls.now - timedelta(days=1))
    unknown = tls.credentials("other")
    for credentials, alert in ((wrong_name, 42), (expired, 45), (unknown, 48)):
        connection = Connection(tls, GnuTlsClient(trust), ServerTls(credentials))
        assert connection.alerts == ([alert], [])
        assert of(connection.at_client, Completed, "peer_certificates") == []


@pytest.mark.requirement("rfc9001:8.1:3")
@pytest.mark.requirement("rfc9001:8.1:6")
def test_without_a_protocol_in_common_the_alert_is_120(tls: Any) -> None:
    credentials = tls.credentials("p256")
    connection = Connection(tls, ClientTls(credentials, alpn=("other",)), GnuTlsServer(credentials))
    assert connection.alerts == ([], [120])
    server = GnuTlsServer(credentials).server(b"", random.Random(1))
    server.feed(INITIAL, tls.client_hello({extensions.ALPN: None}), 0)
    assert tls.alerts(tls.drain(server)) == [120]
    client = GnuTlsClient(credentials).client("localhost", b"", random.Random(1))
    rogue = tls.rogue_server(credentials, encrypted={extensions.ALPN: None})
    assert tls.alerts(rogue.talk_to(client)) == [120]


@pytest.mark.requirement("rfc9001:8.2:1")
def test_without_transport_parameters_the_alert_is_109(tls: Any) -> None:
    credentials = tls.credentials("p256")
    server = GnuTlsServer(credentials).server(b"", random.Random(1))
    server.feed(INITIAL, tls.client_hello({extensions.QUIC_TRANSPORT_PARAMETERS: None}), 0)
    assert tls.alerts(tls.drain(server)) == [109]
    client = GnuTlsClient(credentials).client("localhost", b"", random.Random(1))
    rogue = tls.rogue_server(credentials, encrypted={extensions.QUIC_TRANSPORT_PARAMETERS: None})
    assert tls.alerts(rogue.talk_to(client)) == [109]


@pytest.mark.requirement("rfc9001:6:3")
@BOTH
def test_key_update_is_an_unexpected_message(tls: Any, client: Any, server: Any) -> None:
    credentials = tls.credentials("p256")
    connection = Connection(tls, client(credentials), server(credentials))
    for engine in (connection.client, connection.server):
        engine.feed(APPLICATION, KEY_UPDATE, 0)
        (event,) = tls.drain(engine)
        assert (event.description, event.protocol_violation) == (10, False)
        with pytest.raises(QuicError, match="only when the handshake is complete"):
            engine.export_keying_material(b"label", b"", 16)


@pytest.mark.parametrize(
    ("change", "alert"),
    [
        ({"finished": messages.encode_finished(bytes(32))}, 51),
        ({"scheme": 0x0804}, 47),
        ({"certificate": messages.encode_certificate((b"nonsense",))}, 42),
        ({"encrypted": {99: b""}}, 110),
        ({"encrypted": {extensions.EARLY_DATA: b""}}, 110),
    ],
)
def test_a_client_sees_through_a_rogue_server(tls: Any, change: dict[str, Any], alert: int) -> None:
    credentials = tls.credentials("p256")
    client = GnuTlsClient(credentials).client("localhost", b"", random.Random(1))
    events = tls.rogue_server(credentials, **change).talk_to(client)
    assert tls.alerts(events) == [alert]
    assert of(events, Completed, "peer_certificates") == []


@pytest.mark.parametrize("seed", range(4))
@BOTH
def test_any_change_of_a_byte_fails_with_an_alert_at_one_end(tls: Any, client: Any, server: Any, seed: int) -> None:
    rng = random.Random(seed)
    credentials = tls.credentials("p256")
    mine = tls.credentials("p384")
    factories = (
        client(credentials, credentials=mine),
        server(credentials, client_auth="require", client_trust=Pinned(mine.certificates)),
    )
    for target in range(12):
        count = 0

        def change(data: bytes, target: int = target) -> bytes:
            nonlocal count
            count += 1
            if count != target % 3 + 1:
                return data
            position = rng.randrange(len(data))
            return data[:position] + bytes((data[position] ^ 1 << rng.randrange(8),)) + data[position + 1 :]

        at_client, at_server = exchange_changed(tls, *factories, change)
        done = [bool(of(events, Completed, "peer_certificates")) for events in (at_client, at_server)]
        assert done != [True, True]


def exchange_changed(
    tls: Any, client: Any, server: Any, change: Callable[[bytes], bytes]
) -> tuple[list[Event], list[Event]]:
    ends = client.client("localhost", b"client's", random.Random(1)), server.server(b"server's", random.Random(2))
    ends[0].start(0)
    seen: tuple[list[Event], list[Event]] = ([], [])
    moved = True
    while moved:
        moved = False
        for index, end in enumerate(ends):
            for event in tls.drain(end):
                seen[index].append(event)
                if isinstance(event, HandshakeBytes):
                    moved = True
                    ends[1 - index].feed(event.level, change(event.data), 0)
    return seen


def test_engines_may_be_closed_at_any_time(tls: Any) -> None:
    credentials = tls.credentials("p256")
    for started in (False, True):
        client = GnuTlsClient(credentials).client("localhost", b"", random.Random(1))
        if started:
            client.start(0)
        client.close()
        client.close()
        client.feed(INITIAL, b"\x02\x00\x00\x00", 0)
        assert client.next_event() is None


def test_what_the_transport_raises_passes_through_and_ends_the_engine(tls: Any) -> None:
    def fail(peer: bytes) -> bytes:
        raise ZeroDivisionError

    server = GnuTlsServer(tls.credentials("p256")).server(fail, random.Random(1))
    with pytest.raises(ZeroDivisionError):
        server.feed(INITIAL, tls.client_hello(), 0)
    tls.drain(server)
    server.feed(INITIAL, tls.client_hello(), 0)
    assert server.next_event() is None
