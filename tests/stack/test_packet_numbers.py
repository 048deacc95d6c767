"""Packet numbers that are skipped, peers that acknowledge them, and the last number (RFC 9000 sections 12.3, 21.4)."""

from itertools import pairwise

import pytest

from stack.connection import Connection
from stack.errors import PROTOCOL_VIOLATION
from stack.events import ConnectionEnded
from stack.packet_numbers import FIRST_SKIP
from stack.wire.frames import encode_ack
from tests.support.pair import SECOND, Pair

LAST = (1 << 62) - 1
MUCH = bytes(3_000_000)


def numbers(pair: Pair, connection: Connection) -> list[int]:
    sent = pair.recorder_of(connection).sent
    return [packet.number for packet in sent if packet.packet_type == "1RTT"]


def skipped(pair: Pair, connection: Connection) -> list[int]:
    """The numbers that a connection left out; never two in a row."""
    gaps = [(one, two) for one, two in pairwise(numbers(pair, connection)) if two != one + 1]
    assert all(two == one + 2 for one, two in gaps)
    return [one + 1 for one, _ in gaps]


@pytest.mark.requirement("rfc9000:12.3:1")
@pytest.mark.requirement("rfc9000:12.3:2")
def test_few_numbers_are_skipped_and_ever_fewer() -> None:
    places = set()
    for seed in range(3):
        pair = Pair(seed=seed)
        client, server = pair.established()
        assert pair.transfer(client, server, MUCH)[1] == MUCH
        missing = skipped(pair, client)
        assert missing
        assert missing[0] > FIRST_SKIP
        assert len(missing) < 10
        assert client.stats.packets_lost == 0
        assert not client.closed
        places.add(tuple(missing))
    assert len(places) == 3


def test_the_same_seed_skips_the_same_numbers() -> None:
    runs = []
    for _ in range(2):
        pair = Pair(seed=5)
        client, server = pair.established()
        pair.transfer(client, server, MUCH)
        runs.append(skipped(pair, client))
    assert runs[0] == runs[1]


def test_no_number_is_skipped_when_that_is_turned_off() -> None:
    pair = Pair(client={"skip_packet_numbers": False})
    client, server = pair.established()
    pair.transfer(client, server, MUCH)
    assert skipped(pair, client) == []


def test_losses_across_a_skip_are_repaired() -> None:
    pair = Pair(drop=lambda datagram: datagram.number % 9 == 4)
    client, server = pair.established()
    assert pair.transfer(client, server, MUCH)[1] == MUCH
    assert skipped(pair, client)


@pytest.mark.requirement("rfc9000:21.4:1")
@pytest.mark.parametrize("alone", [True, False])
def test_a_peer_that_acknowledges_a_skipped_number_is_refused(alone: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    pair.transfer(client, server, MUCH)
    pair.settle()
    missing = skipped(pair, client)
    assert missing
    sent = numbers(pair, client)[-1]
    for number in missing:
        honest = [(number + 1, number + 1), (number - 1, number - 1)]
        pair.inject(server, encode_ack(honest, 0))
    assert not client.closed
    lie = [(sent, sent), (missing[0], missing[0])] if alone else [(0, sent)]
    pair.inject(server, encode_ack(lie, 0))
    (ended,) = (event for event in pair.client_events if isinstance(event, ConnectionEnded))
    assert (ended.code, ended.remote) == (PROTOCOL_VIOLATION, False)


@pytest.mark.requirement("rfc9000:21.4:1")
def test_an_optimistic_receiver_is_caught_while_it_speeds_us_up() -> None:
    """It acknowledges every packet up to the newest that it can guess, whatever arrives."""
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    left = memoryview(MUCH)
    pair.drop = lambda datagram: datagram.to_server
    for _ in range(500):
        if client.closed:
            break
        left = left[client.write(stream_id, left) :]
        pair.flush()
        newest = client.spaces[2].next_packet_number - 1
        pair.inject(server, encode_ack([(0, newest)], 0))
        pair.run_for(2_000_000)
    assert client.closing.ended is not None
    assert client.closing.ended.code == PROTOCOL_VIOLATION


@pytest.mark.requirement("rfc9000:12.3:3")
@pytest.mark.parametrize("by_client", [True, False])
def test_the_last_packet_number_ends_the_connection_without_a_word(by_client: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    first, second = (client, server) if by_client else (server, client)
    first.spaces[2].next_packet_number = LAST - 3
    stream_id = first.open_stream()
    assert stream_id is not None
    first.write(stream_id, bytes(100_000))
    pair.flush()
    assert numbers(pair, first)[-3:] == [LAST - 3, LAST - 2, LAST - 1]
    assert first.closed
    assert isinstance(pair.events_of(first)[-1], ConnectionEnded)
    before = len(pair.sent)
    pair.inject(second, b"\x01")
    first.close(pair.now)
    pair.flush()
    assert len(pair.sent) == before
    pair.drop = lambda datagram: datagram.to_server != by_client
    pair.run_for(2 * SECOND)
    assert not (pair.client if by_client else pair.server).connections
