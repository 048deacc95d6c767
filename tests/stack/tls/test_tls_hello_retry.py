"""HelloRetryRequest, in both roles."""

import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key

from quicsim.certificates import test_certificate
from stack.tls import codec, extensions, messages
from stack.tls import hello as hellos
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import (
    HANDSHAKE,
    INITIAL,
    Completed,
    Event,
    HandshakeBytes,
    HandshakeInfo,
    NewSecret,
    PeerTransportParameters,
)
from stack.tls.extensions import COOKIE, KEY_SHARE
from stack.tls.groups import GROUPS, P256, P384, X25519, EcOffer
from stack.tls.hello import HelloRetryRequest, ServerHello, parse_client_hello, parse_server_hello
from stack.tls.hello_retry import message_hash
from stack.tls.schedule import SUITES, KeySchedule
from tests.support.pair import Pair


def engines(tls: Any, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> tuple[Any, Any]:
    credentials = tls.credentials("p256")
    return (
        ClientTls(credentials, **(client or {})).client("localhost", b"client", random.Random(1)),
        ServerTls(credentials, **(server or {})).server(b"server", random.Random(2)),
    )


def initial(events: list[Event]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, HandshakeBytes) and event.level == INITIAL]


def agree(client: list[Event], server: list[Event]) -> bool:
    secrets = [
        {(event.level, event.direction == side): event.secret for event in events if isinstance(event, NewSecret)}
        for side, events in ((0, client), (1, server))
    ]
    return len(secrets[0]) == 4 and secrets[0] == secrets[1] and isinstance(client[-1], Completed)


@pytest.mark.requirement("rfc9001:4.7:1")
@pytest.mark.requirement("rfc8446:4.1.1:3")
@pytest.mark.requirement("rfc8446:4.1.2:2")
@pytest.mark.requirement("rfc8446:4.2.8:11")
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("suite", [0x1301, 0x1302])
def test_a_server_without_a_usable_share_asks_for_one(tls: Any, size: int, suite: int) -> None:
    client, server = engines(tls, {"groups": (X25519, P256, P384), "suites": (suite,)}, {"groups": (P384,)})
    client_events, server_events = tls.exchange(client, server, size)
    assert agree(client_events, server_events)
    first, second = (parse_client_hello(data[4:]) for data in initial(client_events))
    retry = parse_server_hello(initial(server_events)[0][4:], first.extensions)
    assert retry == HelloRetryRequest(suite, P384, None)
    assert list(second.key_shares or ()) == [P384]
    assert second.random == first.random
    assert {**second.extensions, KEY_SHARE: b""} == {**first.extensions, KEY_SHARE: b""}
    assert list(second.extensions) == list(first.extensions)


def test_the_transport_gets_each_event_once(tls: Any) -> None:
    client, server = engines(tls, {"groups": (X25519, P256)}, {"groups": (P256,)})
    client_events, server_events = tls.exchange(client, server)
    for events in (client_events, server_events):
        for kind in (PeerTransportParameters, HandshakeInfo, Completed):
            assert sum(isinstance(event, kind) for event in events) == 1
    kinds = [type(event) for event in server_events[:4]]
    assert kinds == [PeerTransportParameters, HandshakeBytes, HandshakeInfo, HandshakeBytes]


def test_a_server_takes_a_share_that_is_there_unless_its_order_is_enforced(tls: Any) -> None:
    for enforce, hellos_sent in ((False, 1), (True, 2)):
        client, server = engines(tls, {"groups": (X25519, P256)}, {"groups": (P256, X25519), "enforce_groups": enforce})
        client_events, server_events = tls.exchange(client, server)
        assert agree(client_events, server_events)
        assert len(initial(client_events)) == hellos_sent


def test_the_connection_is_made_with_one_more_round_trip() -> None:
    took = []
    for server in ({}, {"groups": (P384,)}):
        pair = Pair(server={"tls": ServerTls(test_certificate(), **server)})  # type: ignore[arg-type]
        connection = pair.connect()
        pair.run(lambda connection=connection: connection.handshake_confirmed)
        took.append(pair.now)
    assert took[1] - took[0] == 2 * pair.delay_ns


# A client against a server that asks for strange things


