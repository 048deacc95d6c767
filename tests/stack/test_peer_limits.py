"""What a peer, or a lost packet at the wrong moment, must not be able to do."""

import random

import pytest

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.endpoint import Endpoint
from stack.errors import PROTOCOL_VIOLATION
from stack.tls.config import ClientTls, ServerTls
from stack.wire.frames import encode_retire_connection_id
from tests.stack.fuzz_pair import CLIENT, SERVER, Pair, attack_1rtt

MILLISECOND = 1_000_000  # ns


@pytest.mark.requirement("rfc9000:19.16:1")
def test_a_connection_id_can_not_be_retired_before_it_was_sent() -> None:
    attacker = attack_1rtt(to_server=True)
    connection = attacker.connection()
    sequences = range(1, 600)  # each retired ID makes the next one, which no frame has told the peer yet
    attacker.send(b"".join(map(encode_retire_connection_id, sequences)), 2)
    ended = connection.closing.ended
    assert ended is not None
    assert ended.code == PROTOCOL_VIOLATION
    assert len(connection.control.owed) < 10


def test_data_lost_while_the_connections_credit_is_used_up_is_sent_again() -> None:
    credentials = test_certificate()
    client = Endpoint(Config(tls=ClientTls(trust=credentials)), random.Random(1))
    server = Endpoint(
        Config(tls=ServerTls(credentials=credentials), accept=True, initial_max_data=6000), random.Random(2)
    )
    sender = client.connect(CLIENT, SERVER, 0, "localhost")
    content = bytes(range(250)) * 80
    now, lost, received, finished = 0, 0, bytearray(), False
    stream_id = None
    while not finished:
        now += MILLISECOND
        client.timeout(now)
        server.timeout(now)
        for sent in client.transmit(now):
            if stream_id is not None and not lost:
                lost += 1
                continue
            server.receive(sent.payload, CLIENT, SERVER, 0, now)
        for sent in server.transmit(now):
            client.receive(sent.payload, SERVER, CLIENT, 0, now)
        if stream_id is None and sender.handshake_confirmed:
            stream_id = sender.open_stream()
            assert stream_id is not None
            sender.write(stream_id, content, end=True)
        for connection in server.connections.values():
            if stream_id in connection.streams.streams:
                data, finished = connection.read(stream_id)
                received += data
        assert now < 1000 * MILLISECOND
    assert bytes(received) == content
    assert lost


def test_a_damaged_first_datagram_makes_no_connection() -> None:
    pair = Pair()
    (first,) = pair.flight(by_client=True)
    for position in (7, 20, 600, 1199):  # connection IDs, token or length, ciphertext
        damaged = bytearray(first)
        damaged[position] ^= 1
        pair.deliver(bytes(damaged), by_client=True)
        assert not pair.server.connections
    pair.deliver(first, by_client=True)
    assert pair.server_connection.is_client is False
