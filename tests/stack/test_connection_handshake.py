"""The handshake between two endpoints: states, times, datagram sizes, losses and reordering."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicsim.certificates import test_certificate
from stack.errors import CRYPTO_ERROR
from stack.events import HandshakeCompleted, HandshakeConfirmed, StreamOpened, StreamsAvailable
from stack.lifecycle import ENDED, TRANSITIONS, State, Trigger
from stack.tls.certificates import Authorities
from stack.tls.config import ClientTls
from stack.tls.engine import HANDSHAKE, INITIAL
from stack.wire.decoded_frames import AckFrame, CryptoFrame, HandshakeDoneFrame, NewConnectionIdFrame, PaddingFrame
from stack.wire.frames import encode_stream_header
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, SERVER_ADDRESS, Datagram, Pair
from tests.support.recorder import Packet


def kinds(packets: list[Packet]) -> list[str]:
    return [packet.packet_type for packet in packets]


def test_transition_table() -> None:
    table = {(old.value, trigger.value): new.value for old, row in TRANSITIONS.items() for trigger, new in row.items()}
    ends = {
        (old, trigger): new
        for old in ("handshaking", "established", "confirmed")
        for trigger, new in (("close", "closing"), ("drain", "draining"), ("expire", "closed"))
    }
    assert table == {
        **ends,
        ("handshaking", "complete"): "established",
        ("established", "confirm"): "confirmed",
        ("closing", "drain"): "draining",
        ("closing", "expire"): "closed",
        ("draining", "expire"): "closed",
    }
    assert set(TRANSITIONS) == set(State)
    assert {trigger for row in TRANSITIONS.values() for trigger in row} == set(Trigger)
    assert ENDED == (State.CLOSING, State.DRAINING, State.CLOSED)


@pytest.mark.requirement("rfc9001:4.1.2:1")
def test_complete_after_one_round_trip_and_confirmed_after_two() -> None:
    pair = Pair(delay_ns=10 * MS)
    client = pair.connect()
    assert not client.handshake_complete
    pair.run(lambda: client.handshake_complete)
    assert pair.now == 20 * MS
    assert not client.handshake_confirmed
    pair.run(lambda: pair.server_connection is not None and pair.server_connection.handshake_confirmed)
    assert pair.now == 30 * MS
    pair.run(lambda: client.handshake_confirmed)
    assert pair.now == 40 * MS
    for recorder in (pair.client_recorder, pair.server_recorder):
        assert recorder.connections[0].states == ["established", "confirmed"]
    assert [type(event) for event in pair.client_events] == [
        StreamsAvailable,
        StreamsAvailable,
        HandshakeCompleted,
        HandshakeConfirmed,
    ]


@pytest.mark.requirement("rfc9000:7:2")
def test_both_ends_know_what_was_negotiated() -> None:
    pair = Pair()
    client, server = pair.established()
    assert client.alpn == server.alpn == "quicsim"
    completed = [event for event in pair.server_events if isinstance(event, HandshakeCompleted)]
    assert [event.server_name for event in completed] == ["localhost"]


@pytest.mark.requirement("rfc9001:4.9.1:1")
@pytest.mark.requirement("rfc9001:4.9.1:2")
@pytest.mark.requirement("rfc9001:4.9.2:1")
def test_keys_are_discarded_on_the_way() -> None:
    pair = Pair()
    client, server = pair.established()
    for connection in (client, server):
        recorder = pair.recorder_of(connection)
        assert [name.split("_")[1] for name in recorder.discarded_keys] == ["initial"] * 2 + ["handshake"] * 2
        assert [space.discarded for space in connection.spaces] == [True, True, False]
    types = [packet.packet_type for packet in pair.recorder_of(client).sent]
    assert "initial" not in types[types.index("handshake") + 1 :]
    assert client.path.bytes_in_flight == server.path.bytes_in_flight == 0


@pytest.mark.requirement("rfc9000:14.1:1")
@pytest.mark.requirement("rfc9000:8.1:4")
def test_every_initial_of_the_client_fills_1200_bytes() -> None:
    pair = Pair(chain=6, drop=lambda datagram: not datagram.to_server and datagram.number in (1, 3))
    client, _ = pair.established()
    initials = [datagram for datagram, packets in pair.datagrams_of(client) if "initial" in kinds(packets)]
    assert len(initials) > 1
    assert all(len(datagram.payload) >= 1200 for datagram in initials)


@pytest.mark.requirement("rfc9000:14.1:2")
def test_every_initial_of_the_server_that_asks_for_an_ack_fills_1200_bytes() -> None:
    pair = Pair(drop=lambda datagram: not datagram.to_server and datagram.number < 6)
    _, server = pair.established()
    count = 0
    for datagram, packets in pair.datagrams_of(server):
        for packet in packets:
            asks = any(type(frame) not in (AckFrame, PaddingFrame) for frame in packet.frames)
            if packet.packet_type == "initial" and asks:
                count += 1
                assert len(datagram.payload) >= 1200
    assert count > 1


@pytest.mark.requirement("rfc9000:12.2:1")
@pytest.mark.requirement("rfc9000:12.2:6")
@pytest.mark.requirement("rfc9000:13.2.6:1")
@pytest.mark.requirement("rfc9000:13.2.1:2")
def test_packets_share_datagrams_and_are_acknowledged_each_in_its_space() -> None:
    pair = Pair(chain=4)
    _, server = pair.established()
    assert [kinds(packets) for _, packets in pair.datagrams_of(server)[:2]] == [["initial", "handshake"], ["handshake"]]
    answers = [packet for packet in pair.client_recorder.connections[0].sent if packet.at == 20 * MS]
    acks = {p.packet_type: frame for p in answers for frame in p.frames if isinstance(frame, AckFrame)}
    assert acks["initial"].ranges == ((0, 0),)
    assert acks["handshake"].ranges == ((0, 1),)


@pytest.mark.requirement("rfc9000:7.2:4")
@pytest.mark.requirement("rfc9000:7.2:1")
def test_the_client_turns_to_the_connection_id_that_the_server_chose() -> None:
    pair = Pair(client={"connection_id_length": 5}, server={"connection_id_length": 12})
    client, server = pair.established()
    assert len(pair.sent[0].payload[6:]) > 8
    assert pair.sent[0].payload[5] == 8
    assert client.remote_ids.current == server.local_ids.first
    assert server.remote_ids.current == client.local_ids.first
    assert len(client.remote_ids.current) == 12


@pytest.mark.requirement("rfc9000:5.1.1:3")
@pytest.mark.requirement("rfc9000:19.15:2")
@pytest.mark.parametrize(("client_length", "server_length"), [(0, 8), (8, 0), (0, 0), (20, 20), (4, 5)])
def test_connection_ids_of_any_length_work(client_length: int, server_length: int) -> None:
    pair = Pair(client={"connection_id_length": client_length}, server={"connection_id_length": server_length})
    client, server = pair.established()
    assert pair.transfer(client, server, bytes(50_000))[1] == bytes(50_000)
    for connection, length in ((client, client_length), (server, server_length)):
        issued = pair.recorder_of(connection).sent_frames(NewConnectionIdFrame)
        assert len(issued) == (3 if length else 0)


@pytest.mark.requirement("rfc9000:7:1")
def test_the_handshake_authenticates_the_server_and_what_is_agreed_and_gives_each_connection_its_keys() -> None:
    pair = Pair()
    pairs_of_ends = [pair.established(), pair.established()]
    (first, first_server), (second, second_server) = pairs_of_ends
    packet = pair.craft(first, b"\x01" + bytes(20), destination_cid=second_server.local_ids.first)
    received = second_server.stats.packets_received
    pair.deliver(packet, to_server=True)
    assert second_server.stats.packets_received == received, "one connection's keys open nothing of another's"
    assert first.alpn == first_server.alpn == second.alpn
    tokens = [first.remote_ids.reset_tokens[0], second.remote_ids.reset_tokens[0]]
    assert not any(token in datagram.payload for token in tokens for datagram in pair.sent)
    roots = Authorities(test_certificate().certificates, datetime(2030, 1, 1))
    stranger = Pair(client={"tls": ClientTls(trust=roots)})
    client = stranger.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, 0, "elsewhere.test")
    stranger.run(lambda: client.closed)
    assert client.closing.ended is not None
    assert client.closing.ended.code & ~0xFF == CRYPTO_ERROR
    assert not client.handshake_complete


# Losses


@pytest.mark.parametrize("to_server", [False, True])
@pytest.mark.parametrize("number", range(6))
def test_any_one_datagram_may_be_lost(to_server: bool, number: int) -> None:
    pair = Pair(drop=lambda datagram: datagram.to_server == to_server and datagram.number == number)
    client, server = pair.established()
    assert pair.transfer(server, client, b"hello" * 1000)[1] == b"hello" * 1000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), max_size=14), st.lists(st.booleans(), max_size=14))
def test_whatever_is_lost_at_the_beginning_the_handshake_succeeds(up: list[bool], down: list[bool]) -> None:
    def drop(datagram: Datagram) -> bool:
        losses = up if datagram.to_server else down
        return datagram.number < len(losses) and losses[datagram.number]

    # a window of losses this long takes several doubled timeouts: no idle timeout before
    config = {"max_idle_timeout_ms": 0}
    pair = Pair(drop=drop, client=config, server=config)
    client, server = pair.established()
    assert client.handshake_confirmed
    assert server.handshake_confirmed


@pytest.mark.requirement("rfc9000:13.3:3")
def test_handshake_done_is_repeated_until_it_arrives() -> None:
    pair = Pair()
    pair.drop = lambda datagram: not datagram.to_server and 25 * MS < pair.now < 2 * SECOND
    client, server = pair.established()
    done = pair.recorder_of(server).sent_frames(HandshakeDoneFrame)
    assert len(done) > 1
    assert client.handshake_confirmed


# Reordering


def flight(pair: Pair) -> tuple[Any, list[bytes]]:
    """Let the server answer the client's first datagram; return the client's connection and the server's flight."""
    client = pair.connect()
    for transmit in pair.client.transmit(pair.now):
        pair.deliver(transmit.payload, to_server=True)
    return client, [transmit.payload for transmit in pair.server.transmit(pair.now)]


