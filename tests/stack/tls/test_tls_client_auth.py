"""Certificates of clients, in the handshake."""

import random
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from stack.errors import ConfigError
from stack.events import ConnectionEnded, HandshakeCompleted
from stack.tls import codec, extensions, messages
from stack.tls.certificates import Authorities, Credentials, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL, Alert, Completed, Event, HandshakeBytes, HandshakeInfo
from stack.tls.groups import GROUPS, X25519
from stack.tls.hello import ServerHello, parse_server_hello
from stack.tls.psk import ExternalPsk
from stack.tls.schedule import KeySchedule
from stack.tls.signatures import SCHEMES, client_content, schemes_for, server_content, sign
from tests.support.pair import Pair

KINDS = ("p256", "p384", "p521", "ed25519", "rsa")


def pinned(tls: Any, kind: str) -> Pinned:
    return Pinned(tls.credentials(kind).certificates)


def server_config(tls: Any, client_auth: str = "require", trusted: str = "p384", **fields: Any) -> ServerTls:
    trust = fields.pop("client_trust", None) or (pinned(tls, trusted) if client_auth != "none" else None)
    return ServerTls(tls.credentials("p256"), client_auth=client_auth, client_trust=trust, **fields)


def run(
    tls: Any, config: ServerTls, credentials: Credentials | None, size: int = 1 << 20, **fields: Any
) -> tuple[list[Event], list[Event]]:
    client = ClientTls(tls.credentials("p256"), credentials=credentials, **fields)
    events: tuple[list[Event], list[Event]] = tls.exchange(
        client.client("localhost", b"client", random.Random(1)), config.server(b"server", random.Random(2)), size
    )
    return events


@pytest.mark.requirement("rfc8446:4.3.2:1")
@pytest.mark.requirement("rfc8446:4.4.3:2")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_a_client_proves_itself_with_every_kind_of_key(tls: Any, kind: str, size: int) -> None:
    credentials = tls.credentials(kind)
    client, server = run(tls, server_config(tls, trusted=kind), credentials, size)
    assert isinstance(client[-1], Completed)
    assert server[-1] == Completed(credentials.certificates)


def test_a_seeded_run_is_exact_with_an_rsa_client(tls: Any) -> None:
    config = server_config(tls, trusted="rsa")
    runs = [run(tls, config, tls.credentials("rsa"), deterministic=exact) for exact in (True, True, False, False)]
    assert runs[0] == runs[1]
    assert runs[2] != runs[3]


@pytest.mark.requirement("rfc8446:4.4.2:3")
@pytest.mark.requirement("rfc8446:4.4.2.4:2")
@pytest.mark.parametrize(("client_auth", "alerts"), [("request", []), ("require", [116])])
def test_a_client_without_a_certificate(tls: Any, client_auth: str, alerts: list[int]) -> None:
    client, server = run(tls, server_config(tls, client_auth), None)
    assert tls.alerts(server) == alerts
    assert isinstance(client[-1], Completed)  # it can't know better
    if not alerts:
        assert server[-1] == Completed(())


@pytest.mark.requirement("rfc8446:4.4.2:2")
def test_a_client_that_nobody_asks_shows_no_certificate(tls: Any) -> None:
    with_key = run(tls, server_config(tls, "none"), tls.credentials("p384"))
    without = run(tls, server_config(tls, "none"), None)
    assert with_key == without
    assert with_key[1][-1] == Completed(())


@pytest.mark.parametrize("client_auth", ["request", "require"])
def test_a_certificate_that_is_not_trusted_is_refused(tls: Any, client_auth: str) -> None:
    _, server = run(tls, server_config(tls, client_auth), tls.credentials("p521"))
    assert tls.alerts(server) == [48]


def test_authorities_vouch_for_clients(tls: Any) -> None:
    root_key, key = tls.key("p384"), tls.key("other")
    root = tls.certificate(root_key, authority=True)
    trust = Authorities((root.public_bytes(Encoding.DER),), tls.now)
    config = server_config(tls, client_trust=trust)
    good = tls.certificate(key, (root_key, root), names=("client",))
    late = tls.certificate(key, (root_key, root), names=("client",), end=tls.now - timedelta(days=1))
    alone = tls.certificate(key, names=("client",))
    for certificate, alerts in ((good, []), (late, [45]), (alone, [48])):
        credentials = Credentials((certificate.public_bytes(Encoding.DER),), key)
        _, server = run(tls, config, credentials)
        assert tls.alerts(server) == alerts


@pytest.mark.requirement("rfc8446:4.3.2:8")
def test_a_pre_shared_key_makes_up_for_a_certificate(tls: Any) -> None:
    psks = (ExternalPsk(b"us", bytes(16)),)
    client, server = run(tls, server_config(tls, psks=psks), None, psks=psks)
    assert isinstance(client[-1], Completed)
    assert server[-1] == Completed(())


