"""Which keys protect what during the handshake (RFC 9001 sections 4 and 5)."""

import pytest

from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.events import StreamReadable
from stack.tls.config import ClientTls, ServerTls
from stack.wire.decoded_frames import CryptoFrame
from stack.wire.frames import encode_stream_header
from tests.support.pair import MS, Pair
from tests.support.recorder import Packet


def with_crypto(pair: Pair, connection: Connection) -> list[Packet]:
    sent = pair.recorder_of(connection).sent
    return [packet for packet in sent if any(isinstance(frame, CryptoFrame) for frame in packet.frames)]


@pytest.mark.requirement("rfc9001:4:1")
@pytest.mark.requirement("rfc9001:4.9:1")
def test_lost_handshake_data_is_sent_again_at_its_own_level() -> None:
    lost = {0, 1, 2}
    pair = Pair(chain=4, drop=lambda datagram: not datagram.to_server and datagram.number in lost)
    client = pair.connect()
    pair.run_for(11 * MS)
    server = pair.server_connection
    assert server is not None
    assert server.spaces[2].write_keys is not None  # newer keys than those of what was lost
    pair.run(lambda: client.handshake_confirmed)
    handshake = [packet for packet in with_crypto(pair, server) if packet.packet_type == "handshake"]
    starts = [frame.offset for packet in handshake for frame in packet.frames if isinstance(frame, CryptoFrame)]
    assert starts.count(0) > 1  # what began the lost flight, and what went again
    assert {packet.packet_type for packet in with_crypto(pair, server)} == {"initial", "handshake"}
    assert {packet.packet_type for packet in with_crypto(pair, client)} == {"initial", "handshake"}


@pytest.mark.requirement("rfc9001:4:2")
def test_a_server_answers_with_both_levels_in_one_datagram() -> None:
    pair = Pair()
    pair.connect()
    pair.run_for(10 * MS)
    assert pair.server_connection is not None
    _, packets = pair.datagrams_of(pair.server_connection)[0]
    assert [packet.packet_type for packet in packets][:2] == ["initial", "handshake"]


@pytest.mark.requirement("rfc9001:4.1.4:1")
@pytest.mark.requirement("rfc9001:5.7:5")
def test_a_client_keeps_data_that_overtakes_the_handshake_and_reads_it_afterwards() -> None:
    pair = Pair(chain=4)
    client = pair.connect()
    pair.run(lambda: pair.server_connection is not None)
    server = pair.server_connection
    assert server is not None
    early = pair.craft(server, encode_stream_header(3, 0, 5, True) + b"early")
    pair.deliver(early, to_server=False)
    assert not client.handshake_complete
    assert client.stats.packets_received == 0
    assert [name for _, name in pair.recorder_of(client).buffered] == ["1RTT"]
    assert StreamReadable(3) not in pair.client_events
    pair.run(lambda: client.handshake_complete)
    pair.run(lambda: StreamReadable(3) in pair.client_events)
    assert client.read(3) == (b"early", True)


@pytest.mark.requirement("rfc9001:5.3:2")
def test_a_suite_that_the_server_does_not_support_is_passed_over() -> None:
    credentials = test_certificate()
    client_tls = ClientTls(trust=credentials, suites=(0x1303, 0x1301, 0x1302))
    server_tls = ServerTls(credentials=credentials, suites=(0x1302,))
    pair = Pair(client={"tls": client_tls}, server={"tls": server_tls})
    client, server = pair.established()
    for connection in (client, server):
        keys = connection.spaces[2].write_keys
        assert keys is not None
        assert keys.protection.suite == 0x1302


@pytest.mark.requirement("rfc9001:9.3:1")
def test_the_datagram_with_the_client_hello_is_padded() -> None:
    pair = Pair()
    client = pair.connect()
    pair.flush()
    ((datagram, packets),) = pair.datagrams_of(client)
    assert len(datagram.payload) >= 1200
    assert any(isinstance(frame, CryptoFrame) for frame in packets[0].frames)
