"""The fixed bit of packets when both ends announce grease_quic_bit (RFC 9287)."""

import random
from typing import Any

import pytest

from stack.connection import Connection
from stack.errors import TRANSPORT_PARAMETER_ERROR
from stack.events import ConnectionEnded
from stack.wire.frames import PING
from stack.wire.varint import encode_varint
from tests.support.lying_tls import LyingTls
from tests.support.pair import Datagram, Pair

FIXED_BIT = 0x40
OFF = {"grease_quic_bit": False}


def first_bits(pair: Pair, to_server: bool, since: int = 0) -> list[int]:
    """The fixed bit of the first packet of each datagram from one side."""
    return [
        datagram.payload[0] >> 6 & 1
        for datagram in pair.sent
        if datagram.to_server == to_server and datagram.at >= since
    ]


def exchange(pair: Pair, client: Connection, server: Connection) -> None:
    data = random.Random(1).randbytes(200_000)
    assert pair.transfer(client, server, data)[1] == data
    assert pair.transfer(server, client, data)[1] == data


@pytest.mark.requirement("rfc9287:3:2")
@pytest.mark.requirement("rfc9287:3.1:1")
def test_the_fixed_bit_is_random_in_both_directions() -> None:
    pair = Pair()
    client, server = pair.established()
    since = pair.now
    exchange(pair, client, server)
    for to_server in (True, False):
        bits = first_bits(pair, to_server, since)
        assert len(bits) > 100
        assert 0.3 < sum(bits) / len(bits) < 0.7
    for end in (client, server):
        assert pair.recorder_of(end).remote_parameters["grease_quic_bit"] is True
        assert end.stats.packets_dropped == 0


@pytest.mark.parametrize("quiet", ["client", "server", "both"])
@pytest.mark.requirement("rfc9287:3.1:6")
def test_every_fixed_bit_is_1_unless_both_ends_announced(quiet: str) -> None:
    fields: dict[str, Any] = {side: OFF for side in ("client", "server") if quiet in (side, "both")}
    pair = Pair(**fields)
    exchange(pair, *pair.established())
    assert set(first_bits(pair, True)) == set(first_bits(pair, False)) == {1}


@pytest.mark.requirement("rfc9287:3.1:3")
@pytest.mark.parametrize("seed", range(20))
def test_a_client_sets_the_bit_until_it_has_heard_the_server(seed: int) -> None:
    pair = Pair(seed=seed, drop=lambda datagram: not datagram.to_server)
    pair.connect()
    pair.run_for(20_000_000_000)
    bits = first_bits(pair, True)
    assert len(bits) > 4
    assert set(bits) == {1}


@pytest.mark.requirement("rfc9287:3.1:4")
@pytest.mark.requirement("rfc9287:3.1:5")
@pytest.mark.parametrize("seed", range(10))
def test_a_server_learns_it_anew_on_each_connection(seed: int) -> None:
    pair = Pair(seed=seed)
    pair.established()  # on which both announced it

    def drop(datagram: Datagram) -> bool:
        return datagram.to_server and len(pair.server_recorder.connections) == 1

    pair.drop = drop
    since = pair.now
    pair.connect()
    pair.run_for(1_000_000_000)
    assert set(first_bits(pair, True, since)) == {1}


@pytest.mark.parametrize("announced", [True, False])
def test_a_packet_with_a_fixed_bit_of_0_counts_only_when_announced(announced: bool) -> None:
    pair = Pair(server={"grease_quic_bit": announced})
    client, server = pair.established()
    received = server.stats.packets_received
    packet = pair.craft(client, bytes((PING,)))
    pair.deliver(bytes((packet[0] & ~FIXED_BIT,)) + packet[1:], to_server=True)
    # The header is authenticated as it is sent, so a bit that was changed on the way is noticed all the same
    assert server.stats.packets_received == received
    trigger = "decryption_failure" if announced else "invalid"
    assert pair.recorder_of(server).dropped[-1] == (pair.now, "1RTT", trigger)


@pytest.mark.parametrize("accepts", [True, False])
def test_a_first_packet_with_a_fixed_bit_of_0_is_read_only_when_announced(accepts: bool) -> None:
    pair = Pair(server={"grease_quic_bit": accepts})
    client = pair.connect()
    client.sender.builder.grease = True  # as a client would that remembers the server, RFC 9287 section 3.1
    client.rng = _AlwaysOne(1)
    pair.flush()
    assert first_bits(pair, True) == [0]
    if accepts:
        pair.run(lambda: client.handshake_confirmed)
    else:
        pair.run_for(20_000_000)
        assert pair.server_connection is None


class _AlwaysOne(random.Random):
    """Draws every single bit as 1."""

    def getrandbits(self, k: int, /) -> int:
        return 1 if k == 1 else super().getrandbits(k)


@pytest.mark.requirement("rfc9287:3:1")
@pytest.mark.parametrize("liar", ["client", "server"])
def test_a_value_in_the_parameter_ends_the_connection(liar: str) -> None:
    parameter = encode_varint(0x2AB2)
    tls = {"tls": LyingTls(lambda encoded: encoded.replace(parameter + b"\0", parameter + b"\1x"))}
    pair = Pair(client=tls) if liar == "client" else Pair(server=tls)
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    events = pair.server_events if liar == "client" else pair.client_events
    (ended,) = (event for event in events if isinstance(event, ConnectionEnded))
    assert (ended.code, ended.remote) == (TRANSPORT_PARAMETER_ERROR, False)
