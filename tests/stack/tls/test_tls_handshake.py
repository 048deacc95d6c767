"""Handshakes that succeed."""

import random
from typing import Any

import pytest

from stack.errors import QuicError
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import (
    APPLICATION,
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Completed,
    Event,
    HandshakeBytes,
    HandshakeInfo,
    KeyLog,
    NewSecret,
    PeerTransportParameters,
    SessionTicket,
)
from stack.tls.extensions import SUPPORTED_VERSIONS
from stack.tls.groups import P256, X25519
from stack.tls.hello import parse_client_hello
from stack.tls.schedule import SUITES

KINDS = ("p256", "p384", "p521", "ed25519", "rsa")


def run(tls: Any, seed: int = 1, size: int = 1 << 20, kind: str = "p256", **fields: Any) -> tuple[list[Event], ...]:
    credentials = tls.credentials(kind)
    client = ClientTls(credentials, **fields).client("localhost", b"client", random.Random(seed))
    server = ServerTls(credentials, deterministic=True).server(b"server", random.Random(seed + 1))
    events: tuple[list[Event], ...] = tls.exchange(client, server, size)
    return events


def secrets(events: list[Event]) -> dict[tuple[int, int], bytes]:
    return {(event.level, event.direction): event.secret for event in events if isinstance(event, NewSecret)}


def check(client: list[Event], server: list[Event]) -> None:
    """Both ends have the same secrets and know each other's parameters."""
    mine, theirs = secrets(client), secrets(server)
    for level in (HANDSHAKE, APPLICATION):
        assert mine[level, READ] == theirs[level, WRITE]
        assert mine[level, WRITE] == theirs[level, READ]
    assert PeerTransportParameters(b"server") in client
    assert PeerTransportParameters(b"client") in server
    assert HandshakeInfo("quicsim", "localhost", resumed=False) in client
    assert HandshakeInfo("quicsim", "localhost", resumed=False) in server
    assert isinstance(client[-1], Completed)
    assert server[-1] == Completed()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", [X25519, P256])
@pytest.mark.parametrize("kind", KINDS)
def test_every_suite_group_and_key_completes(tls: Any, suite: int, group: int, kind: str) -> None:
    client, server = run(tls, kind=kind, suites=(suite,), groups=(group,))
    check(client, server)
    assert {event.suite for event in client if isinstance(event, NewSecret)} == {suite}
    assert client[-1] == Completed(tls.credentials(kind).certificates)


@pytest.mark.parametrize(("kind", "scheme"), [("rsa", 0x0805), ("rsa", 0x0806)])
def test_the_larger_pss_hashes_are_used_when_only_they_are_offered(tls: Any, kind: str, scheme: int) -> None:
    check(*run(tls, kind=kind, signatures=(scheme,)))


def test_a_random_pss_salt_is_accepted(tls: Any) -> None:
    credentials = tls.credentials("rsa")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    check(*tls.exchange(client, ServerTls(credentials).server(b"server", random.Random(2))))


def kinds(events: list[Event]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, HandshakeBytes):
            found.append((HandshakeBytes, event.level))
        elif isinstance(event, NewSecret):
            found.append((NewSecret, event.level, event.direction))
        elif not isinstance(event, KeyLog):
            found.append((type(event),))
    return found


def test_events_come_in_the_order_the_transport_needs(tls: Any) -> None:
    client, server = run(tls)
    assert kinds(server) == [
        (PeerTransportParameters,),
        (HandshakeInfo,),
        (HandshakeBytes, INITIAL),
        (NewSecret, HANDSHAKE, WRITE),
        (NewSecret, HANDSHAKE, READ),
        (HandshakeBytes, HANDSHAKE),
        (NewSecret, APPLICATION, WRITE),
        (NewSecret, APPLICATION, READ),
        (Completed,),
    ]
    assert kinds(client) == [
        (HandshakeBytes, INITIAL),
        (NewSecret, HANDSHAKE, WRITE),
        (NewSecret, HANDSHAKE, READ),
        (PeerTransportParameters,),
        (HandshakeBytes, HANDSHAKE),
        (NewSecret, APPLICATION, WRITE),
        (NewSecret, APPLICATION, READ),
        (HandshakeInfo,),
        (Completed,),
    ]


@pytest.mark.requirement("rfc9001:5.7:2")
def test_the_server_reads_application_data_only_after_the_clients_finished(tls: Any) -> None:
    credentials = tls.credentials("p256")
    server = ServerTls(credentials).server(b"server", random.Random(1))
    server.feed(INITIAL, tls.client_hello(), 0)
    found = secrets(tls.drain(server))
    assert (APPLICATION, WRITE) in found
    assert (APPLICATION, READ) not in found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(tls: Any, kind: str) -> None:
    assert run(tls, seed=3, kind=kind) == run(tls, seed=3, kind=kind)
    assert run(tls, seed=3, kind=kind)[0][0] != run(tls, seed=4, kind=kind)[0][0]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_may_be_split_anywhere(tls: Any, size: int) -> None:
    assert run(tls, size=size) == run(tls)


