"""Requests about acknowledgments (draft-ietf-quic-ack-frequency)."""

from itertools import pairwise
from typing import Any

import pytest

from stack.connection import Connection
from stack.errors import (
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    TRANSPORT_PARAMETER_ERROR,
    AckFrequencyError,
    ConfigError,
    TransportError,
)
from stack.limits import MAX_ACK_RANGES_SENT
from stack.recovery.acknowledgments import Acknowledgments
from stack.wire.decoded_frames import AckFrame, AckFrequencyFrame, ImmediateAckFrame, decode_frames
from stack.wire.ecn import CE, ECT_0
from stack.wire.frames import encode_ack_frequency, encode_immediate_ack
from stack.wire.parameters import TransportParameters
from tests.support.pair import MS, SECOND, Pair

ON = {"ack_frequency": True}


def pair_of(**server: Any) -> tuple[Pair, Connection, Connection]:
    """A client, and a server that takes its requests."""
    pair = Pair(server=ON | server)
    client, connection = pair.established()
    return pair, client, connection


def acks_of(pair: Pair, connection: Connection, since: int) -> list[int]:
    """When ACK frames were sent, in ns since `since`."""
    sent = pair.recorder_of(connection).sent
    return [p.at - since for p in sent if p.at >= since and any(isinstance(f, AckFrame) for f in p.frames)]


def ping(pair: Pair, sender: Connection, count: int = 1) -> None:
    """Deliver packets that ask for an ACK, without the peer's answer in between."""
    for _ in range(count):
        pair.inject(sender, b"\x01")


def code_of(connection: Connection) -> int | None:
    ended = connection.closing.ended
    return None if ended is None or ended.remote else ended.code


# Announcing and asking


def test_requests_need_a_peer_that_takes_them() -> None:
    pair = Pair(client=ON)
    client, server = pair.established()
    for ask in (client.request_immediate_ack, lambda: client.request_ack_frequency(10, 25 * MS)):
        with pytest.raises(AckFrequencyError, match="announced no min_ack_delay"):
            ask()
    server.request_ack_frequency(10, 25 * MS)  # whether we take requests is another question


@pytest.mark.parametrize("delay_ns", [MS - 1, (1 << 14) * MS])
def test_a_delay_that_the_peer_would_refuse_is_not_asked_for(delay_ns: int) -> None:
    _, client, _ = pair_of()
    with pytest.raises(AckFrequencyError, match="1000000 to 16383000000 is taken"):
        client.request_ack_frequency(10, delay_ns)
    with pytest.raises(AckFrequencyError, match="reordering threshold of -1"):
        client.request_ack_frequency(10, MS, -1)


def test_the_least_delay_must_not_exceed_the_usual_one() -> None:
    with pytest.raises(ConfigError, match="max_ack_delay_ms = 0"):
        Pair(client=ON | {"max_ack_delay_ms": 0})
    _, client, _ = pair_of()
    parameters = TransportParameters(max_ack_delay=2, min_ack_delay=2_000)
    client.ack_frequency.set_peer_parameters(parameters)
    parameters.min_ack_delay = 2_001
    with pytest.raises(TransportError, match="exceeds max_ack_delay") as caught:
        client.ack_frequency.set_peer_parameters(parameters)
    assert caught.value.code == TRANSPORT_PARAMETER_ERROR


@pytest.mark.parametrize("payload", [b"\x1f", encode_ack_frequency(0, 10, 25_000, 1)])
def test_frames_that_were_not_announced_are_unknown(payload: bytes) -> None:
    pair = Pair(client=ON)
    client, server = pair.established()
    pair.inject(client, payload)
    assert code_of(server) == FRAME_ENCODING_ERROR


@pytest.mark.parametrize("delay_us", [0, 999, (1 << 14) * 1000, (1 << 62) - 1])
def test_a_delay_out_of_bounds_closes_the_connection(delay_us: int) -> None:
    pair, client, server = pair_of()
    pair.inject(client, encode_ack_frequency(0, 10, delay_us, 1))
    assert code_of(server) == PROTOCOL_VIOLATION


def test_the_frames_on_the_wire() -> None:
    assert encode_ack_frequency(1, 2, 1_000, 3) == bytes.fromhex("40af010243e803")
    assert decode_frames(bytes.fromhex("40af010243e8031f")) == [AckFrequencyFrame(1, 2, 1_000, 3), ImmediateAckFrame()]
    for wrong in ("af010243e803", "800000af010243e803", "40af0102"):
        with pytest.raises(TransportError):
            decode_frames(bytes.fromhex(wrong))


def test_a_type_encoded_too_long_closes_the_connection() -> None:
    pair, client, server = pair_of()
    pair.inject(client, bytes.fromhex("800000af010243e803"))
    assert code_of(server) == PROTOCOL_VIOLATION


# What the peer then does


def test_acks_wait_for_the_threshold_and_the_delay_asked_for() -> None:
    pair, client, server = pair_of()
    client.request_ack_frequency(9, 100 * MS)
    pair.settle()
    start = pair.now
    ping(pair, client, 9)
    pair.flush()
    assert acks_of(pair, server, start) == []
    ping(pair, client)
    pair.flush()
    assert acks_of(pair, server, start) == [0]
    ping(pair, client, 3)
    pair.run_for(SECOND)
    assert acks_of(pair, server, start) == [0, 100 * MS]


