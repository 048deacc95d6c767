"""Path MTU discovery between two endpoints (RFC 8899, RFC 9000 sections 14.2 to 14.4)."""

import pytest

from stack.connection import Connection
from stack.errors import ConfigError
from stack.events import PathFailed
from stack.path.mtu import BASE_PLPMTU, MAX_PROBES, PMTU_RAISE_TIMER_NS
from stack.recovery.acknowledgments import NEVER
from stack.recovery.sent import SentPacket
from stack.wire.decoded_frames import PaddingFrame, PingFrame, StreamFrame
from tests.support.loss_bench import LossBench
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, Datagram, Pair

DISCOVERY = {"path_mtu_discovery": True}
ETHERNET = 1472


class Narrow:
    """A path that drops datagrams to the server larger than `mtu`."""

    def __init__(self, mtu: int) -> None:
        self.mtu = mtu

    def __call__(self, datagram: Datagram) -> bool:
        return datagram.to_server and len(datagram.payload) > self.mtu


def searching(mtu: int = 65_527, **client: object) -> tuple[Pair, Narrow]:
    """A client that looks for the MTU of its way to the server, which carries `mtu`."""
    narrow = Narrow(mtu)
    return Pair(client={**DISCOVERY, "ecn": False, **client}, drop=narrow), narrow


def probes(pair: Pair, since: int = 0) -> list[int]:
    """Sizes of the client's datagrams that carry nothing but a PING and PADDING."""
    client = pair.client_recorder.connections[-1]
    return [
        packet.size
        for packet in client.sent
        if packet.at >= since
        and packet.packet_type == "1RTT"
        and packet.size > BASE_PLPMTU
        and {type(frame) for frame in packet.frames} == {PingFrame, PaddingFrame}
    ]


def largest_with_data(pair: Pair, since: int = 0) -> int:
    """Size of the largest packet with stream data that the client sent."""
    sent = pair.client_recorder.connections[-1].sent
    return max(
        packet.size
        for packet in sent
        if packet.at >= since and any(isinstance(frame, StreamFrame) for frame in packet.frames)
    )


def upload(pair: Pair, client: Connection, server: Connection, size: int) -> None:
    _, received = pair.transfer(client, server, bytes(size))
    assert len(received) == size


@pytest.mark.requirement("rfc9000:14.2:1")
def test_one_probe_finds_that_the_path_carries_an_ethernets_datagrams() -> None:
    pair, _ = searching()
    client, server = pair.established()
    assert probes(pair) == [ETHERNET]
    assert client.path.datagram_size == ETHERNET
    assert server.path.datagram_size == BASE_PLPMTU  # it does not look
    assert pair.recorder_of(client).sizes == [(pair.recorder_of(client).sizes[0][0], ETHERNET, True)]
    upload(pair, client, server, 50_000)
    assert largest_with_data(pair) == ETHERNET


def test_the_search_waits_for_the_confirmed_handshake_and_takes_a_round_trip_per_probe() -> None:
    """Confirmed at 20 ms; then one probe at a time, 20 ms and the server's ACK delay apart."""
    pair, _ = searching()
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    confirmed_at = pair.now
    sent = [packet.at for packet in pair.recorder_of(client).sent if packet.size == ETHERNET]
    pair.settle()
    sent = [packet.at for packet in pair.recorder_of(client).sent if packet.size == ETHERNET]
    assert sent == [confirmed_at]
    assert pair.recorder_of(client).sizes[0][0] <= confirmed_at + 20 * MS + 25 * MS


def test_the_search_on_a_path_of_1400_bytes_ends_after_ten_probes() -> None:
    pair, _ = searching(1400)
    client, server = pair.established()
    pair.settle(5 * SECOND)
    assert probes(pair) == [*[1472] * 3, 1336, *[1404] * 3, 1370, 1387, 1395]
    assert client.path.datagram_size == 1395
    upload(pair, client, server, 50_000)
    assert largest_with_data(pair) == 1395


@pytest.mark.requirement("rfc9000:14.4:1")
def test_lost_probes_are_no_congestion() -> None:
    pair, _ = searching(1250)
    client, server = pair.established()
    window = client.path.congestion.congestion_window
    pair.settle(5 * SECOND)
    assert len(probes(pair)) >= 4 * MAX_PROBES
    lost = {number for _, _, number, _ in pair.recorder_of(client).lost}
    assert len(lost) >= 4 * MAX_PROBES
    assert client.path.congestion.state == "slow_start"
    assert (client.stats.congestion_events, client.stats.persistent_congestion_events) == (0, 0)
    assert client.path.congestion.congestion_window >= window
    upload(pair, client, server, 50_000)
    assert client.stats.stream_bytes_retransmitted == 0


