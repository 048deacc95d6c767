"""ECN between two endpoints: who marks, who reports, what marks and missing marks lead to (RFC 9000 section 13.4)."""

import pytest

from stack.connection import Connection
from stack.path.ecn import TESTED_PACKETS, EcnState
from stack.recovery.sent import SentPacket
from stack.wire.decoded_frames import AckFrame
from stack.wire.ecn import CE, ECT_0, ECT_1, NOT_ECT
from stack.wire.frames import PING, EcnCounts
from tests.support.loss_bench import LossBench
from tests.support.pair import MS, Datagram, Pair

PING_FRAME = bytes((PING,))


def reported(pair: Pair, by: Connection, packet_type: str = "1RTT") -> list[EcnCounts | None]:
    """The ECN counts of the ACK frames that a connection sent in packets of a type."""
    packets = [packet for packet in pair.recorder_of(by).sent if packet.packet_type == packet_type]
    return [frame.ecn_counts for packet in packets for frame in packet.frames if isinstance(frame, AckFrame)]


def exchange(pair: Pair, client: Connection, server: Connection, size: int = 50_000) -> None:
    """Send `size` bytes each way, and let everything be acknowledged."""
    for sender, receiver in ((client, server), (server, client)):
        _, received = pair.transfer(sender, receiver, bytes(size))
        assert len(received) == size
    pair.settle()


def states(pair: Pair, of: Connection) -> list[str]:
    return [state for _, state in pair.recorder_of(of).ecn_states]


def marks_of(pair: Pair, of: Connection) -> list[int]:
    """The codepoint of each packet that a connection has sent."""
    return [datagram.ecn for datagram, packets in pair.datagrams_of(of) for _ in packets]


@pytest.mark.requirement("rfc9000:13.4.2.2:3")
def test_both_sides_find_the_path_capable_and_mark_on() -> None:
    pair = Pair()
    client, server = pair.established()
    exchange(pair, client, server)
    for connection in (client, server):
        marks = marks_of(pair, connection)
        assert marks[:TESTED_PACKETS] == [ECT_0] * TESTED_PACKETS
        assert states(pair, connection) == ["unknown", "capable"]
        assert connection.path.ecn.state is EcnState.CAPABLE
        assert marks[-1] == ECT_0
    assert client.stats.packets_lost == client.stats.congestion_events == 0


def test_between_the_test_and_its_outcome_nothing_is_marked() -> None:
    """The ACK frames that tell of the first ten packets take a round trip."""
    pair = Pair(delay_ns=50 * MS, client={"pacing": False})
    client, server = pair.established()
    exchange(pair, client, server, 100_000)
    marks = marks_of(pair, client)
    unmarked = marks.count(NOT_ECT)
    assert marks == [ECT_0] * 10 + [NOT_ECT] * unmarked + [ECT_0] * (len(marks) - 10 - unmarked)
    assert unmarked > 0


def test_nothing_is_marked_when_the_configuration_says_so() -> None:
    pair = Pair(client={"ecn": False}, server={"ecn": False})
    client, server = pair.established()
    exchange(pair, client, server, 50_000)
    assert {datagram.ecn for datagram in pair.sent} == {NOT_ECT}
    assert set(reported(pair, server)) == {None}


@pytest.mark.requirement("rfc9000:13.4.1:1")
def test_a_side_that_marks_nothing_reports_the_marks_that_it_receives() -> None:
    pair = Pair(server={"ecn": False})
    client, server = pair.established()
    exchange(pair, client, server, 50_000)
    assert {datagram.ecn for datagram in pair.sent if not datagram.to_server} == {NOT_ECT}
    counts = reported(pair, server)[-1]
    assert counts is not None
    assert counts[1:] == (0, 0)
    assert counts[0] > 10
    assert client.path.ecn.state is EcnState.CAPABLE
    assert set(reported(pair, client)) == {None}  # nothing marked came, so there is nothing to report


def test_each_packet_number_space_has_its_own_counts_and_coalesced_packets_count_in_each() -> None:
    pair = Pair()
    client, server = pair.established()
    flights = [packets for datagram, packets in pair.datagrams_of(server) if datagram.ecn == ECT_0]
    assert any(len({packet.packet_type for packet in packets}) > 1 for packets in flights)
    received = pair.recorder_of(client).received
    for packet_type in ("initial", "handshake"):
        largest = max(
            frame.largest
            for packet in pair.recorder_of(client).sent
            if packet.packet_type == packet_type
            for frame in packet.frames
            if isinstance(frame, AckFrame)
        )
        numbers = {packet.number for packet in received if packet.packet_type == packet_type}
        assert reported(pair, client, packet_type)[-1] == (len([n for n in numbers if n <= largest]), 0, 0)


