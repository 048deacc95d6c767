"""Anti-amplification: a server and an address that it has not validated (RFC 9000 section 8.1)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.connection import Connection
from stack.wire.decoded_frames import CryptoFrame
from tests.support.pair import MS, Datagram, Pair

LONG_CHAIN = 20  # certificates: a flight far above three times 1200 bytes


def server_of(pair: Pair) -> Connection:
    assert pair.server_connection is not None
    return pair.server_connection


def check(pair: Pair, delivered: int) -> None:
    """A server that has not validated the address has sent at most three times what reached it."""
    server = pair.server_connection
    if server is None or not server.path.validated:
        assert sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server) <= 3 * delivered


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.requirement("rfc9000:14.1:6")
def test_a_server_stops_at_three_times_what_it_received() -> None:
    pair = Pair(chain=LONG_CHAIN, drop=lambda datagram: datagram.to_server and datagram.number > 0)
    pair.connect()
    pair.run_for(1000 * MS)
    sent = sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server)
    assert 3600 - 128 < sent <= 3600
    pair.run_for(20_000 * MS)
    assert sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server) == sent
    assert not server_of(pair).path.validated


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.requirement("rfc9000:8.1:3")
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32))
def test_the_limit_holds_whatever_arrives_and_whatever_is_lost(seed: int) -> None:
    """A third of the datagrams gets lost, and some junk for the same connection arrives in between."""
    rng = random.Random(seed)
    delivered = 0

    def drop(datagram: Datagram) -> bool:
        return rng.random() < 0.33

    pair = Pair(chain=LONG_CHAIN, drop=drop, client={"max_idle_timeout_ms": 0}, server={"max_idle_timeout_ms": 0})
    client = pair.connect()
    while not client.handshake_confirmed:
        assert pair.step()
        server = pair.server_connection
        if server is not None and server.closed:
            return  # so much was lost that the server has given up the handshake
        delivered = server.stats.bytes_received if server is not None else 0
        check(pair, delivered)
        if server is not None and rng.random() < 0.2:
            junk = b"\xc0\x00\x00\x00\x01\x08" + server.local_ids.first + rng.randbytes(rng.choice([5, 60, 1400]))
            pair.deliver(junk, to_server=True)
            delivered = server.stats.bytes_received
            pair.flush()
            check(pair, delivered)
    assert server_of(pair).path.validated


@pytest.mark.requirement("rfc9000:8.1:5")
@pytest.mark.requirement("rfc9000:8.1:6")
@pytest.mark.requirement("rfc9002:6.2.2.1:1")
def test_a_blocked_server_is_freed_by_the_clients_probe() -> None:
    """The server's flight is cut off by the limit and lost, so that only the client can move things on."""
    pair = Pair(chain=LONG_CHAIN, drop=lambda datagram: not datagram.to_server and datagram.number < 3)
    client = pair.connect()
    pair.run_for(500 * MS)
    assert server_of(pair).path.amplification_blocked()
    assert server_of(pair).recovery.timer.at > 1 << 60
    pair.run(lambda: client.handshake_confirmed)
    assert client.stats.pto_expired == 1
    second = next(datagram for datagram in pair.sent if datagram.to_server and datagram.number == 1)
    assert second.at == 999 * MS
    assert len(second.payload) >= 1200


@pytest.mark.requirement("rfc9002:6.2.2.1:3")
def test_a_client_with_handshake_keys_probes_with_a_handshake_packet() -> None:
    """All the client's acknowledgments get lost while the server is blocked."""
    pair = Pair(chain=LONG_CHAIN)
    pair.drop = lambda datagram: datagram.to_server and 0 < pair.now < 300 * MS
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    assert client.stats.pto_expired >= 1
    probes = [packet for packet in pair.recorder_of(client).sent if packet.at > 21 * MS]
    assert probes[0].packet_type in ("initial", "handshake")
    assert any(packet.packet_type == "handshake" for packet in probes[:3])


@pytest.mark.requirement("rfc9000:8.1:6")
def test_a_clients_probe_repeats_its_hello() -> None:
    pair = Pair(drop=lambda datagram: datagram.to_server and datagram.number == 0)
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    hellos = [
        packet.at
        for packet in pair.recorder_of(client).sent
        if packet.packet_type == "initial" and any(isinstance(frame, CryptoFrame) for frame in packet.frames)
    ]
    assert hellos[:2] == [0, 999 * MS]


def test_a_handshake_packet_validates_the_address() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    assert not server_of(pair).path.validated
    pair.run_for(11 * MS)
    assert server_of(pair).path.validated


@pytest.mark.requirement("rfc9000:10.2.1:7")
def test_a_closing_server_keeps_to_the_limit() -> None:
    pair = Pair(chain=LONG_CHAIN, drop=lambda datagram: datagram.to_server and datagram.number > 0)
    pair.connect()
    pair.run_for(20 * MS)
    server = server_of(pair)
    server.close(pair.now)
    for _ in range(200):
        pair.flush()
        check(pair, server.stats.bytes_received)
        pair.deliver(b"\x40" + server.local_ids.first + bytes(30), to_server=True)
