"""Attackers without keys: forged sources, junk, first packets that nobody means. They get little for it."""

from collections.abc import Callable

import pytest

from stack.connection import Connection
from stack.endpoint import Endpoint
from stack.limits import (
    MAX_EARLY_ARRIVALS,
    MAX_HANDSHAKE_NS,
    MAX_STATELESS_RESETS_PER_SECOND,
    MAX_UNDECRYPTABLE_BYTES,
)
from stack.tls.engine import INITIAL
from stack.wire.frames import encode_connection_close, encode_crypto_header
from stack.wire.varint import encode_varint
from tests.support.attack import forged_address
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, SERVER_ADDRESS, Pair
from tests.support.toll import held, lines_run

PACKETS = 2_000
SLACK = 4_096  # bytes
EARLY_ARRIVAL = 600  # bytes that each takes beside its own
PADDING = bytes(1_160)
SHORT_ID = b"\x08"  # length of a connection ID


def first_initials(count: int, frames: bytes | None = None) -> list[tuple[tuple[str, int], bytes]]:
    """First datagrams of so many clients, each from an address of its own; with `frames`, of these instead."""
    pair = Pair(seed=7)
    addresses = [forged_address(number) for number in range(count)]
    clients = [pair.client.connect(address, SERVER_ADDRESS, 0, "localhost") for address in addresses]
    if frames is None:
        return [(transmit.source, transmit.payload) for transmit in pair.client.transmit(0)]
    return [
        (address, pair.craft(client, frames.ljust(1_160, b"\0"), INITIAL))
        for address, client in zip(addresses, clients, strict=True)
    ]


def flood(server: Endpoint, datagrams: list[tuple[tuple[str, int], bytes]], now: int) -> list[int]:
    """Hand a server datagrams, and return how many bytes it answered to each at once."""
    answers = []
    for source, data in datagrams:
        server.receive(data, source, SERVER_ADDRESS, 0, now)
        answers.append(sum(len(transmit.payload) for transmit in server.transmit(now)))
    return answers


# Before the handshake ends