@pytest.mark.requirement("rfc9000:19.3:1")
def test_every_codepoint_has_its_count() -> None:
    pair = Pair(server={"ecn": False}, client={"ecn": False})
    client, server = pair.established()
    for ecn in (ECT_0, ECT_0, ECT_1, CE, CE, CE, NOT_ECT):
        pair.deliver(Pair.craft(client, PING_FRAME), to_server=True, ecn=ecn)
    pair.run_for(100 * MS)
    assert reported(pair, server)[-1] == (2, 1, 3)
    assert client.closing.over is False


def test_a_duplicate_is_not_counted_again() -> None:
    pair = Pair(server={"ecn": False}, client={"ecn": False})
    client, server = pair.established()
    packet = Pair.craft(client, PING_FRAME)
    for _ in range(3):
        pair.deliver(packet, to_server=True, ecn=CE)
    pair.run_for(100 * MS)
    assert reported(pair, server)[-1] == (0, 0, 1)


def test_a_packet_that_waits_for_its_keys_keeps_its_mark() -> None:
    """The first datagram of the server is late, so that the Handshake packets after it can not be read yet."""
    late: list[Datagram] = []

    def drop(datagram: Datagram) -> bool:
        if not datagram.to_server and datagram.number == 0 and not late:
            late.append(datagram)
            return True
        return False

    pair = Pair(server={"ecn": True}, client={"ecn": False}, drop=drop, chain=6)
    client = pair.connect()
    pair.run(lambda: len(pair.recorder_of(client).buffered) > 0)
    waiting = len(pair.recorder_of(client).buffered)
    pair.deliver(late[0].payload, to_server=False, ecn=late[0].ecn)
    pair.flush()
    counts = reported(pair, client, "handshake")[-1]
    assert counts is not None
    assert counts[0] >= waiting >= 1


@pytest.mark.requirement("rfc9000:13.2.1:9")
@pytest.mark.parametrize(("ecn", "delay_ms"), [(NOT_ECT, 25), (ECT_0, 25), (ECT_1, 25), (CE, 0)])
def test_a_packet_marked_ce_is_acknowledged_at_once(ecn: int, delay_ms: int) -> None:
    pair = Pair(server={"ecn": False}, client={"ecn": False})
    client, server = pair.established()
    start = pair.now
    pair.deliver(Pair.craft(client, PING_FRAME), to_server=True, ecn=ecn)
    sent = pair.recorder_of(server).sent
    before = len(sent)
    pair.run(lambda: len(sent) > before)
    assert sent[-1].at == start + delay_ms * MS


class CeOn:
    """Marks CE the `numbers`-th full datagrams to the server from now on, counted from 1."""

    def __init__(self, pair: Pair, *numbers: int) -> None:
        self.numbers = numbers
        self.seen = 0
        pair.remark = self

    def __call__(self, datagram: Datagram) -> int:
        if datagram.to_server and len(datagram.payload) > 1000:
            self.seen += 1
            if self.seen in self.numbers:
                return CE
        return datagram.ecn


@pytest.mark.requirement("rfc9000:19.3:1")
@pytest.mark.requirement("rfc9002:7.3.1:1")
def test_ce_ends_slow_start_and_halves_the_window_without_a_loss() -> None:
    pair = Pair()
    client, server = pair.established()
    exchange(pair, client, server, 60_000)
    assert client.path.congestion.state == "slow_start"
    before = client.path.congestion.congestion_window
    CeOn(pair, 1)
    retransmitted = client.stats.stream_bytes_retransmitted
    exchange(pair, client, server, 2_400)
    assert client.path.congestion.ssthresh == before // 2
    assert before // 2 <= client.path.congestion.congestion_window < before // 2 + 1200
    assert (client.stats.congestion_events, client.stats.packets_lost) == (1, 0)
    assert client.stats.stream_bytes_retransmitted == retransmitted
    assert client.path.ecn.state is EcnState.CAPABLE