def test_a_resumed_session_knows_the_clients_certificate(tls: Any) -> None:
    key = bytes(32)
    credentials = tls.credentials("p384")
    issuing = server_config(tls, tickets=1, ticket_key=key)
    client = ClientTls(tls.credentials("p256"), credentials=credentials).client("localhost", b"", random.Random(1))
    server = issuing.server(b"", random.Random(2))
    tls.exchange(client, server)
    server.send_ticket(0)
    client.feed(APPLICATION, tls.drain(server)[0].data, 0)
    session = tls.drain(client)[0].blob
    for config, resumed in (
        (issuing, True),
        (server_config(tls, "request", ticket_key=key), True),
        (server_config(tls, "none", ticket_key=key), True),
        (server_config(tls, trusted="p521", ticket_key=key), False),
    ):
        _, events = run(tls, config, credentials, session=session)
        (info,) = (event for event in events if isinstance(event, HandshakeInfo))
        assert info.resumed is resumed
        if resumed:
            assert events[-1] == Completed(credentials.certificates)


def test_a_session_without_a_certificate_is_not_resumed_where_one_is_required(tls: Any) -> None:
    key = bytes(32)
    issuing = server_config(tls, "request", tickets=1, ticket_key=key)
    client = ClientTls(tls.credentials("p256")).client("localhost", b"", random.Random(1))
    server = issuing.server(b"", random.Random(2))
    tls.exchange(client, server)
    server.send_ticket(0)
    client.feed(APPLICATION, tls.drain(server)[0].data, 0)
    session = tls.drain(client)[0].blob
    _, events = run(tls, server_config(tls, ticket_key=key), None, session=session)
    assert tls.alerts(events) == [116]
    _, events = run(tls, issuing, None, session=session)
    assert HandshakeInfo("quicsim", "localhost", resumed=True) in events


# A server that asks strangely


def asked(tls: Any, request: bytes) -> list[Event]:
    """The events of a client whose server sends `request` after EncryptedExtensions."""
    client = ClientTls(tls.credentials("p256"), credentials=tls.credentials("p384"))
    engine = client.client("localhost", b"client", random.Random(1))
    server = server_config(tls, "none").server(b"server", random.Random(2))

    def insert(level: int, data: bytes) -> bytes:
        end = 4 + int.from_bytes(data[1:4])
        return data[:end] + request + data[end:] if level == HANDSHAKE else data

    events: list[Event] = tls.exchange(engine, server, tamper=insert)[0]
    return events


@pytest.mark.parametrize(
    ("body", "alert"),
    [
        (b"\x00\x00\x00", 109),
        (b"\x01a\x00\x08\x00\x0d\x00\x04\x00\x02\x04\x03", 47),
        (b"\x00\x00\x08\x00\x0d\x00\x04\x00\x02\x04\x03!", 50),
        (b"\x00\x00\x06\x00\x0d\x00\x02\x00\x00", 50),
        (b"\x00\x00\x0c\x00\x0d\x00\x04\x00\x02\x04\x03\x00\x33\x00\x00", 47),
        (b"\x00\x00\x10" + 2 * b"\x00\x0d\x00\x04\x00\x02\x04\x03", 47),
        (bytes(1 << 15), 50),
    ],
    ids=["no schemes", "context", "trailing", "empty schemes", "misplaced", "twice", "too long"],
)
def test_a_bad_certificate_request_is_refused(tls: Any, body: bytes, alert: int) -> None:
    assert tls.alerts(asked(tls, messages.encode_message(13, body))) == [alert]


def test_only_one_certificate_request_is_expected(tls: Any) -> None:
    request = messages.encode_certificate_request(tuple(SCHEMES))
    assert tls.alerts(asked(tls, request + request)) == [10]


@pytest.mark.requirement("rfc8446:4.3.2:7")
@pytest.mark.requirement("rfc8446:4.4.3:5")
@pytest.mark.parametrize(("scheme", "length"), [(0x0503, 400), (0x0403, 0), (0x0401, 0)])
def test_a_client_signs_only_with_a_scheme_of_the_request(tls: Any, scheme: int, length: int) -> None:
    # The key is on P-384; an extension that nobody knows is ignored
    rogue = tls.rogue_server(tls.credentials("p256"))
    rogue.request = messages.encode_certificate_request((scheme,), extensions.encode_extension(0x0A0A, b"grease"))
    client = ClientTls(tls.credentials("p256"), credentials=tls.credentials("p384"))
    events = rogue.talk_to(client.client("localhost", b"client", random.Random(1)))
    assert tls.alerts(events) == []
    (flight,) = (event.data for event in events if isinstance(event, HandshakeBytes) and event.level == HANDSHAKE)
    chain = messages.parse_certificate(flight[4 : 4 + int.from_bytes(flight[1:4])], ())
    assert bool(chain) == (scheme == 0x0503)
    assert len(flight) >= length


# A client that answers strangely