def retry(change: dict[int, bytes | None] | None = None, **fields: bytes) -> bytes:
    bodies: dict[int, bytes | None] = {43: b"\x03\x04", KEY_SHARE: P256.to_bytes(2), **(change or {})}
    block = b"".join(extensions.encode_extension(kind, body) for kind, body in bodies.items() if body is not None)
    body = fields.get("version", b"\x03\x03") + hellos.RETRY_RANDOM + codec.vector8(fields.get("session", b""))
    body += fields.get("suite", b"\x13\x01") + fields.get("compression", b"\x00") + codec.vector16(block)
    return messages.encode_message(2, body)


def started(tls: Any) -> Any:
    client, _ = engines(tls, {"groups": (X25519, P256)})
    client.start(0)
    tls.drain(client)
    return client


def case(*values: Any, id: str, rule: str | None = None) -> Any:
    return pytest.param(*values, id=id, marks=pytest.mark.requirement(rule) if rule else ())


@pytest.mark.parametrize(
    ("message", "alert"),
    [
        case(retry({KEY_SHARE: None}), 47, id="no change", rule="rfc8446:4.1.4:5"),
        case(retry({KEY_SHARE: X25519.to_bytes(2)}), 47, id="share is there", rule="rfc8446:4.2.8:10"),
        case(retry({KEY_SHARE: P384.to_bytes(2)}), 47, id="not in supported_groups", rule="rfc8446:4.2.8:10"),
        case(retry({KEY_SHARE: b"\x00"}), 50, id="short group"),
        case(retry({COOKIE: b"\x00\x00"}), 50, id="empty cookie"),
        case(retry({43: None}), 70, id="no version", rule="rfc8446:4.1.4:4"),
        case(retry({43: b"\x03\x03"}), 47, id="other version", rule="rfc8446:4.1.4:12"),
        case(retry(session=b"x"), 47, id="session"),
        case(retry(compression=b"\x01"), 47, id="compression"),
        case(retry(suite=b"\x13\x04"), 47, id="suite", rule="rfc8446:4.1.4:8"),
        case(retry({16: b""}), 47, id="misplaced", rule="rfc8446:4.2:5"),
        case(retry({0x0A0A: b""}), 110, id="unknown", rule="rfc8446:4.2:4"),
    ],
)
def test_a_client_refuses_a_bad_retry(tls: Any, message: bytes, alert: int) -> None:
    client = started(tls)
    client.feed(INITIAL, message, 0)
    assert tls.alerts(tls.drain(client)) == [alert]


@pytest.mark.requirement("rfc8446:4.2.2:2")
def test_a_client_returns_the_cookie_and_keeps_its_share_when_only_that_is_asked(tls: Any) -> None:
    client = started(tls)
    client.feed(INITIAL, retry({KEY_SHARE: None, COOKIE: codec.vector16(b"crumbs")}), 0)
    (second,) = (parse_client_hello(data[4:]) for data in initial(tls.drain(client)))
    assert second.extensions[COOKIE] == codec.vector16(b"crumbs")
    assert list(second.key_shares or ()) == [X25519]


@pytest.mark.requirement("rfc8446:4.1.4:6")
def test_a_second_retry_is_unexpected(tls: Any) -> None:
    client = started(tls)
    client.feed(INITIAL, retry(), 0)
    assert tls.alerts(tls.drain(client)) == []
    client.feed(INITIAL, retry({COOKIE: codec.vector16(b"more")}), 0)
    assert tls.alerts(tls.drain(client)) == [10]


@pytest.mark.parametrize(
    ("suite", "group"),
    [
        case(0x1302, P256, id="suite", rule="rfc8446:4.1.4:10"),
        case(0x1301, X25519, id="group", rule="rfc8446:4.2.8:15"),
    ],
)
def test_the_server_hello_must_keep_what_the_retry_said(tls: Any, suite: int, group: int) -> None:
    for good in (True, False):
        client = started(tls)
        client.feed(INITIAL, retry(), 0)
        (second,) = (parse_client_hello(data[4:]) for data in initial(tls.drain(client)))
        public, _ = GROUPS[P256].answer((second.key_shares or {})[P256], random.Random(9))
        if not good and group == X25519:
            public = bytes(range(32))
        answer = (0x1301, (P256, public)) if good else (suite, (group, public))
        client.feed(INITIAL, hellos.encode_server_hello(bytes(32), *answer), 0)
        assert tls.alerts(tls.drain(client)) == ([] if good else [47])


