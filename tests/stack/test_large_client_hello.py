"""A ClientHello too large for one packet: its two Initials in any order, lost, twice; what the server may answer."""

import random
from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import P256, X25519, X25519MLKEM768
from stack.wire.decoded_frames import CryptoFrame
from stack.wire.header import INITIAL, parse_long_header
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import MS, SECOND, Drop, Pair

LONG_CHAIN = 20  # certificates: a flight far above three times 2400 bytes
DATAGRAM = 1200

LARGE_FIRST: dict[str, Any] = {"client": (X25519MLKEM768, P256), "server": (X25519MLKEM768, P256)}
LARGE_REFUSED: dict[str, Any] = {"client": (X25519MLKEM768, P256), "server": (P256,)}
LARGE_SECOND: dict[str, Any] = {"client": (X25519, X25519MLKEM768), "server": (X25519MLKEM768,)}

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"groups": LARGE_FIRST},
    "Retry": {"groups": LARGE_FIRST, "retry": "always"},
    "HelloRetryRequest": {"groups": LARGE_REFUSED},
    "large after HelloRetryRequest": {"groups": LARGE_SECOND},
    "upgrade to version 2": {"groups": LARGE_FIRST, "versions": (VERSION_2, VERSION_1)},
    "all": {"groups": LARGE_REFUSED, "retry": "always", "versions": (VERSION_2, VERSION_1)},
}


def make(*, groups: dict[str, Any] = LARGE_FIRST, chain: int = 1, drop: Drop | None = None, **server: Any) -> Pair:
    """A pair whose client prefers a key share of 1216 bytes; `server` are fields of its Config."""
    credentials = test_certificate()
    chain_of = type(credentials)(credentials.certificates * chain, credentials.private_key)
    fields = {
        "tls": ServerTls(chain_of, groups=groups["server"], deterministic=True),
        "max_idle_timeout_ms": 0,
        **server,
    }
    tls = ClientTls(credentials, groups=groups["client"])
    return Pair(client={"tls": tls, "max_idle_timeout_ms": 0}, server=fields, drop=drop)


def hello_of(pair: Pair) -> tuple[Connection, list[bytes]]:
    """Start a connection; return it and the datagrams of its ClientHello, which are not on their way."""
    client = pair.connect()
    return client, [transmit.payload for transmit in pair.client.transmit(0)]


def answer(pair: Pair) -> None:
    """Deliver what the server sends now, and what the client answers, until both have said all."""
    for _ in range(4):
        for endpoint, to_server in ((pair.server, False), (pair.client, True)):
            for transmit in endpoint.transmit(pair.now):
                pair.deliver(transmit.payload, to_server)


def check(pair: Pair, client: Connection) -> None:
    """There is one connection, both ends have confirmed it, and it carries data."""
    server = pair.server_connection
    assert server is not None
    assert len(pair.server_recorder.connections) == 1
    assert client.handshake_confirmed
    assert server.handshake_confirmed
    assert pair.transfer(client, server, bytes(5_000))[1] == bytes(5_000)


def test_the_client_hello_fills_two_padded_initials() -> None:
    pair = make()
    client, datagrams = hello_of(pair)
    assert [len(data) for data in datagrams] == [DATAGRAM] * 2
    assert [parse_long_header(data, 0, True).packet_type for data in datagrams] == [INITIAL] * 2
    frames = [f for f in pair.recorder_of(client).sent_frames(CryptoFrame) if isinstance(f, CryptoFrame)]
    assert [frame.offset for frame in frames] == [0, len(frames[0].data)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 0, 1), (1, 0, 1, 0)])
def test_its_packets_may_come_in_any_order_and_twice(order: tuple[int, ...]) -> None:
    pair = make()
    client, datagrams = hello_of(pair)
    for number in order:
        pair.deliver(datagrams[number], to_server=True)
    answer(pair)
    assert pair.server_connection is not None
    duplicates = len(order) - 2
    assert [trigger for _, _, trigger in pair.recorder_of(pair.server_connection).dropped] == ["duplicate"] * duplicates
    check(pair, client)


@pytest.mark.parametrize(("lost", "completed_at"), [(0, 42_500_000), (1, 80 * MS)])
def test_either_may_be_lost(lost: int, completed_at: int) -> None:
    """The server acknowledges the other one, and so the client knows the round trip, of 20 ms, and goes on from there.

    The first one counts as lost after 9/8 of a round trip, since a later one was acknowledged; its repetition takes
    another one. The last one has to be probed for, one PTO of 20 + 4 * 10 ms after it was sent.
    """
    pair = make(drop=lambda datagram: datagram.to_server and datagram.number == lost)
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    assert pair.now == completed_at
    pair.settle()
    check(pair, client)


def sent_by_server(pair: Pair) -> int:
    return sum(len(datagram.payload) for datagram in pair.sent if not datagram.to_server)


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.parametrize("arriving", [(0,), (1,), (0, 1)])
def test_the_amplification_limit_counts_the_packets_that_arrived(arriving: tuple[int, ...]) -> None:
    """Half a ClientHello is answered with nothing but an ACK, a whole one with as much as both datagrams allow."""
    pair = make(chain=LONG_CHAIN, drop=lambda datagram: datagram.to_server and datagram.number not in arriving)
    pair.connect()
    pair.run_for(60 * SECOND)
    if len(arriving) == 1:
        assert 0 < sent_by_server(pair) < 100
    else:
        assert 6 * DATAGRAM - 128 < sent_by_server(pair) <= 6 * DATAGRAM


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.parametrize(("name", "round_trips"), list(zip(VARIANTS, (3, 3, 3, 4, 3, 4), strict=True)))
def test_each_way_of_shaking_hands(name: str, round_trips: int) -> None:
    """A flight above the limit takes a round trip more than one that fits, unless a Retry has lifted the limit."""
    pair = make(chain=LONG_CHAIN, **VARIANTS[name])
    client = pair.connect()
    while not client.handshake_confirmed:
        assert pair.step()
        limited(pair)
    assert pair.now == round_trips * 20 * MS
    pair.settle()
    check(pair, client)


def limited(pair: Pair) -> None:
    """A server that has not validated the address has sent at most three times what reached it."""
    server = pair.server_connection
    if server is not None and not server.path.validated:
        assert sent_by_server(pair) <= 3 * server.stats.bytes_received


@pytest.mark.requirement("rfc9000:8.1:2")
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", range(20))
def test_each_survives_the_loss_of_a_third(seed: int, name: str) -> None:
    rng = random.Random(seed)
    pair = make(chain=LONG_CHAIN, **VARIANTS[name], drop=lambda datagram: rng.random() < 0.33)
    client = pair.connect()
    while not client.handshake_confirmed:
        assert pair.step()
        limited(pair)
    pair.drop = None
    pair.settle()
    check(pair, client)