def answered(tls: Any, client_auth: str, make: Any) -> list[int]:
    """The alerts of a server that gets what `make(schedule)` returns instead of the client's flight."""
    server = server_config(tls, client_auth).server(b"server", random.Random(2))
    hello = tls.client_hello()
    server.feed(INITIAL, hello, 0)
    events = tls.drain(server)
    first, flight = (event.data for event in events if isinstance(event, HandshakeBytes))
    parsed = parse_server_hello(first[4:], (43, 51))
    assert isinstance(parsed, ServerHello)
    assert parsed.share is not None
    schedule = KeySchedule("sha256")
    schedule.add_message(hello + first)
    schedule.add_shared_secret(GROUPS[X25519].offer(random.Random(5)).accept(parsed.share[1]))
    secret = schedule.derive(b"c hs traffic")
    schedule.add_message(flight)
    for message in make(schedule):
        data = message if message else messages.encode_finished(schedule.verify_data(secret))
        schedule.add_message(data)
        server.feed(HANDSHAKE, data, 0)
    found: list[int] = tls.alerts(tls.drain(server))
    return found


def flight(tls: Any, schedule: KeySchedule, *, scheme: int = 0, content: Any = client_content) -> Any:
    """Yield Certificate, CertificateVerify and (empty) the place of Finished."""
    credentials = tls.credentials("p384")
    yield messages.encode_certificate(credentials.certificates)
    own = schemes_for(credentials.private_key)[0]
    yield messages.encode_certificate_verify(
        scheme or own, sign(credentials.private_key, own, content(schedule.transcript_hash()))
    )
    yield b""


def test_the_client_of_these_tests_can_behave(tls: Any) -> None:
    assert answered(tls, "require", lambda schedule: flight(tls, schedule)) == []
    assert answered(tls, "request", lambda schedule: [messages.encode_certificate(()), b""]) == []


@pytest.mark.requirement("rfc8446:4.4.3:6")
@pytest.mark.parametrize(("scheme", "alert"), [(0x0403, 47), (0x0401, 47), (0x0201, 47), (0x0807, 47)])
def test_a_scheme_that_does_not_suit_is_refused(tls: Any, scheme: int, alert: int) -> None:
    assert answered(tls, "require", lambda schedule: flight(tls, schedule, scheme=scheme)) == [alert]


@pytest.mark.requirement("rfc8446:4.4.3:10")
def test_a_signature_over_something_else_is_refused(tls: Any) -> None:
    assert answered(tls, "require", lambda schedule: flight(tls, schedule, content=server_content)) == [51]


ENTRY = codec.vector24(b"\x30\x00") + codec.vector16(extensions.encode_extension(5, b""))


@pytest.mark.parametrize(
    ("sent", "alert"),
    [
        ([b""], 10),
        ([messages.encode_certificate((b"\x30\x00",)), b""], 48),
        ([messages.encode_message(11, b"\x01a" + codec.vector24(b""))], 47),
        ([messages.encode_message(11, b"\x00" + codec.vector24(ENTRY))], 110),
        ([messages.encode_message(15, b"\x04\x03\x00\x00")], 10),
    ],
    ids=[
        "Finished at once",
        "not a certificate",
        "context",
        "extension that was not asked",
        "CertificateVerify at once",
    ],
)
@pytest.mark.requirement("rfc8446:4.4.2:7")
def test_a_bad_answer_is_refused(tls: Any, sent: list[bytes], alert: int) -> None:
    assert answered(tls, "request", lambda schedule: sent) == [alert]


def test_a_certificate_without_its_proof_is_refused(tls: Any) -> None:
    certificate = messages.encode_certificate(tls.credentials("p384").certificates)
    assert answered(tls, "request", lambda schedule: [certificate, b""]) == [10]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"client_auth": "maybe"}, "client_auth = 'maybe'"),
        ({"client_auth": "require"}, "client_trust"),
        ({"client_trust": Pinned(())}, "client_trust"),
    ],
)
def test_a_configuration_that_can_not_work_is_refused(tls: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerTls(tls.credentials("p256"), **fields)


@pytest.mark.requirement("rfc9001:4.4:2")
@pytest.mark.requirement("rfc9001:4.4:3")
def test_a_connection_whose_client_has_no_certificate_ends_with_the_alert(tls: Any) -> None:
    for credentials, alert in ((tls.credentials("p384"), None), (None, 0x0100 | 116)):
        pair = Pair(
            client={"tls": ClientTls(tls.credentials("p256"), credentials=credentials)},
            server={"tls": server_config(tls)},
        )
        pair.connect()
        pair.run_until(pair.now + 500 * 1_000_000)
        ended = [event.code for event in pair.client_events if isinstance(event, ConnectionEnded)]
        assert ended == ([] if alert is None else [alert])
        completed = [event for event in pair.server_events if isinstance(event, HandshakeCompleted)]
        shown = [event.peer_certificates for event in completed]
        assert shown == ([tls.credentials("p384").certificates] if credentials else [])


def test_an_alert_names_the_level_of_the_failing_message(tls: Any) -> None:
    _, server = run(tls, server_config(tls), None)
    assert [event.level for event in server if isinstance(event, Alert)] == [HANDSHAKE]
