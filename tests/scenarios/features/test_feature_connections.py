"""What happens to a connection as a whole: keys, time, its end."""

from itertools import pairwise

import pytest

from stack.events import ConnectionEnded
from stack.wire.decoded_frames import AckFrame, PingFrame
from tests.support.network import MS, SECOND, Impairment, Network, content
from tests.support.recorder import ConnectionRecorder


def test_keys_are_updated_by_either_end(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    for connection in (client, server, client):
        network.exchange(client, server)
        network.run_for("2s")
        connection.update_keys(network.now)
    network.exchange(client, server)
    network.run_for("1s")
    for end, connection in ((network.client, client), (network.server, server)):
        packets = end.recorder_of(connection).received
        phases = [packet.key_phase for packet in packets if packet.packet_type == "1RTT"]
        assert sum(1 for earlier, later in pairwise(phases) if earlier != later) >= 3
        assert phases[-1] == 1


def test_1_rtt_packets_in_the_clear(impairment: Impairment) -> None:
    both = {"disable_1rtt_encryption": True}
    network = Network(impairment, client=both, server=both)
    client, server = network.established()
    network.exchange(client, server)
    for end, seed in ((network.client, 1), (network.server, 2)):
        assert any(content(200, seed) in datagram.payload for datagram in end.tapped), "for everybody to read"


def test_the_spin_bit_shows_the_round_trip_time(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    taking_part = client.path.remote_id.spin.active and server.path.remote_id.spin.active
    network.exchange(client, server, 100_000)
    for end in (network.client, network.server):
        edges = spin_edges(end.recorder.connections[0])
        gaps = [later - earlier for earlier, later in pairwise(edges)]
        assert len(gaps) >= 3 or not taking_part
        assert all(gap >= 20 * MS - 4 * MS for gap in gaps), "never faster than the path, but for what was held back"


def spin_edges(recorder: ConnectionRecorder) -> list[int]:
    """When the spin bit of the newest packet received changed."""
    edges, largest, spin = [], -1, None
    for packet in recorder.received:
        if packet.packet_type == "1RTT" and packet.number > largest:
            if spin is not None and packet.spin != spin:
                edges.append(packet.at)
            largest, spin = packet.number, packet.spin
    return edges


def test_the_peer_acknowledges_as_often_as_it_is_asked_to(impairment: Impairment) -> None:
    def acks(asked: bool) -> float:
        """ACK frames per packet while the client receives 100 kB."""
        both = {"ack_frequency": True}
        network = Network(impairment, client=both, server=both)
        client, server = network.established()
        if asked:
            server.request_ack_frequency(9, 50 * MS, reordering_threshold=0)
            network.exchange(client, server, 1_000)
        start = network.now
        data = content(100_000, 1)
        network.deliver([(client, network.send(server, data), data)])
        recorder = network.client.recorder_of(client)
        received = sum(1 for packet in recorder.received if packet.at >= start)
        return len(recorder.sent_frames(AckFrame, start)) / received

    usual, asked = acks(asked=False), acks(asked=True)
    assert usual > 0.45
    assert asked < 0.3


def test_an_immediate_close_is_told_with_its_code(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    network.send(server, content(200_000, 1))
    network.run(lambda: network.client.received != {})
    client.close(network.now, 42, "enough")
    network.run(lambda: server.closed)
    (ended,) = network.server.happened(ConnectionEnded)
    assert (ended.code, ended.reason, ended.application, ended.remote) == (42, "enough", True, True)
    network.run(lambda: not network.client.endpoint.connections and not network.server.endpoint.connections)


def test_both_ends_give_up_after_the_smaller_idle_timeout(impairment: Impairment) -> None:
    network = Network(impairment, client={"max_idle_timeout_ms": 2_000}, server={"max_idle_timeout_ms": 9_000})
    client, server = network.established()
    network.exchange(client, server)
    network.run(lambda: client.closed and server.closed)
    for end, connection in ((network.client, client), (network.server, server)):
        (ended,) = end.happened(ConnectionEnded)
        assert ended.idle
        last = end.recorder_of(connection).received[-1].at
        assert network.now - last >= 2 * SECOND
        assert network.now - last < 4 * SECOND


def test_a_connection_is_kept_alive(impairment: Impairment) -> None:
    network = Network(impairment, client={"max_idle_timeout_ms": 3_000, "keep_alive_ms": 500})
    client, server = network.established()
    network.exchange(client, server)
    network.run_for("20s")
    assert not client.closed
    assert not server.closed
    assert len(network.client.recorder_of(client).sent_frames(PingFrame)) >= 20
    network.exchange(client, server)


@pytest.mark.parametrize("length", [8, 20])
def test_a_server_that_has_lost_its_state_resets_the_connection(impairment: Impairment, length: int) -> None:
    network = Network(impairment, server={"connection_id_length": length})
    client, server = network.established()
    network.exchange(client, server)
    network.server.forget_all()
    network.send(client, content(1_000, 3))
    network.run(lambda: client.closed)
    (ended,) = network.client.happened(ConnectionEnded)
    assert ended.stateless_reset