@pytest.mark.requirement("rfc9000:5.2.1:1")
@pytest.mark.requirement("rfc9000:12.2:7")
def test_a_server_flight_in_reverse_waits_for_its_keys() -> None:
    pair = Pair(chain=4)
    client, datagrams = flight(pair)
    assert len(datagrams) == 2
    for payload in reversed(datagrams):
        pair.deliver(payload, to_server=False)
    assert client.handshake_complete
    assert [kind for _, kind in pair.client_recorder.connections[0].buffered] == ["handshake"]
    assert client.stats.packets_dropped == 0


@pytest.mark.requirement("rfc9001:5.7:1")
@pytest.mark.requirement("rfc9001:5.7:2")
@pytest.mark.requirement("rfc9001:5.7:3")
def test_application_data_that_overtakes_the_end_of_the_handshake_waits() -> None:
    pair = Pair()
    client, datagrams = flight(pair)
    for payload in datagrams:
        pair.deliver(payload, to_server=False)
    pair.inject(client, encode_stream_header(0, 0, 2, False) + b"hi")
    assert pair.server_connection is not None
    assert not any(isinstance(event, StreamOpened) for event in pair.server_events)
    for transmit in pair.client.transmit(pair.now):
        pair.deliver(transmit.payload, to_server=True)
    assert pair.server_events[-2] == StreamOpened(0)
    assert pair.server_connection.read(0) == (b"hi", False)


@pytest.mark.requirement("rfc9000:7.2:3")
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_packets_with_another_source_id_are_dropped(level: int) -> None:
    pair = Pair()
    client, datagrams = flight(pair)
    pair.deliver(datagrams[0], to_server=False)
    assert pair.server_connection is not None
    known = client.remote_ids.current
    pair.inject(pair.server_connection, b"\x01" + bytes(40), level, source_cid=b"other")
    recorder = pair.client_recorder.connections[0]
    assert recorder.dropped[-1][2] == "unknown_connection_id"
    assert client.remote_ids.current == known


def test_crypto_frames_of_the_first_flight_are_those_of_tls() -> None:
    pair = Pair()
    pair.connect()
    pair.flush()
    (packet,) = pair.client_recorder.connections[0].sent
    assert [type(frame) for frame in packet.frames] == [CryptoFrame, PaddingFrame]