def test_a_flood_of_first_packets_gets_a_bounded_number_of_connections(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.endpoint.MAX_HALF_OPEN_CONNECTIONS", 20)
    pair = Pair(server={"retry": "never"})
    client, server = pair.established()
    datagrams = first_initials(300)
    answers = flood(pair.server, datagrams[:100], pair.now)
    assert len(pair.server.connections) == 1 + 20
    assert all(answer < 100 for answer in answers[20:]), "each of the others is refused in a few bytes"
    assert all(answer <= 3 * 1_200 for answer in answers)
    memory = held(pair.server)
    flood(pair.server, datagrams[100:], pair.now)
    assert held(pair.server) <= memory + SLACK
    assert pair.transfer(client, server, b"served")[1] == b"served"
    pair.run_for(MAX_HANDSHAKE_NS)
    assert pair.server.connections == {}, "and the client's was idle"
    pair.established()


def test_under_a_flood_of_first_packets_clients_with_an_address_still_come_in(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.address_validation.HALF_OPEN_BEFORE_RETRY", 10)
    pair = Pair()
    datagrams = first_initials(400)
    answers = flood(pair.server, datagrams[:200], pair.now)
    assert len(pair.server.connections) == 10
    assert all(0 < answer < 200 for answer in answers[10:]), "one Retry each"
    memory = held(pair.server)
    flood(pair.server, datagrams[200:], pair.now)
    assert held(pair.server) <= memory + SLACK
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    assert client.retry_source_cid is not None


@pytest.mark.parametrize("frames", [encode_connection_close(0, 0, b""), b"\x1f", encode_crypto_header(0, 4) + b"junk"])
def test_connections_that_end_at_once_count_as_half_open_until_they_are_forgotten(
    frames: bytes, patch_stack: pytest.MonkeyPatch
) -> None:
    """Closing and draining connections are memory too."""
    patch_stack.setattr("stack.endpoint.MAX_HALF_OPEN_CONNECTIONS", 20)
    pair = Pair(server={"retry": "never"})
    flood(pair.server, first_initials(100, frames), pair.now)
    assert len(pair.server.connections) == 20
    assert all(connection.closed for connection in pair.server.connections.values())
    pair.run_for(4 * SECOND)
    assert pair.server.connections == {}
    pair.established()


@pytest.mark.parametrize("idle_ms", [0, 30_000])
def test_a_handshake_that_never_ends_is_given_up(idle_ms: int) -> None:
    pair = Pair(server={"max_idle_timeout_ms": idle_ms}, client={"max_idle_timeout_ms": 0})
    client = pair.connect()
    (first,) = [transmit.payload for transmit in pair.client.transmit(0)]
    pair.deliver(first, to_server=True)
    (server,) = pair.server.connections.values()
    started = pair.now
    pair.drop = lambda datagram: True
    while not server.closed and pair.now < 2 * MAX_HANDSHAKE_NS:
        pair.inject(client, b"\x01" + PADDING, INITIAL)
        pair.run_for(SECOND)
    assert pair.now - started == MAX_HANDSHAKE_NS
    assert pair.server.connections == {}


def test_a_connection_outlives_the_time_for_its_handshake() -> None:
    pair = Pair(client={"keep_alive_ms": 5_000})
    client, server = pair.established()
    pair.run_for(2 * MAX_HANDSHAKE_NS)
    assert pair.transfer(client, server, b"still here")[1] == b"still here"


def test_a_handshake_may_take_long_where_round_trips_do() -> None:
    pair = Pair(
        delay_ns=40 * SECOND,
        client={"initial_rtt_ms": 60_000.0, "max_idle_timeout_ms": 0},
        server={"initial_rtt_ms": 60_000.0, "max_idle_timeout_ms": 0},
    )
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    assert pair.now > MAX_HANDSHAKE_NS


@pytest.mark.parametrize("size", [60, 60_000])
def test_packets_that_wait_for_keys_take_little_memory(size: int) -> None:
    pair = Pair(server={"retry": "never"})
    client = pair.connect()
    (first,) = [transmit.payload for transmit in pair.client.transmit(0)]
    pair.deliver(first, to_server=True)
    (server,) = pair.server.connections.values()
    before = held(pair.server)
    for number in range(PACKETS):
        packet = b"\x41" + server.local_ids.first + number.to_bytes(size)
        pair.deliver(packet, to_server=True)
        pair.server.transmit(pair.now)
    assert held(pair.server) - before <= MAX_UNDECRYPTABLE_BYTES + SLACK
    pair.deliver(pair.craft(client, b"\x01" + PADDING, INITIAL), to_server=True)
    pair.run(lambda: client.handshake_confirmed)
    assert pair.transfer(client, server, b"fine")[1] == b"fine"


# Unknown connections and versions


def short(number: int) -> bytes:
    return b"\x41" + number.to_bytes(8) + bytes(91)


def unknown_version(number: int) -> bytes:
    return b"\xc0\x1a\x2a\x3a\x4a" + SHORT_ID + number.to_bytes(8) + SHORT_ID + number.to_bytes(8) + bytes(1_178)


def stray_handshake(number: int) -> bytes:
    return (
        b"\xe0\0\0\0\x01" + SHORT_ID + number.to_bytes(8) + SHORT_ID + number.to_bytes(8) + b"\x44\x00" + bytes(1_176)
    )


def version_negotiation(number: int) -> bytes:
    return b"\xc0\0\0\0\0" + SHORT_ID + number.to_bytes(8) + SHORT_ID + number.to_bytes(8) + bytes(1_178)


@pytest.mark.parametrize(
    ("make", "answered"),
    [
        (short, MAX_STATELESS_RESETS_PER_SECOND),
        (unknown_version, PACKETS),
        (stray_handshake, 0),
        (version_negotiation, 0),
    ],
)
def test_datagrams_of_unknown_connections_leave_nothing_behind(make: Callable[[int], bytes], answered: int) -> None:
    pair = Pair()
    client, server = pair.established()
    datagrams = [(forged_address(number), make(number)) for number in range(PACKETS)]
    flood(pair.server, datagrams[:10], pair.now)
    pair.now += 2 * SECOND  # the seconds in which resets are counted begin anew
    before = held(pair.server)
    answers = flood(pair.server, datagrams, pair.now)
    assert held(pair.server) <= before + SLACK
    assert sum(1 for answer in answers if answer) == answered
    assert all(answer < len(data) for answer, (_, data) in zip(answers, datagrams, strict=True)), "smaller than asked"
    assert pair.transfer(client, server, b"served")[1] == b"served"


@pytest.mark.parametrize("size", [60, 1_178, 20_000])
def test_0_rtt_packets_without_a_connection_are_few(size: int) -> None:
    pair = Pair()
    client, server = pair.established()
    before = held(pair.server)
    header = b"\xd0\0\0\0\x01" + SHORT_ID + b"%08d" + SHORT_ID + bytes(8) + encode_varint(size) + bytes(size)
    answers = flood(pair.server, [(forged_address(i), header % i) for i in range(PACKETS)], pair.now)
    assert not any(answers)
    assert held(pair.server) <= before + MAX_UNDECRYPTABLE_BYTES + MAX_EARLY_ARRIVALS * EARLY_ARRIVAL + SLACK
    assert pair.transfer(client, server, b"served")[1] == b"served"


def test_a_client_leaves_version_negotiation_and_retry_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are answered at most once, and by nothing at all when they are forged."""
    pair = Pair()
    client = pair.connect()
    pair.flush()
    ids = SHORT_ID + client.local_ids.first + SHORT_ID + bytes(8)
    before = held(pair.client)
    for number in range(PACKETS):
        first_bytes = b"\xf0\0\0\0\x01" if number & 1 else b"\xc0\0\0\0\0"
        pair.deliver(first_bytes + ids + number.to_bytes(60), to_server=False)
        assert pair.client.transmit(pair.now) == []
    assert held(pair.client) <= before + SLACK
    pair.run(lambda: client.handshake_confirmed)


# Junk for a connection


def forged(server: Connection, number: int) -> bytes:
    return b"\x41" + server.local_ids.first + number.to_bytes(40)


@pytest.mark.parametrize("moving", [False, True])
def test_forged_packets_of_a_connection_change_nothing(moving: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    paths, before = len(server.paths.all), held(pair.server)
    for number in range(PACKETS):
        source = forged_address(number) if moving else CLIENT_ADDRESS
        assert flood(pair.server, [(source, forged(server, number))], pair.now) == [0]
    assert held(pair.server) <= before + SLACK
    assert len(server.paths.all) == paths
    assert pair.transfer(client, server, b"served")[1] == b"served"


def test_the_work_for_junk_after_a_packet_is_bounded_by_its_bytes() -> None:
    """Many tiny packets share the datagram of an authentic one."""
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: pair.server_connection is not None)
    server = pair.server_connection
    assert server is not None
    pair.drop = lambda datagram: True
    tiny = (
        b"\xe0\0\0\0\x01"
        + SHORT_ID
        + client.remote_ids.current
        + SHORT_ID
        + client.local_ids.first
        + b"\x04"
        + bytes(4)
    )
    first = pair.craft(client, b"\x01" + PADDING, INITIAL)
    alone = lines_run(lambda: pair.deliver(first, to_server=True))
    work = []
    for count in (100, 1_000):
        data = pair.craft(client, b"\x01" + PADDING, INITIAL) + tiny * count
        dropped = server.stats.packets_dropped
        work.append(lines_run(lambda: pair.deliver(data, to_server=True)) - alone)  # noqa: B023
        assert server.stats.packets_dropped - dropped == count
        assert len(pair.server.transmit(pair.now)) <= 3
    assert work[1] <= 11 * work[0]
    assert work[1] <= 8 * len(tiny) * 1_000
    assert not server.closed
    pair.drop = None
    pair.run(lambda: client.handshake_confirmed)


def test_replayed_packets_are_processed_once() -> None:
    pair = Pair()
    client, server = pair.established()
    packet = pair.craft(client, b"\x01")
    pair.deliver(packet, to_server=True)
    pair.run_for(100 * MS)
    before = held(pair.server)
    for number in range(PACKETS):
        assert flood(pair.server, [(forged_address(number), packet)], pair.now) == [0]
    assert held(pair.server) <= before + SLACK
    assert server.path.remote == CLIENT_ADDRESS
    assert server.stats.packets_dropped >= PACKETS


# Tables


def test_connections_are_found_by_bytes_alone() -> None:
    """Peers choose these keys; Python hashes bytes with a key of its process that nobody knows."""
    pair = Pair()
    pair.established()
    flood(pair.server, first_initials(50), pair.now)
    assert len(pair.server._by_cid) > 50
    assert {type(key) for endpoint in (pair.client, pair.server) for key in endpoint._by_cid} == {bytes}


def test_wake_ups_are_as_many_as_connections_however_often_deadlines_change() -> None:
    """Another connection, whose deadline comes first, keeps those that were overtaken from being cleared away."""
    pair = Pair(client={"max_idle_timeout_ms": 0}, server={"max_idle_timeout_ms": 600_000})
    client, server = pair.established()
    flood(pair.server, first_initials(1), pair.now)
    pair.drop = lambda datagram: not datagram.to_server
    counts = []
    for _ in range(1_000):
        pair.inject(client, b"\x01")
        pair.run_for(30 * MS)
        counts.append(len(pair.server._alarms))
    assert max(counts) <= 32
    assert not server.closed