@pytest.mark.requirement("rfc8446:4.2.2:3")
def test_a_first_hello_has_no_cookie(tls: Any) -> None:
    client, _ = engines(tls)
    client.start(0)
    (first,) = (parse_client_hello(data[4:]) for data in initial(tls.drain(client)))
    assert COOKIE not in first.extensions


# A server against a client that does not do as it was asked

SHARE = codec.vector16(extensions.encode_key_share(P256, GROUPS[P256].offer(random.Random(3)).public))
BOTH = SHARE[2:] + extensions.encode_key_share(X25519, GROUPS[X25519].offer(random.Random(3)).public)


# A key that nobody knows, with a binder that nobody checks
PSK = {45: b"\x01\x01", 41: bytes.fromhex("0007 0001aa 00000000 0021 20") + bytes(32)}


@pytest.mark.parametrize(
    ("change", "fields", "alerts"),
    [
        case({}, {}, [], id="good"),
        case({21: bytes(9)}, {}, [], id="padding"),
        case({KEY_SHARE: b"\x00\x00"}, {}, [47], id="no share"),
        case({KEY_SHARE: codec.vector16(BOTH)}, {}, [47], id="two shares"),
        case({57: b"other"}, {}, [47], id="transport parameters"),
        case({16: extensions.encode_alpn(("quicsim", "h3"))}, {}, [47], id="ALPN"),
        case({0: extensions.encode_server_name("other")}, {}, [47], id="server name"),
        case({COOKIE: codec.vector16(b"mine")}, {}, [47], id="cookie"),
        case({42: b"", **PSK}, {}, [47], id="early data"),
        case(PSK, {}, [], id="another key"),
        case({}, {"suites": b"\x13\x01\x13\x02"}, [47], id="suites"),
    ],
)
def test_a_server_checks_the_second_hello(
    tls: Any, change: dict[int, bytes | None], fields: dict[str, bytes], alerts: list[int]
) -> None:
    groups: dict[int, bytes | None] = {10: codec.vector16(codec.numbers((X25519, P256))), 45: b"\x01\x01"}
    _, server = engines(tls, server={"groups": (P256,)})
    server.feed(INITIAL, tls.client_hello(groups), 0)
    assert tls.alerts(tls.drain(server)) == []
    server.feed(INITIAL, tls.client_hello({**groups, KEY_SHARE: SHARE, **change}, **fields), 0)
    assert tls.alerts(tls.drain(server)) == alerts


def test_a_server_waits_for_the_second_hello_at_the_initial_level(tls: Any) -> None:
    _, server = engines(tls, server={"groups": (P256,)})
    groups: dict[int, bytes | None] = {10: codec.vector16(codec.numbers((X25519, P256)))}
    server.feed(INITIAL, tls.client_hello(groups), 0)
    server.feed(HANDSHAKE, tls.client_hello({**groups, KEY_SHARE: SHARE}), 0)
    assert tls.alerts(tls.drain(server)) == [10]


def test_the_trace_of_rfc_8448_section_5(trace_of: Any) -> None:
    trace = trace_of(5)
    first, second = (trace.message("client", "ClientHello", index) for index in (0, 1))
    retry_message, hello = (trace.message("server", "ServerHello", index) for index in (0, 1))
    offered = parse_client_hello(first[4:]).extensions
    parsed = parse_server_hello(retry_message[4:], offered)
    assert isinstance(parsed, HelloRetryRequest)
    assert (parsed.suite, parsed.group) == (0x1301, P256)
    assert codec.vector16(parsed.cookie or b"") == parse_client_hello(second[4:]).extensions[COOKIE]
    answer = parse_server_hello(hello[4:], offered)
    assert isinstance(answer, ServerHello)
    assert answer.share is not None
    private = int(trace.fields("client", "create an ephemeral P-256")["private key"], 16)
    schedule = KeySchedule(SUITES[answer.suite])
    schedule.add_message(message_hash("sha256", first) + retry_message + second + hello)
    schedule.add_shared_secret(EcOffer(derive_private_key(private, SECP256R1())).accept(answer.share[1]))
    assert schedule.derive(b"c hs traffic") == trace.secret('derive secret "tls13 c hs')
    assert schedule.derive(b"s hs traffic") == trace.secret('derive secret "tls13 s hs')
