"""Handshakes with aioquic's TLS, in both roles."""

import random
from typing import Any

import pytest
from aioquic import tls as peer
from aioquic.buffer import Buffer
from cryptography.x509 import load_der_x509_certificate

from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import (
    APPLICATION,
    EARLY,
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Completed,
    EarlyData,
    HandshakeBytes,
    HandshakeInfo,
    NewSecret,
    SessionTicket,
)
from stack.tls.groups import P256, X25519

EPOCHS = {
    INITIAL: peer.Epoch.INITIAL,
    EARLY: peer.Epoch.ZERO_RTT,
    HANDSHAKE: peer.Epoch.HANDSHAKE,
    APPLICATION: peer.Epoch.ONE_RTT,
}
LEVELS = {epoch: level for level, epoch in EPOCHS.items()}


class Peer:
    """aioquic's side: bytes in, bytes out, secrets by level and direction."""

    def __init__(self, is_client: bool, credentials: Any, suite: int, tickets: dict[bytes, Any] | None = None) -> None:
        """`tickets` of a server are those that it has issued; a client's are those that it has got."""
        suites = [peer.CipherSuite(suite)]
        early_data = None if tickets is None or is_client else 0xFFFFFFFF
        self.context = peer.Context(
            is_client, ["quicsim"], cipher_suites=suites, verify_mode=0, max_early_data=early_data
        )
        if tickets is not None:
            self.context.new_session_ticket_cb = lambda ticket: tickets.update({ticket.ticket: ticket})
            self.context.get_session_ticket_cb = tickets.get
            if is_client and tickets:
                self.context.session_ticket = next(iter(tickets.values()))
        parameters = b"client" if is_client else b"server"
        self.context.handshake_extensions = [(0x39, parameters)]
        if not is_client:
            self.context.certificate = load_der_x509_certificate(credentials.certificates[0])
            self.context.certificate_private_key = credentials.private_key
        self.secrets: dict[tuple[int, int], bytes] = {}
        self.context.update_traffic_key_cb = self.remember

    def remember(self, direction: Any, epoch: Any, suite: Any, secret: bytes) -> None:
        assert suite is not None
        side = WRITE if direction is peer.Direction.ENCRYPT else READ
        self.secrets[LEVELS[epoch], side] = secret

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        buffers = {epoch: Buffer(capacity=1 << 14) for epoch in LEVELS}
        self.context.handle_message(data, buffers)
        return [(LEVELS[epoch], buffer.data) for epoch, buffer in buffers.items() if buffer.data]


def talk(tls: Any, engine: Any, other: Peer, waiting: list[tuple[int, bytes]]) -> list[Any]:
    """Carry bytes between both until nobody has more to say; return the engine's events."""
    events: list[Any] = []
    while True:
        for level, data in waiting:
            engine.feed(level, data, 0)
        found = tls.drain(engine)
        events += found
        waiting = []
        for event in found:
            if isinstance(event, HandshakeBytes):
                waiting += other.feed(event.data)
        if not waiting:
            return events


def check(events: list[Any], other: Peer) -> None:
    mine = {(event.level, event.direction): event.secret for event in events if isinstance(event, NewSecret)}
    for level in (HANDSHAKE, APPLICATION):
        assert mine[level, READ] == other.secrets[level, WRITE]
        assert mine[level, WRITE] == other.secrets[level, READ]
    assert isinstance(events[-1], Completed)
    assert other.context.alpn_negotiated == "quicsim"


@pytest.mark.peer("aioquic")
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
@pytest.mark.parametrize("group", [X25519, P256])
@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa"])
def test_our_client_completes_with_aioquics_server(tls: Any, suite: int, group: int, kind: str) -> None:
    credentials = tls.credentials(kind)
    client = ClientTls(credentials, groups=(group,)).client("localhost", b"client", random.Random(1))
    other = Peer(False, credentials, suite)
    client.start(0)
    check(talk(tls, client, other, []), other)


@pytest.mark.peer("aioquic")
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa"])
def test_aioquics_client_completes_with_our_server(tls: Any, suite: int, kind: str) -> None:
    credentials = tls.credentials(kind)
    server = ServerTls(credentials, deterministic=kind == "rsa").server(b"server", random.Random(2))
    other = Peer(True, credentials, suite)
    check(talk(tls, server, other, other.feed(b"")), other)


def secrets_agree(events: list[Any], other: Peer) -> bool:
    mine = {(event.level, event.direction): event.secret for event in events if isinstance(event, NewSecret)}
    return mine == {(level, READ + WRITE - side): secret for (level, side), secret in other.secrets.items()}


def outcome(events: list[Any]) -> tuple[bool, list[bool]]:
    """Whether the session was resumed, and what is said about early data."""
    (info,) = (event for event in events if isinstance(event, HandshakeInfo))
    return info.resumed, [event.accepted for event in events if isinstance(event, EarlyData)]


@pytest.mark.peer("aioquic")
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
@pytest.mark.parametrize("early_data", [False, True])
def test_our_client_resumes_aioquics_session(tls: Any, suite: int, early_data: bool) -> None:
    credentials = tls.credentials("p256")
    tickets: dict[bytes, Any] = {}
    client = ClientTls(credentials).client("localhost", b"client", random.Random(1))
    client.start(0)
    events = talk(tls, client, Peer(False, credentials, suite, tickets), [])
    (ticket,) = (event for event in events if isinstance(event, SessionTicket))
    assert ticket.early_data
    config = ClientTls(credentials, session=ticket.blob, early_data=early_data)
    client = config.client("localhost", b"client", random.Random(2))
    other = Peer(False, credentials, suite, tickets)
    client.start(0)
    events = talk(tls, client, other, [])
    assert outcome(events) == (True, [True] if early_data else [])
    assert other.context.early_data_accepted is early_data
    assert secrets_agree(events, other)


@pytest.mark.peer("aioquic")
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
@pytest.mark.parametrize("early_data", [False, True])
def test_aioquics_client_resumes_our_session(tls: Any, suite: int, early_data: bool) -> None:
    credentials = tls.credentials("p256")
    config = ServerTls(credentials, tickets=1, early_data=early_data)
    tickets: dict[bytes, Any] = {}
    other = Peer(True, credentials, suite, tickets)
    server = config.server(b"server", random.Random(1))
    talk(tls, server, other, other.feed(b""))
    server.send_ticket(0)
    other.feed(tls.drain(server)[0].data)
    assert len(tickets) == 1
    other = Peer(True, credentials, suite, tickets)
    server = config.server(b"server", random.Random(2))
    events = talk(tls, server, other, other.feed(b""))
    assert outcome(events) == (True, [True] if early_data else [])
    assert other.context.early_data_accepted is early_data
    assert secrets_agree(events, other)