def test_both_ends_log_the_same_secrets(tls: Any) -> None:
    logs = [[event for event in events if isinstance(event, KeyLog)] for events in run(tls)]
    assert sorted(logs[0], key=str) == sorted(logs[1], key=str)
    assert {event.label for event in logs[0]} == {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    }


def test_both_ends_export_the_same_keying_material_until_closed(tls: Any) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    server = ServerTls(credentials).server(b"server", random.Random(2))
    with pytest.raises(QuicError, match="complete"):
        client.export_keying_material(b"label", b"", 32)
    tls.exchange(client, server)
    material = client.export_keying_material(b"label", b"context", 80)
    assert len(material) == 80
    assert material == server.export_keying_material(b"label", b"context", 80)
    assert material != client.export_keying_material(b"label", b"other", 80)
    with pytest.raises(QuicError, match="249"):
        client.export_keying_material(bytes(250), b"", 32)
    client.close()
    with pytest.raises(QuicError, match="complete"):
        client.export_keying_material(b"label", b"context", 80)


def test_the_servers_parameters_may_depend_on_the_clients(tls: Any) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", lambda peer: b"client" + peer, random.Random(1))
    server = ServerTls(credentials).server(lambda peer: b"for " + peer, random.Random(2))
    events, _ = tls.exchange(client, server)
    assert PeerTransportParameters(b"for client") in events


def test_an_exception_of_the_parameters_callable_passes_through(tls: Any) -> None:
    def refuse(peer: bytes) -> bytes:
        raise RuntimeError(peer)

    server = ServerTls(tls.credentials("p256")).server(refuse, random.Random(2))
    with pytest.raises(RuntimeError, match="client"):
        server.feed(INITIAL, tls.client_hello(), 0)
    tls.drain(server)
    server.feed(INITIAL, tls.client_hello(), 0)
    assert tls.drain(server) == []


def test_the_server_prefers_its_own_order(tls: Any) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials, alpn=("a", "b"), groups=(X25519, P256), key_shares=2)
    server = ServerTls(credentials, alpn=("b", "a"), suites=(0x1303, 0x1301), groups=(P256, X25519))
    events, _ = tls.exchange(client.client("localhost", b"", random.Random(1)), server.server(b"", random.Random(2)))
    assert HandshakeInfo("b", "localhost", resumed=False) in events
    assert {event.suite for event in events if isinstance(event, NewSecret)} == {0x1303}


@pytest.mark.parametrize("name", [None, "192.0.2.1", "::1"])
def test_an_address_is_not_sent_as_server_name(tls: Any, name: str | None) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client(name, b"", random.Random(1))
    _, events = tls.exchange(client, ServerTls(credentials).server(b"", random.Random(2)))
    assert HandshakeInfo("quicsim", None, resumed=False) in events


def test_unknown_numbers_and_extensions_of_the_client_are_ignored(tls: Any) -> None:
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    hello = tls.client_hello({0x0A0A: b"grease", 43: b"\x04\x0a\x0a\x03\x04"}, suites=b"\x0a\x0a\x13\x01")
    server.feed(INITIAL, hello, 0)
    assert tls.alerts(tls.drain(server)) == []


@pytest.mark.requirement("rfc8446:4.6.1:14")
@pytest.mark.requirement("rfc8446:9.3:6")
@pytest.mark.parametrize("wanted", [True, False])
def test_unknown_extensions_of_a_ticket_are_ignored(tls: Any, wanted: bool) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials, tickets=wanted).client("localhost", b"client", random.Random(1))
    tls.exchange(client, ServerTls(credentials).server(b"server", random.Random(2)))
    client.feed(APPLICATION, bytes.fromhex("04000016 00000e10 00000000 0100 0002abcd 0006 fafa0002 0000"), 0)
    assert [type(event) for event in tls.drain(client)] == ([SessionTicket] if wanted else [])


@pytest.mark.requirement("rfc9001:4.2:1")
@pytest.mark.requirement("rfc9001:8.1:1")
@pytest.mark.requirement("rfc9001:8.4:1")
@pytest.mark.requirement("rfc8446:4.2.3:2")
def test_what_every_client_hello_has(tls: Any) -> None:
    client, _ = run(tls)
    hello = client[0]
    assert isinstance(hello, HandshakeBytes)
    assert hello.data[4 + 2 + 32] == 0  # no legacy_session_id
    parsed = parse_client_hello(hello.data[4:])
    assert parsed.extensions[SUPPORTED_VERSIONS] == b"\x02\x03\x04"
    assert parsed.alpn == (b"quicsim",)
    assert parsed.signatures