def test_a_probe_timeout_does_not_give_a_probe_up() -> None:
    """It asks for an ACK with a PING; only that tells that the probe is lost, and then the next one goes."""
    pair, _ = searching(1400)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    pair.run(lambda: client.stats.pto_expired == 1)
    pair.flush()
    assert probes(pair) == [ETHERNET]
    pair.run(lambda: len(probes(pair)) == 2)
    assert [number for _, _, number, _ in pair.recorder_of(client).lost] != []


def with_probe_at(sent_at: int) -> LossBench:
    """A bench whose packet 0 is a probe, sent at `sent_at`."""
    bench = LossBench()
    bench.set_rtt(100 * MS, 10 * MS)
    bench.path.mtu.start(ETHERNET)
    space = bench.spaces[2]
    space.next_packet_number = 1
    frame = bench.path.mtu.on_probe_sent()
    bench.recovery.on_packet_sent(space, SentPacket(0, sent_at, ETHERNET, True, True, [frame], bench.path))
    return bench


def test_a_lost_probe_does_not_make_congestion_persistent() -> None:
    """It and the lost packet after it lie nine seconds apart; but for the probe only one packet was lost."""
    bench = with_probe_at(SECOND)
    for _ in range(4):
        bench.send(10 * SECOND)
    assert bench.ack(10 * SECOND + 100 * MS, 4) == [("acked", 4), ("lost", 1)]
    assert (bench.stats.packets_lost, bench.stats.congestion_events) == (2, 1)
    assert bench.stats.persistent_congestion_events == 0


def test_a_probe_timeout_repeats_what_has_a_use_and_no_mtu_probe() -> None:
    bench = with_probe_at(SECOND)
    bench.send(SECOND)
    bench.send(SECOND)
    assert bench.timeout()[1] == [("lost", 1), ("lost", 2)]
    assert bench.path.mtu.probe_at == NEVER  # its fate is still open


@pytest.mark.requirement("rfc9000:14.2:3")
def test_only_probes_are_larger_than_what_was_found() -> None:
    pair, _ = searching(1400)
    client, server = pair.established()
    upload(pair, client, server, 300_000)
    pair.settle()
    sizes = iter([*pair.recorder_of(client).sizes, (1 << 62, 0, True)])
    current, (changes_at, following, _) = BASE_PLPMTU, next(sizes)
    for packet in pair.recorder_of(client).sent:
        while packet.at > changes_at:
            current = following
            changes_at, following, _ = next(sizes)
        if any(isinstance(frame, StreamFrame) for frame in packet.frames):
            assert packet.size <= max(current, following if packet.at == changes_at else 0)


@pytest.mark.requirement("rfc9000:14.2:2")
def test_without_discovery_nothing_is_larger_than_1200_bytes() -> None:
    pair = Pair()
    client, server = pair.established()
    upload(pair, client, server, 100_000)
    assert max(len(datagram.payload) for datagram in pair.sent) == BASE_PLPMTU


def test_the_peers_max_udp_payload_size_bounds_the_search() -> None:
    pair = Pair(client=DISCOVERY, server={"max_udp_payload_size": 1300})
    client, _ = pair.established()
    assert client.path.datagram_size == 1300
    assert probes(pair) == [1300]


def test_the_configuration_bounds_the_search() -> None:
    pair, _ = searching(max_datagram_size=9000)
    client, server = pair.established()
    upload(pair, client, server, 200_000)
    pair.settle()
    assert client.path.datagram_size == 9000
    with pytest.raises(ConfigError, match=r"max_datagram_size = 1300: must be from 1400 \(datagram_size\) to 65527"):
        Pair(client={"datagram_size": 1400, "max_datagram_size": 1300})


def test_a_larger_datagram_does_not_change_the_window() -> None:
    """RFC 8899 section 3: the window in bytes stays; it grows by the acknowledged probe itself in slow start only."""
    pair, _ = searching()
    client = pair.connect()
    pair.run(lambda: client.path.datagram_size == ETHERNET)
    congestion = client.path.congestion
    before = congestion.congestion_window
    congestion.set_datagram_size(1200)
    congestion.set_datagram_size(1472)
    assert congestion.congestion_window == before
    congestion.on_persistent_congestion()
    assert congestion.congestion_window == 2 * 1472
    congestion.set_datagram_size(4000)
    assert congestion.congestion_window == 8000  # the smallest window: with less nothing could be sent


