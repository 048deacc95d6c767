"""The latency spin bit, as one sees it who watches the packets go by (RFC 9000 section 17.4)."""

import random
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from stack.connection import Connection
from stack.path.spin_bit import SpinBit
from stack.wire.frames import encode_new_connection_id
from stack.wire.header import SPIN_BIT
from tests.support.pair import MS, Pair

PING = b"\x01"
OFF = {"spin_bit": False}


def spinning(delay_ns: int = 10 * MS, **fields: Any) -> tuple[Pair, Connection, Connection]:
    """A pair both ends of which take part, by the first seed with which they do: pair, client, server."""
    for seed in range(100):
        pair = Pair(seed=seed, delay_ns=delay_ns, **fields)
        client, server = pair.established()
        if client.path.remote_id.spin.active and server.path.remote_id.spin.active:
            return pair, client, server
    raise AssertionError("the spin bit is never used")


def seen(pair: Pair, to_server: bool, since: int) -> list[tuple[int, int]]:
    """Time and spin bit of every short header in one direction, as an observer without keys sees them."""
    return [
        (datagram.at, datagram.payload[0] & SPIN_BIT)
        for datagram in pair.sent
        if datagram.to_server == to_server and datagram.at >= since and not datagram.payload[0] & 0x80
    ]


def sent_bit(pair: Pair, sender: Connection) -> int:
    """The spin bit of the next packet that an end sends."""
    before = len(pair.sent)
    sender.open_stream()
    stream_id = sender.open_stream()
    assert stream_id is not None
    sender.write(stream_id, b"anything")
    pair.flush()
    return pair.sent[before].payload[0] & SPIN_BIT


@pytest.mark.parametrize("to_server", [True, False])
@pytest.mark.parametrize("delay_ms", [10, 50])
def test_an_observer_reads_the_round_trip_time(to_server: bool, delay_ms: int) -> None:
    pair, client, server = spinning(delay_ms * MS)
    since = pair.now
    pair.transfer(client, server, bytes(2_000_000))
    bits = seen(pair, to_server, since)
    edges = [two[0] for one, two in pairwise(bits) if one[1] != two[1]]
    periods = [two - one for one, two in pairwise(edges)]
    assert len(periods) >= 5
    assert min(periods) >= 2 * delay_ms * MS
    assert median(periods) < 2.5 * delay_ms * MS


def test_a_server_reflects_and_a_client_inverts() -> None:
    for bit in (SPIN_BIT, 0):
        pair, client, server = spinning()
        pair.inject(client, PING, reserved=bit)
        assert sent_bit(pair, server) == bit
        pair, client, server = spinning()
        pair.inject(server, PING, reserved=bit)
        assert sent_bit(pair, client) == bit ^ SPIN_BIT


@pytest.mark.parametrize("to_server", [True, False])
def test_a_late_packet_does_not_turn_the_bit_back(to_server: bool) -> None:
    pair, client, server = spinning()
    sender, receiver = (client, server) if to_server else (server, client)
    number = sender.spaces[2].next_packet_number
    pair.inject(sender, PING, number=number + 1, reserved=SPIN_BIT)
    pair.inject(sender, PING, number=number, reserved=0)
    assert sent_bit(pair, receiver) == (SPIN_BIT if to_server else 0)


@pytest.mark.parametrize("of_client", [True, False])
def test_the_bit_starts_anew_with_another_connection_id(of_client: bool) -> None:
    pair, client, server = spinning()
    end, peer = (client, server) if of_client else (server, client)
    pair.inject(peer, PING, reserved=0 if of_client else SPIN_BIT)
    old = end.path.remote_id.spin
    assert old.bit == SPIN_BIT
    pair.inject(peer, encode_new_connection_id(9, 9, b"nine-cid", bytes(16)), reserved=0 if of_client else SPIN_BIT)
    new = end.path.remote_id.spin
    assert new is not old
    if new.active:
        assert sent_bit(pair, end) == 0


@pytest.mark.requirement("rfc9000:17.4:3")
@pytest.mark.requirement("rfc9000:17.4:5")
@pytest.mark.parametrize("off", ["client", "server"])
def test_an_end_that_does_not_take_part_ignores_what_comes(off: str) -> None:
    pair = Pair(client=OFF) if off == "client" else Pair(server=OFF)
    client, server = pair.established()
    end, peer = (client, server) if off == "client" else (server, client)
    bits = set()
    for bit in (0, SPIN_BIT, SPIN_BIT, 0):
        pair.inject(peer, PING, reserved=bit)
        bits.add(sent_bit(pair, end))
    assert len(bits) == 1


@pytest.mark.requirement("rfc9000:17.4:6")
def test_an_end_that_does_not_take_part_sends_a_random_bit() -> None:
    bits = []
    for seed in range(12):
        pair = Pair(seed=seed, client=OFF)
        client, _ = pair.established()
        bits.append(sent_bit(pair, client))
    assert set(bits) == {0, SPIN_BIT}


@pytest.mark.requirement("rfc9000:17.4:4")
@pytest.mark.parametrize("is_client", [True, False])
def test_one_in_sixteen_connection_ids_does_not_take_part(is_client: bool) -> None:
    rng = random.Random(3)
    made = [SpinBit(rng, is_client, enabled=True) for _ in range(16_000)]
    quiet = [spin for spin in made if not spin.active]
    assert 900 < len(quiet) < 1100
    assert 0.4 < sum(1 for spin in quiet if spin.bit) / len(quiet) < 0.6
    assert not any(SpinBit(rng, is_client, enabled=False).active for _ in range(100))


@pytest.mark.requirement("rfc9000:17.4:4")
def test_some_connections_do_not_take_part() -> None:
    quiet = 0
    for seed in range(64):
        pair = Pair(seed=seed)
        quiet += not pair.connect().path.remote_id.spin.active
    assert 1 <= quiet <= 10
