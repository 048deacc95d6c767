"""Whatever bytes arrive: no exception, at most one alert, and nothing after it."""

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.tls import messages
from stack.tls.certificates import Authorities
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL, Alert, Completed, HandshakeBytes

FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LEVELS = st.integers(INITIAL, APPLICATION)


def check(events: list[Any]) -> None:
    found = [index for index, event in enumerate(events) if isinstance(event, Alert)]
    assert found in ([], [len(events) - 1])


def mutate(data: bytes, position: int, removed: int, inserted: bytes) -> bytes:
    start = position % (len(data) + 1)
    return data[:start] + inserted + data[start + removed :]


@FUZZ
@given(feeds=st.lists(st.tuples(LEVELS, st.binary(max_size=80))))
def test_a_server_survives_any_bytes(tls: Any, feeds: list[tuple[int, bytes]]) -> None:
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    for level, data in feeds:
        server.feed(level, data, 0)
    check(tls.drain(server))


@FUZZ
@given(
    position=st.integers(0, 500),
    removed=st.integers(0, 40),
    inserted=st.binary(max_size=40),
    fix=st.booleans(),
)
def test_a_server_survives_any_changed_client_hello(
    tls: Any, position: int, removed: int, inserted: bytes, fix: bool
) -> None:
    hello = mutate(tls.client_hello(), position, removed, inserted)
    if fix:  # a right length in the header gets the rest parsed
        hello = b"\x01" + (max(0, len(hello) - 4)).to_bytes(3) + hello[4:]
    server = ServerTls(tls.credentials("p256")).server(b"server", random.Random(1))
    server.feed(INITIAL, hello, 0)
    check(tls.drain(server))


@FUZZ
@given(level=LEVELS, kind=st.integers(0, 255), body=st.binary(max_size=200), stage=st.integers(0, 4))
def test_a_client_survives_any_message_at_any_stage(tls: Any, level: int, kind: int, body: bytes, stage: int) -> None:
    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    client.start(0)
    events = tls.drain(client)
    for good_level, message in tls.rogue_server(credentials).answer(events[0].data)[:stage]:
        client.feed(good_level, message, 0)
    client.feed(level, bytes((kind,)) + len(body).to_bytes(3) + body, 0)
    check(events + tls.drain(client))


@FUZZ
@given(position=st.integers(0, 900), removed=st.integers(0, 4), inserted=st.binary(max_size=4))
def test_a_client_completes_only_with_the_servers_own_bytes(
    tls: Any, position: int, removed: int, inserted: bytes
) -> None:
    changed = False

    def tamper(level: int, data: bytes) -> bytes:
        nonlocal changed
        result = mutate(data, position, removed, inserted) if level == HANDSHAKE else data
        changed |= result != data
        return result

    credentials = tls.credentials("p256")
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    server = ServerTls(credentials).server(b"server", random.Random(2))
    client_events, server_events = tls.exchange(client, server, tamper=tamper)
    check(client_events)
    check(server_events)
    assert any(isinstance(event, Completed) for event in client_events) != changed


@FUZZ
@given(der=st.binary(max_size=60), position=st.integers(0, 500), removed=st.integers(0, 3))
def test_a_client_survives_any_certificate(tls: Any, der: bytes, position: int, removed: int) -> None:
    credentials = tls.credentials("p256")
    leaf = mutate(credentials.certificates[0], position, removed, der)
    trust = Authorities(credentials.certificates, tls.now)
    client = ClientTls(trust).client("localhost", b"client", random.Random(1))
    events = tls.rogue_server(credentials, certificate=messages.encode_certificate((leaf or b"?",))).talk_to(client)
    assert isinstance(events[0], HandshakeBytes)
    check(events)
