"""What TLS lets pass and QUIC forbids: the Alert tells the transport to close with PROTOCOL_VIOLATION."""

import random
from typing import Any

import pytest

from stack.errors import PROTOCOL_VIOLATION
from stack.events import ConnectionEnded
from stack.tls import messages
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, EARLY, HANDSHAKE, INITIAL, Alert, HandshakeBytes
from stack.wire.frames import encode_crypto_header
from tests.support.pair import Pair

CERTIFICATE_REQUEST = messages.encode_message(13, b"\x00\x00\x00")


def engines(tls: Any) -> tuple[Any, Any]:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    return client, ServerTls(credentials).server(b"server", random.Random(2))


def violations(events: list[object]) -> list[bool]:
    return [event.protocol_violation for event in events if isinstance(event, Alert)]


@pytest.mark.requirement("rfc9001:8.4:2")
def test_a_session_id_in_the_client_hello(tls: Any) -> None:
    client, server = engines(tls)
    client.start(0)
    hello = client.next_event().data
    after_random = 4 + 2 + 32  # message header, version, random; then the length of the session id
    body = hello[4:after_random] + b"\x20" + bytes(32) + hello[after_random + 1 :]
    server.feed(INITIAL, messages.encode_message(1, body), 0)
    assert violations(tls.drain(server)) == [True]


@pytest.mark.requirement("rfc9001:4.1.3:3")
def test_bytes_left_over_at_a_level_that_is_done(tls: Any) -> None:
    client, server = engines(tls)
    client_events, _ = tls.exchange(client, server, tamper=lambda level, data: data + b"\x04" * (level > 0))
    assert violations(client_events) == [True]


@pytest.mark.requirement("rfc9001:4.1.3:1")
@pytest.mark.requirement("rfc9001:4.1.3:2")
def test_new_bytes_at_a_level_that_came_before(tls: Any) -> None:
    for received, late, violation in ((True, INITIAL, True), (False, HANDSHAKE, False)):
        client, server = engines(tls)
        client.start(0)
        server.feed(INITIAL, client.next_event().data, 0)
        hello = next(event for event in tls.drain(server) if isinstance(event, HandshakeBytes))
        client.feed(INITIAL, hello.data if received else hello.data[:10], 0)
        client.feed(late, b"\x04", 0)
        found = [event for event in tls.drain(client) if isinstance(event, Alert)]
        assert [(event.description, event.protocol_violation) for event in found] == [(10, violation)]


@pytest.mark.requirement("rfc9001:4.1.3:1")
@pytest.mark.requirement("rfc9001:4.1.3:2")
@pytest.mark.parametrize("level", [INITIAL, EARLY, HANDSHAKE])
def test_new_bytes_of_a_client_below_the_level_of_its_tickets(tls: Any, level: int) -> None:
    client, server = engines(tls)
    tls.exchange(client, server)
    for engine in (client, server):
        engine.feed(level, b"\x04", 0)
        assert violations(tls.drain(engine)) == [True]


@pytest.mark.requirement("rfc9001:4.4:5")
def test_a_certificate_request_after_the_handshake(tls: Any) -> None:
    client, server = engines(tls)
    tls.exchange(client, server)
    client.feed(APPLICATION, CERTIFICATE_REQUEST, 0)
    assert violations(tls.drain(client)) == [True]


@pytest.mark.requirement("rfc9001:4.4:5")
def test_the_connection_closes_with_protocol_violation() -> None:
    pair = Pair()
    _, server = pair.established()
    pair.inject(server, encode_crypto_header(0, len(CERTIFICATE_REQUEST)) + CERTIFICATE_REQUEST)
    ended = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert [(event.code, event.remote) for event in ended] == [(PROTOCOL_VIOLATION, False)]
