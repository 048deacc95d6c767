"""What TLS can do, over networks that lose a tenth of all datagrams: cipher suites, certificates, shared keys."""

from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

import pytest

from quicsim.authority import Issued, KeyKind, issue
from stack.connection import Connection
from stack.crypto.packet_protection import (
    TLS_AES_128_CCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from stack.errors import CRYPTO_ERROR
from stack.events import ConnectionEnded, EarlyDataAccepted, HandshakeCompleted, NewSession
from stack.tls.alerts import CERTIFICATE_REQUIRED
from stack.tls.certificates import Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import HAS_MLKEM, P256, X25519, X25519MLKEM768
from stack.tls.psk import PSK_DHE_KE, PSK_KE, ExternalPsk
from stack.wire.decoded_frames import CryptoFrame
from tests.scenarios.features.conftest import SEEDS
from tests.support.network import End, Impairment, Network, content

LOSS = 0.1
TICKET_KEY = bytes(range(32))
FIRST_DAY = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(params=[None, *range(SEEDS)], ids=lambda seed: "clean" if seed is None else f"seed{seed}")
def impairment(request: pytest.FixtureRequest) -> Impairment:
    """What the network does to datagrams."""
    return Impairment(request.param, LOSS)


@cache
def issued(kind: KeyKind, length: int) -> Issued:
    """A chain for "localhost", the same in every test."""
    return issue(["localhost"], FIRST_DAY, Random(1), kind=kind, length=length)


def completed(network: Network) -> list[HandshakeCompleted]:
    """What the newest handshake has told the client and the server."""
    return [end.happened(HandshakeCompleted)[-1] for end in (network.client, network.server)]


def crypto_bytes(end: End, connection: Connection) -> int:
    """How much of TLS an end has sent before 1-RTT, without repetitions."""
    packets = [packet for packet in end.recorder_of(connection).sent if packet.packet_type in ("initial", "handshake")]
    ends: dict[str, int] = {}
    for packet in packets:
        for frame in packet.frames:
            if isinstance(frame, CryptoFrame):
                last = frame.offset + len(frame.data)
                ends[packet.packet_type] = max(ends.get(packet.packet_type, 0), last)
    return sum(ends.values())


# Cipher suites and groups


@pytest.mark.parametrize(
    "suite",
    [TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_CCM_SHA256],
    ids=["aes256", "chacha20", "ccm"],
)
def test_a_cipher_suite(impairment: Impairment, suite: int) -> None:
    network = Network(impairment, client_tls={"suites": (suite,)})
    client, server = network.established()
    network.exchange(client, server)
    for connection in (client, server):
        for keys in (connection.spaces[2].read_keys, connection.spaces[2].write_keys):
            assert keys is not None
            assert keys.protection.suite == suite


def test_a_hello_retry_request_is_asked_for_by_preference(impairment: Impairment) -> None:
    network = Network(
        impairment,
        client_tls={"groups": (X25519, P256)},
        server_tls={"groups": (P256, X25519), "enforce_groups": True},
    )
    client, server = network.established()
    network.exchange(client, server)
    plain = Network(impairment)
    assert crypto_bytes(network.client, client) > crypto_bytes(plain.client, plain.established()[0]) + 200
    assert network.now > 60_000_000, "a round trip more"


@pytest.mark.skipif(not HAS_MLKEM, reason="cryptography has no ML-KEM")
def test_a_client_hello_larger_than_a_packet(impairment: Impairment) -> None:
    groups = {"groups": (X25519MLKEM768,)}
    network = Network(impairment, client_tls=groups, server_tls=groups | {"deterministic": True})
    client, server = network.established()
    network.exchange(client, server)
    assert crypto_bytes(network.client, client) > 1_300


# Certificates


@pytest.mark.parametrize("kind", [KeyKind.ECDSA, KeyKind.RSA])
@pytest.mark.parametrize("length", [1, 3, 9])
def test_a_chain_is_verified(impairment: Impairment, kind: KeyKind, length: int) -> None:
    made = issued(kind, length)
    trust = made.authorities(FIRST_DAY)
    server_tls = {"credentials": made.credentials, "deterministic": True}
    network = Network(impairment, client_tls={"trust": trust}, server_tls=server_tls)
    client, server = network.established()
    network.exchange(client, server)
    assert completed(network)[0].peer_certificates == made.credentials.certificates
    size = sum(map(len, made.credentials.certificates))
    assert crypto_bytes(network.server, server) > size
    if size > 3 * 1200 and not impairment.impaired:
        assert network.now > 80_000_000, "a round trip more, for more than three times what the client has sent"


def test_an_ed25519_certificate(impairment: Impairment) -> None:
    credentials = issued(KeyKind.ED25519, 1).credentials
    network = Network(impairment, client_tls={"trust": credentials}, server_tls={"credentials": credentials})
    client, server = network.established()
    network.exchange(client, server)
    assert completed(network)[0].peer_certificates == credentials.certificates


@pytest.mark.parametrize("kind", KeyKind)
def test_a_client_shows_the_certificate_that_is_required(impairment: Impairment, kind: KeyKind) -> None:
    credentials = issued(kind, 1).credentials
    network = Network(
        impairment,
        client_tls={"credentials": credentials, "deterministic": True},
        server_tls={"client_auth": "require", "client_trust": Pinned(credentials.certificates)},
    )
    client, server = network.established()
    network.exchange(client, server)
    assert completed(network)[1].peer_certificates == credentials.certificates


def test_a_client_without_the_required_certificate_is_refused(impairment: Impairment) -> None:
    trust = Pinned(issued(KeyKind.ECDSA, 1).credentials.certificates)
    network = Network(impairment, server_tls={"client_auth": "require", "client_trust": trust})
    client = network.connect()
    network.run(lambda: client.closed)
    for end, remote in ((network.client, True), (network.server, False)):
        (ended,) = end.happened(ConnectionEnded)
        assert (ended.code, ended.remote) == (CRYPTO_ERROR | CERTIFICATE_REQUIRED, remote)


# Keys that both ends have already


@pytest.mark.parametrize("mode", [PSK_DHE_KE, PSK_KE], ids=["dhe", "psk_only"])
def test_an_external_psk_takes_the_place_of_certificates(impairment: Impairment, mode: int) -> None:
    psk: dict[str, Any] = {"psks": (ExternalPsk(b"who we are", bytes(range(32))),), "psk_modes": (mode,)}
    network = Network(impairment, client_tls=psk, server_tls=psk)
    client, server = network.established()
    network.exchange(client, server)
    assert [told.peer_certificates for told in completed(network)] == [(), ()]
    plain = Network(impairment)
    assert crypto_bytes(network.server, server) < crypto_bytes(plain.server, plain.established()[1]) - 300


class Resumption:
    """A network whose client comes again, as another endpoint with the session of its first connection."""

    def __init__(self, impairment: Impairment, **client_tls: Any) -> None:
        credentials = issued(KeyKind.ECDSA, 1).credentials
        server_tls = {"credentials": credentials, "tickets": 1, "ticket_key": TICKET_KEY, "early_data": True}
        self.network = network = Network(impairment, client_tls={"trust": credentials}, server_tls=server_tls)
        first, server = network.established()
        network.exchange(first, server)
        network.run(lambda: network.client.happened(NewSession) != [])
        self.full = crypto_bytes(network.server, server)
        (session,) = network.client.happened(NewSession)
        first.close(network.now)
        network.run(lambda: first.closed and server.closed)
        network.client.renew(tls=ClientTls(credentials, session=session.session, **client_tls))

    def early(self, data: bytes) -> tuple[Connection, Connection]:
        """Connect and send `data` at once; return both ends when it has arrived."""
        network = self.network
        client = network.connect()
        assert client.can_send
        stream_id = network.send(client, data)
        before = len(network.server.connections)
        network.run(lambda: client.handshake_confirmed and len(network.server.connections) > before)
        server = network.server.connections[-1]
        network.run(lambda: server.handshake_confirmed)
        network.deliver([(server, stream_id, data)])
        return client, server


def test_a_session_is_resumed(impairment: Impairment) -> None:
    resumption = Resumption(impairment)
    network = resumption.network
    client, server = network.established()
    network.exchange(client, server)
    assert "0RTT" not in [packet.packet_type for packet in network.client.recorder_of(client).sent]
    assert [told.resumed for told in completed(network)] == [True, True]
    assert [told.early_data_accepted for told in completed(network)] == [False, False]
    assert crypto_bytes(network.server, server) < resumption.full - 300, "no certificate and no signature"


def test_early_data_is_accepted(impairment: Impairment) -> None:
    resumption = Resumption(impairment, early_data=True)
    network = resumption.network
    start = network.now
    client, server = resumption.early(content(5_000, 1))
    assert [told.early_data_accepted for told in completed(network)] == [True, True]
    assert network.server.happened(EarlyDataAccepted)
    sent = [packet.packet_type for packet in network.client.recorder_of(client).sent]
    assert "0RTT" in sent
    if not impairment.impaired:
        taken = [packet for packet in network.server.recorder_of(server).received if packet.packet_type == "0RTT"]
        assert taken
        assert max(packet.at for packet in taken) < start + 20_000_000, "within half a round trip"
    network.exchange(client, server)


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "full"])
def test_early_data_is_refused_and_arrives_all_the_same(impairment: Impairment, resumed: bool) -> None:
    resumption = Resumption(impairment, early_data=True)
    network = resumption.network
    # A server that takes no 0-RTT, or has never heard of the session
    key = TICKET_KEY if resumed else bytes(32)
    network.server.renew(tls=ServerTls(issued(KeyKind.ECDSA, 1).credentials, ticket_key=key))
    client, server = resumption.early(content(5_000, 1))
    assert [told.resumed for told in completed(network)] == [resumed, resumed]
    assert [told.early_data_accepted for told in completed(network)] == [False, False]
    assert not network.server.happened(EarlyDataAccepted)
    assert "0RTT" in [packet.packet_type for packet in network.client.recorder_of(client).sent]
    assert "0RTT" not in [packet.packet_type for packet in network.server.recorder_of(server).received]
    network.exchange(client, server)
