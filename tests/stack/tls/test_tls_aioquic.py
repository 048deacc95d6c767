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
    HANDSHAKE,
    INITIAL,
    READ,
    WRITE,
    Completed,
    HandshakeBytes,
    NewSecret,
)
from stack.tls.groups import P256, X25519

EPOCHS = {INITIAL: peer.Epoch.INITIAL, HANDSHAKE: peer.Epoch.HANDSHAKE, APPLICATION: peer.Epoch.ONE_RTT}
LEVELS = {epoch: level for level, epoch in EPOCHS.items()}


class Peer:
    """aioquic's side: bytes in, bytes out, secrets by level and direction."""

    def __init__(self, is_client: bool, credentials: Any, suite: int) -> None:
        suites = [peer.CipherSuite(suite)]
        self.context = peer.Context(is_client, ["quicsim"], cipher_suites=suites, verify_mode=0)
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