def test_several_marks_of_one_round_trip_halve_the_window_once() -> None:
    pair = Pair(client={"pacing": False})
    client, server = pair.established()
    exchange(pair, client, server, 60_000)
    CeOn(pair, 2, 3, 7, 10)
    exchange(pair, client, server, 12_000)
    assert client.stats.congestion_events == 1
    CeOn(pair, 1)
    exchange(pair, client, server, 1_200)
    assert client.stats.congestion_events == 2


@pytest.mark.requirement("rfc9000:13.4.2.2:1")
@pytest.mark.parametrize(
    ("arrives_as"),
    [
        pytest.param({ECT_0: NOT_ECT}, id="bleached"),
        pytest.param({ECT_0: ECT_1}, id="mangled"),
        pytest.param({NOT_ECT: ECT_1}, id="marked by the network"),
        pytest.param({ECT_0: CE, NOT_ECT: CE}, id="always congested"),
    ],
)
def test_a_path_that_tampers_with_marks_is_used_without_them(arrives_as: dict[int, int]) -> None:
    pair = Pair(remark=lambda datagram: arrives_as.get(datagram.ecn, datagram.ecn))
    client, server = pair.established()
    exchange(pair, client, server)
    for connection in (client, server):
        assert connection.path.ecn.state is EcnState.FAILED
        marks = marks_of(pair, connection)
        assert marks[-1] == NOT_ECT
        assert marks.count(ECT_0) <= TESTED_PACKETS
        assert connection.stats.packets_lost == 0


@pytest.mark.requirement("rfc9000:13.4.2.2:4")
def test_a_path_that_begins_to_bleach_is_used_without_marks_from_then_on() -> None:
    pair = Pair()
    client, server = pair.established()
    exchange(pair, client, server, 50_000)
    assert client.path.ecn.state is EcnState.CAPABLE
    pair.remark = lambda datagram: NOT_ECT
    exchange(pair, client, server, 50_000)
    assert client.path.ecn.state is EcnState.FAILED
    assert marks_of(pair, client)[-1] == NOT_ECT
    assert client.stats.congestion_events == 0


def test_marked_datagrams_that_never_arrive_delay_the_handshake_by_three_probe_timeouts() -> None:
    """Initial at 0, probes at 999 ms, all marked and dropped; at 2997 ms the first without a mark gets through."""
    pair = Pair(drop=lambda datagram: datagram.ecn != NOT_ECT, server={"ecn": False})
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    flight = [datagram for datagram in pair.sent if datagram.to_server]
    assert [(datagram.at // MS, datagram.ecn) for datagram in flight[:4]] == [(0, 2), (999, 2), (999, 2), (2997, 0)]
    assert client.path.ecn.state is EcnState.FAILED
    assert pair.now < 3100 * MS


def test_a_new_path_is_tested_anew() -> None:
    pair = Pair()
    client, server = pair.established()
    exchange(pair, client, server, 50_000)
    old = client.path
    client.migrate(("10.0.0.9", 9), pair.now)
    pair.settle()
    assert client.path is not old
    assert old.ecn.state is EcnState.CAPABLE
    assert client.path.ecn.state is EcnState.TESTING
    exchange(pair, client, server, 50_000)
    assert client.path.ecn.state is EcnState.CAPABLE


@pytest.mark.requirement("rfc9000:13.4.2.1:1")
def test_an_ack_that_does_not_raise_the_largest_acknowledged_number_fails_nothing() -> None:
    """The frame that acknowledges packet 0 comes after the one for packet 1, with counts from before it."""
    bench = LossBench()
    space = bench.spaces[2]
    for number in range(TESTED_PACKETS):
        space.next_packet_number = number + 1
        packet = SentPacket(number, number, 1200, True, True, [], bench.path, True)
        bench.recovery.on_packet_sent(space, packet)
    bench.recovery.on_ack(space, [(1, 1)], 0, bench.path, 20 * MS, (2, 0, 0))
    assert bench.path.ecn.state is EcnState.CAPABLE
    bench.recovery.on_ack(space, [(0, 0)], 0, bench.path, 21 * MS, (1, 0, 0))
    assert bench.path.ecn.state is EcnState.CAPABLE
    bench.recovery.on_ack(space, [(2, 2)], 0, bench.path, 22 * MS, (2, 0, 0))  # newer, and does not count packet 2
    assert bench.path.ecn.state is EcnState.FAILED
