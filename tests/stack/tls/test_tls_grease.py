"""Reserved values that mean nothing are sent, and ignored (RFC 8701)."""

import random
from typing import Any

import pytest

from stack.tls.certificates import Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, INITIAL, Completed, HandshakeBytes, SessionTicket
from stack.tls.extensions import KEY_SHARE, PRE_SHARED_KEY, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, parse_numbers
from stack.tls.grease import PSK_MODES, VALUES
from stack.tls.groups import P384, X25519
from stack.tls.hello import ClientHello, encode_hello_retry_request, encode_server_hello, parse_client_hello


def engines(tls: Any, seed: int = 1, client: Any = None, server: Any = None) -> tuple[Any, Any]:
    credentials = tls.credentials("p256")
    return (
        ClientTls(credentials, grease=True, **(client or {})).client("localhost", b"client", random.Random(seed)),
        ServerTls(credentials, grease=True, **(server or {})).server(b"server", random.Random(seed + 1)),
    )


def hellos(events: list[Any]) -> list[ClientHello]:
    return [
        parse_client_hello(event.data[4:])
        for event in events
        if isinstance(event, HandshakeBytes) and event.level == INITIAL
    ]


def test_the_values_are_those_of_the_rfc() -> None:
    assert [f"{value:04x}" for value in VALUES] == [f"{digit}a{digit}a" for digit in "0123456789abcdef"]
    assert PSK_MODES == (0x0B, 0x2A, 0x49, 0x68, 0x87, 0xA6, 0xC5, 0xE4)


def test_everything_that_a_client_offers_has_a_reserved_value(tls: Any) -> None:
    for seed in range(40):  # two extensions of the same type would be an error
        client, server = engines(tls, seed)
        events, _ = tls.exchange(client, server)
        assert isinstance(events[-1], Completed)
        (hello,) = hellos(events)
        kinds = list(hello.extensions)
        assert kinds[0] in VALUES
        assert kinds[-1] in VALUES
        assert kinds[0] != kinds[-1]
        assert hello.suites[0] in VALUES
        assert hello.groups is not None
        assert hello.groups[0] in VALUES
        assert list(hello.key_shares or ()) == [hello.groups[0], X25519]
        assert parse_numbers(hello.extensions[SUPPORTED_VERSIONS], "", 1)[0] in VALUES
        assert parse_numbers(hello.extensions[SIGNATURE_ALGORITHMS], "")[0] in VALUES
        assert hello.psk_modes[-1] in PSK_MODES


def test_a_retry_and_a_resumption_work_beside(tls: Any) -> None:
    client, server = engines(tls, client={"groups": (X25519, P384)}, server={"groups": (P384,), "tickets": 1})
    events, _ = tls.exchange(client, server)
    first, second = hellos(events)
    assert isinstance(events[-1], Completed)
    assert list(second.key_shares or ()) == [P384]
    assert {**first.extensions, KEY_SHARE: b""} == {**second.extensions, KEY_SHARE: b""}
    server.send_ticket(0)
    client.feed(APPLICATION, tls.drain(server)[0].data, 0)
    (ticket,) = tls.drain(client)
    assert isinstance(ticket, SessionTicket)
    client, _ = engines(tls, client={"session": ticket.blob})
    client.start(1)
    (hello,) = hellos(tls.drain(client))
    assert list(hello.extensions)[-1] == PRE_SHARED_KEY


def test_a_certificate_request_with_a_reserved_extension_is_answered(tls: Any) -> None:
    trust = Pinned(tls.credentials("p384").certificates)
    client, server = engines(
        tls,
        client={"credentials": tls.credentials("p384")},
        server={"client_auth": "require", "client_trust": trust},
    )
    _, events = tls.exchange(client, server)
    assert events[-1] == Completed(trust.certificates)


@pytest.mark.parametrize("what", ["suite", "group", "retry"])
def test_a_server_that_chooses_a_reserved_value_is_refused(tls: Any, what: str) -> None:
    client, _ = engines(tls)
    client.start(0)
    (hello,) = hellos(tls.drain(client))
    assert hello.groups is not None
    answers = {
        "suite": encode_server_hello(bytes(32), hello.suites[0], (X25519, bytes(range(32)))),
        "group": encode_server_hello(bytes(32), 0x1301, (hello.groups[0], b"\x00")),
        "retry": encode_hello_retry_request(0x1301, hello.groups[0]),
    }
    client.feed(INITIAL, answers[what], 0)
    assert tls.alerts(tls.drain(client)) == [47]
