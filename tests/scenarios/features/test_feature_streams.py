"""Streams, their limits and how they end; datagrams."""

from itertools import pairwise

from stack.events import DatagramAcked, DatagramLost, StreamsAvailable
from stack.wire.decoded_frames import MaxStreamDataFrame, MaxStreamsFrame, ResetStreamAtFrame, ResetStreamFrame
from tests.support.network import MS, Impairment, Network, content


def test_the_urgent_stream_arrives_first(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    sent = []
    for urgency in (7, 3, 0):
        stream_id = server.open_stream(unidirectional=True)
        assert stream_id is not None
        server.set_priority(stream_id, urgency)
        sent.append((client, stream_id, content(60_000, urgency)))
    for _, stream_id, data in sent:
        network.server.write(server, stream_id, data)
    network.deliver(sent)
    assert network.client.finished == [(client, stream_id) for _, stream_id, _ in reversed(sent)]


def test_a_reset_in_the_middle_of_a_stream(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    stream_id = network.send(client, content(200_000, 1))
    network.run(lambda: (server, stream_id) in network.server.received)
    client.reset(stream_id, 7)
    network.run(lambda: (server, stream_id) in network.server.resets)
    received = network.server.received[server, stream_id]
    assert network.server.resets[server, stream_id] == 7
    assert received == content(200_000, 1)[: len(received)]
    assert len(received) < 200_000
    network.exchange(client, server)


def test_a_reset_that_lets_the_beginning_arrive(impairment: Impairment) -> None:
    network = Network(impairment, client={"reset_stream_at": True}, server={"reset_stream_at": True})
    client, server = network.established()
    stream_id = client.open_stream(unidirectional=True)
    assert stream_id is not None
    data = content(200_000, 1)
    network.client.write(client, stream_id, data)
    client.reset(stream_id, 5, reliable_size=20_000)
    network.run(lambda: (server, stream_id) in network.server.resets)
    received = network.server.received[server, stream_id]
    assert network.server.resets[server, stream_id] == 5
    assert len(received) >= 20_000
    assert received == data[: len(received)]
    assert network.client.recorder_of(client).sent_frames(ResetStreamAtFrame)
    network.exchange(client, server)


def test_stop_sending_ends_a_stream(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    stream_id = network.send(client, content(200_000, 1))
    network.run(lambda: (server, stream_id) in network.server.received)
    server.stop_sending(stream_id, 9)
    recorder = network.client.recorder_of(client)
    network.run(lambda: recorder.sent_frames(ResetStreamFrame) != [])
    (code,) = {frame.code for frame in recorder.sent_frames(ResetStreamFrame)}
    assert code == 9
    network.exchange(client, server)
    assert (server, stream_id) not in network.server.finished


def test_a_limit_of_two_streams_lets_twenty_through(impairment: Impairment) -> None:
    network = Network(impairment, server={"initial_max_streams_uni": 2})
    client, server = network.established()
    sent, waits = [], 0
    while len(sent) < 20:
        stream_id = client.open_stream(unidirectional=True)
        if stream_id is None:
            waits += 1
            told = len(network.client.happened(StreamsAvailable))
            network.run(lambda told=told: len(network.client.happened(StreamsAvailable)) > told)
            continue
        data = content(1_000, stream_id)
        network.client.write(client, stream_id, data)
        sent.append((server, stream_id, data))
    network.deliver(sent)
    assert waits
    limits = [frame.maximum for frame in network.server.recorder_of(server).sent_frames(MaxStreamsFrame)]
    assert max(limits) >= 20


def test_the_smallest_windows_let_everything_through(impairment: Impairment) -> None:
    windows = {
        "initial_max_data": 1_500,
        "initial_max_stream_data_uni": 1_000,
        "max_data_window": 0,
        "max_stream_data_window": 0,
    }
    network = Network(impairment, client=windows, server=windows)
    client, server = network.established()
    network.exchange(client, server)
    for end, connection in ((network.client, client), (network.server, server)):
        limits = {frame.maximum for frame in end.recorder_of(connection).sent_frames(MaxStreamDataFrame)}
        assert len(limits) >= 19, "each of a window of at most 1,000 bytes"


def test_windows_grow(impairment: Impairment) -> None:
    windows = {"initial_max_data": 4_500, "initial_max_stream_data_uni": 3_000}
    network = Network(impairment, client=windows, server=windows)
    client, server = network.established()
    network.exchange(client, server, 100_000)
    for end, connection in ((network.client, client), (network.server, server)):
        frames = end.recorder_of(connection).sent_frames(MaxStreamDataFrame)
        steps = [later - earlier for earlier, later in pairwise(sorted({frame.maximum for frame in frames}))]
        assert max(steps) > 3_000, "more than the first window"


def test_datagrams_come_whole_or_not_at_all_and_their_fate_is_told(impairment: Impairment) -> None:
    both = {"max_datagram_frame_size": 65_535}
    network = Network(impairment, client=both, server=both)
    client, server = network.established()
    sent = {}
    for number in range(50):
        data = content(500, number)
        sent[client.send_datagram(data)] = data
        network.run_for("5ms")
    network.exchange(client, server)
    network.run(lambda: len(network.client.happened(DatagramAcked) + network.client.happened(DatagramLost)) == 50)
    acked = [event.datagram_id for event in network.client.happened(DatagramAcked)]
    arrived = network.server.datagrams
    assert len(set(arrived)) == len(arrived)
    assert {sent[number] for number in acked} <= set(arrived) <= set(sent.values())
    if not impairment.impaired:
        assert arrived == list(sent.values())
        assert network.now > 250 * MS