def test_a_threshold_of_0_has_every_packet_acknowledged_at_once() -> None:
    pair, client, server = pair_of()
    client.request_ack_frequency(0, 25 * MS)
    pair.settle()
    start = pair.now
    ping(pair, client)
    pair.flush()
    assert acks_of(pair, server, start) == [0]


def test_an_older_request_that_comes_later_is_ignored() -> None:
    pair, client, server = pair_of()
    pair.inject(client, encode_ack_frequency(7, 3, 100_000, 1))
    pair.inject(client, encode_ack_frequency(7, 0, 1_000, 1))
    pair.inject(client, encode_ack_frequency(6, 0, 1_000, 1))
    start = pair.now
    pair.flush()
    assert acks_of(pair, server, start) == []
    ping(pair, client)
    pair.flush()
    assert acks_of(pair, server, start) == [0]  # the fourth packet


def test_an_immediate_ack_is_sent_at_once() -> None:
    pair, client, server = pair_of()
    client.request_ack_frequency(100, 200 * MS)
    pair.settle()
    start = pair.now
    client.request_immediate_ack()
    pair.run_for(50 * MS)
    assert acks_of(pair, server, start) == [10 * MS]
    pair.inject(client, encode_immediate_ack())
    pair.flush()
    assert acks_of(pair, server, start) == [10 * MS, 50 * MS]


def immediate(acks: Acknowledgments, numbers: list[int]) -> list[int]:
    """The packets that are acknowledged at once, of these that arrive in this order."""
    told = []
    for number in numbers:
        acks.on_received(number, True, 0)
        if acks.ack_at == 0:
            told.append(number)
            acks.on_sent()
    return told


@pytest.mark.parametrize(
    ("threshold", "numbers", "told"),
    [
        (1, [0, 1, 3, 4, 5, 2], [3, 2]),
        (3, [0, 1, 3, 4, 5, 8, 9, 10], [5, 9, 10]),
        (5, [0, 1, 3, 5, 6, 7, 8, 9], [7, 9]),
        (3, [0, 1, 3, 4, 5, 2, 6, 7], [5, 2]),  # 2 comes after it could be declared lost
        (3, [0, 1, 3, 2, 4, 5, 6], []),
        (0, [0, 5, 9, 3, 20, 1], []),
    ],
)
def test_reordering_is_told_when_it_reaches_the_threshold(threshold: int, numbers: list[int], told: list[int]) -> None:
    acks = Acknowledgments(25 * MS, 3)
    acks.set_frequency(1000, 25 * MS, threshold)
    assert immediate(acks, numbers) == told


def test_gaps_are_told_before_there_is_no_room_for_them() -> None:
    acks = Acknowledgments(25 * MS, 3)
    acks.set_frequency(1000, 25 * MS, 0)
    told = immediate(acks, list(range(0, 400, 2)))
    assert told
    assert told[0] // 2 < MAX_ACK_RANGES_SENT
    assert all(later - earlier <= 2 * MAX_ACK_RANGES_SENT for earlier, later in pairwise(told))


@pytest.mark.parametrize(("threshold", "expected"), [(1, [True, True, False, True]), (9, [True, False, False, True])])
def test_of_congestion_marks_only_the_first_hurries_when_few_acks_are_wanted(
    threshold: int, expected: list[bool]
) -> None:
    acks = Acknowledgments(25 * MS, 3)
    acks.set_frequency(threshold, 25 * MS, 1)
    hurried = []
    for number, mark in enumerate((CE, CE, ECT_0, CE)):
        acks.on_received(number, True, 0)
        acks.on_marked(mark, True)
        hurried.append(acks.ack_at == 0)
        acks.on_sent()
    assert hurried == expected


# What we then reckon with


def test_probe_timeouts_allow_for_the_longest_delay_that_may_be_in_force() -> None:
    pair, client, _ = pair_of()
    recovery = client.recovery
    assert recovery.timer.max_ack_delay_ns == 25 * MS
    client.request_ack_frequency(1, 80 * MS)
    pair.flush()
    assert recovery.timer.max_ack_delay_ns == 80 * MS
    pair.settle()
    assert recovery.timer.max_ack_delay_ns == 80 * MS
    client.request_ack_frequency(1, 5 * MS)
    pair.flush()
    assert recovery.timer.max_ack_delay_ns == 80 * MS  # until the peer has the request
    pair.settle()
    assert recovery.timer.max_ack_delay_ns == 5 * MS


def test_only_the_newest_request_is_sent_and_sent_again() -> None:
    pair, client, server = pair_of()
    start = pair.now
    client.request_ack_frequency(50, 80 * MS)
    client.request_ack_frequency(60, 90 * MS)
    first = sum(datagram.to_server for datagram in pair.sent)
    pair.drop = lambda datagram: datagram.to_server and datagram.number == first
    pair.flush()
    client.request_immediate_ack()
    pair.settle()
    sent = pair.recorder_of(client).sent_frames(AckFrequencyFrame, start)
    assert sent == [AckFrequencyFrame(1, 60, 90_000, 1)] * 2
    assert client.recovery.timer.max_ack_delay_ns == 90 * MS
    assert server.closing.ended is None


def test_fewer_acks_carry_the_same_data() -> None:
    counts = []
    for threshold in (1, 20):
        pair, client, server = pair_of()
        client.request_ack_frequency(threshold, 25 * MS, 3)
        pair.settle()
        before = server.stats.packets_sent
        content = bytes(1_000_000)
        assert pair.transfer(client, server, content)[1] == content
        counts.append(server.stats.packets_sent - before)
    assert counts[1] < counts[0] / 3