def test_a_black_hole_is_left_after_one_probe_timeout() -> None:
    """The path changes to one of 1300 bytes in the middle of a transfer: all that is larger vanishes."""
    pair, narrow = searching()
    client, server = pair.established()
    assert client.path.datagram_size == ETHERNET
    stream_id = client.open_stream()
    assert stream_id is not None
    data = bytes(range(250)) * 800
    assert client.write(stream_id, data, True) == len(data)
    pair.run_for(15 * MS)
    narrow.mtu = 1300
    changed_at = pair.now
    pto_ns = client.recovery.timer.pto_ns()
    pair.run(lambda: client.path.datagram_size == BASE_PLPMTU)
    # The last packet leaves at once or a little later, a timeout after it a small probe, whose ACK tells
    assert pair.now - changed_at <= 5 * MS + pto_ns + 20 * MS
    assert client.stats.pto_expired == 1
    pair.run(lambda: client.stats.bytes_sent > len(data) and client.path.bytes_in_flight == 0)
    assert client.closing.over is False
    received, finished = bytearray(), False
    while not finished:
        chunk, finished = server.read(stream_id)
        received += chunk
        if not finished:
            pair.step()
    assert bytes(received) == data
    pair.settle(5 * SECOND)
    assert 1300 - 16 < client.path.datagram_size <= 1300


def test_losses_of_congestion_are_no_black_hole() -> None:
    """A third of all datagrams of a flight is lost, and large ones after them arrive."""
    pair, _ = searching()
    client, server = pair.established()
    start = len(pair.sent)
    pair.drop = lambda datagram: start + 10 < len(pair.sent) < start + 25 and datagram.to_server
    upload(pair, client, server, 200_000)
    assert client.stats.packets_lost > MAX_PROBES
    assert client.path.datagram_size == ETHERNET
    assert [size for _, size, _ in pair.recorder_of(client).sizes] == [ETHERNET]


def test_after_ten_minutes_the_next_data_brings_a_probe_for_more() -> None:
    narrow = Narrow(1400)
    unlimited = {"max_idle_timeout_ms": 0}
    pair = Pair(client=DISCOVERY | unlimited, server=unlimited, drop=narrow)
    client, server = pair.established()
    pair.settle(5 * SECOND)
    found_at = pair.recorder_of(client).sizes[-1][0]
    narrow.mtu = 1500
    pair.run_until(found_at + PMTU_RAISE_TIMER_NS - SECOND)
    upload(pair, client, server, 10_000)
    assert client.path.datagram_size == 1395
    pair.run_until(found_at + PMTU_RAISE_TIMER_NS + SECOND)
    since = pair.now
    upload(pair, client, server, 10_000)
    pair.settle()
    assert probes(pair, since) == [ETHERNET]
    assert client.path.datagram_size == ETHERNET


@pytest.mark.requirement("rfc9000:14.2:4")
def test_nothing_is_sent_any_more_on_a_path_that_turns_out_to_carry_less_than_1200_bytes() -> None:
    """The client moves at once; small packets get through, the full-sized challenges do not."""
    pair = Pair()
    client, server = pair.established()
    narrow = ("10.0.0.9", 9)
    pair.drop = lambda datagram: narrow in (datagram.source, datagram.destination) and len(datagram.payload) > 1100
    client.migrate(narrow, pair.now, probe=False)
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"small")
    pair.run(lambda: any(isinstance(event, PathFailed) for event in pair.events_of(client)))
    assert client.path.local == CLIENT_ADDRESS
    sent = len(pair.sent)
    upload(pair, client, server, 20_000)
    pair.settle()
    assert {datagram.source for datagram in pair.sent[sent:] if datagram.to_server} == {CLIENT_ADDRESS}


@pytest.mark.requirement("rfc9000:14.2:6")
def test_each_path_has_its_own_size() -> None:
    pair, _ = searching()
    client, server = pair.established()
    old = client.path
    assert old.datagram_size == ETHERNET
    pair.drop = Narrow(1300)
    client.migrate(("10.0.0.9", 9), pair.now)
    pair.run(lambda: client.path is not old)
    assert client.path.datagram_size == BASE_PLPMTU
    pair.settle(5 * SECOND)
    assert old.datagram_size == ETHERNET
    assert 1300 - 16 < client.path.datagram_size <= 1300
    upload(pair, client, server, 50_000)


def test_a_client_whose_nat_changes_its_port_keeps_the_size() -> None:
    pair = Pair(server=DISCOVERY)
    client, server = pair.established()
    assert server.path.datagram_size == ETHERNET
    pair.rebind((CLIENT_ADDRESS[0], 1024))
    upload(pair, client, server, 5_000)
    assert server.path.remote == pair.public
    assert server.path.datagram_size == ETHERNET
