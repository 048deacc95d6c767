"""Packets that are acknowledged after they were declared lost, and adjustable thresholds."""

import pytest

import quicsim
from links import Delay, Rate, ReorderDepth
from stack.config import Config
from stack.errors import ConfigError
from stack.tls.config import ClientTls
from tests.support.loss_bench import MS, SIZE, LossBench


@pytest.fixture
def bench() -> LossBench:
    bench = LossBench()
    bench.set_rtt(100 * MS, 10 * MS)
    return bench


def lose_three(bench: LossBench) -> None:
    """Packets 0 to 2 of six are declared lost at 100 ms; the window is halved."""
    for _ in range(6):
        bench.send(1 * MS)
    bench.ack(100 * MS, 5)
    assert bench.lost() == [0, 1, 2]
    assert bench.path.congestion.congestion_window == 6_000


@pytest.mark.requirement("rfc9438:4.9.2:1")
def test_what_arrives_after_all_is_counted_and_its_frames_are_acknowledged(bench: LossBench) -> None:
    lose_three(bench)
    assert bench.ack(101 * MS, 5, 2) == [("acked", 2)]
    assert bench.ack(102 * MS, 5, (1, 2)) == [("acked", 1)]
    assert bench.stats.packets_lost_spuriously == 2
    assert bench.path.bytes_in_flight == 2 * SIZE  # packets 3 and 4


def test_the_reduction_is_taken_back_when_all_of_it_was_spurious(bench: LossBench) -> None:
    lose_three(bench)
    bench.ack(101 * MS, (0, 1))
    assert bench.path.congestion.congestion_window == 6_000
    bench.ack(102 * MS, (0, 2))
    assert bench.path.congestion.congestion_window == 12_000
    assert bench.path.congestion.ssthresh is None
    assert bench.path.congestion.state == "slow_start"
    assert (bench.stats.congestion_events, bench.stats.congestion_events_undone) == (1, 1)


def test_one_real_loss_among_them_keeps_it(bench: LossBench) -> None:
    lose_three(bench)
    bench.ack(102 * MS, 5, (0, 1))
    assert bench.path.congestion.congestion_window == 6_000
    assert bench.stats.congestion_events_undone == 0


def test_a_later_reduction_is_not_taken_back_for_an_earlier_one(bench: LossBench) -> None:
    lose_three(bench)
    for _ in range(6):
        bench.send(110 * MS)
    bench.ack(210 * MS, 11, 5)
    assert bench.path.congestion.congestion_window == 3_000
    bench.ack(211 * MS, 11, 5, (0, 2))
    assert bench.stats.packets_lost_spuriously == 3
    assert bench.path.congestion.congestion_window == 3_000


def test_a_mark_can_not_be_undone(bench: LossBench) -> None:
    lose_three(bench)
    bench.path.congestion.on_marked(1, [bench.recovery.spaces[2].sent[0]], 100 * MS)  # of the same round trip
    bench.ack(102 * MS, (0, 2))
    assert bench.path.congestion.congestion_window == 12_000
    bench.path.congestion.on_congestion(103 * MS, 104 * MS)
    bench.ack(105 * MS, (0, 4))
    assert bench.path.congestion.congestion_window < 12_000


def test_it_can_be_turned_off(bench: LossBench) -> None:
    quiet = LossBench(undo_spurious=False)
    quiet.set_rtt(100 * MS, 10 * MS)
    lose_three(quiet)
    quiet.ack(102 * MS, (0, 2))
    assert quiet.stats.packets_lost_spuriously == 3
    assert quiet.path.congestion.congestion_window == 6_000


def test_nobody_waits_for_a_packet_longer_than_three_probe_timeouts(bench: LossBench) -> None:
    lose_three(bench)
    for number in range(6):
        bench.send((1_000 + number) * MS)
    bench.ack(1_110 * MS, 11)  # and those lost now make it forget the first ones
    assert bench.lost() == [3, 4, 6, 7, 8]
    assert bench.recovery.spaces[2].declared_lost.numbers == [6, 7, 8]
    bench.ack(1_111 * MS, 11, (0, 2))
    assert bench.stats.packets_lost_spuriously == 0


# Thresholds (RFC 9002 section 6.1)


@pytest.mark.requirement("rfc9002:6.1.1:1")
@pytest.mark.parametrize("threshold", [1, 3, 8])
def test_the_packet_threshold_can_be_set(threshold: int) -> None:
    bench = LossBench(packet_threshold=threshold)
    bench.set_rtt(100 * MS, 10 * MS)
    for now in range(threshold + 1):
        bench.send(now)
    if threshold > 1:
        assert bench.ack(100 * MS, threshold - 1) == [("acked", threshold - 1)]
    assert ("lost", 0) in bench.ack(100 * MS, threshold)


def test_the_time_threshold_can_be_set() -> None:
    bench = LossBench(time_threshold=(3, 2))
    bench.set_rtt(100 * MS, 10 * MS)
    bench.send(0)
    bench.send(1 * MS)
    bench.ack(101 * MS, 1)
    assert bench.timeout() == (150 * MS, [("lost", 0)])


@pytest.mark.parametrize(
    ("field", "value"), [("packet_threshold", 0), ("time_threshold", 0.5), ("time_threshold", float("nan"))]
)
def test_thresholds_that_make_no_sense_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} = "):
        Config(tls=ClientTls(trust=quicsim.test_certificate()), **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("threshold", "lost"), [(3, True), (6, False)])
def test_reordering_beyond_the_threshold_is_found_out_as_spurious(threshold: int, lost: bool) -> None:
    """One datagram of the answer is overtaken by five others, on a path of 20 ms and 100 Mbps."""
    chosen = iter(range(1 << 30))

    def fiftieth(datagram: object) -> bool:
        return getattr(datagram, "size", 0) > 1_000 and next(chosen) == 50

    async def serve(net):
        listener = await net.listen(4433, quicsim.test_certificate(), packet_threshold=threshold, max_ack_delay_ms=0)
        connection = await listener.accept()
        stream = await connection.accept_stream()
        await stream.read_all()
        await stream.write(bytes(200_000), end=True)
        await stream.wait_sent()
        return connection

    async def fetch(net):
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream()
        await stream.write(b"go", end=True)
        return len(await stream.read_all())

    sim = quicsim.Simulation(seed=1)
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Rate("100Mbps"), Delay("10ms"), ReorderDepth(fiftieth, 5)])
    serving = sim.spawn("bob", serve)
    assert (
        sim.run(
            sim.spawn(
                "alice",
                fetch,
            )
        )
        == 200_000
    )
    stats = sim.run(serving).stats
    count = 1 if lost else 0
    assert (stats.packets_lost, stats.packets_lost_spuriously, stats.congestion_events_undone) == (count,) * 3


def test_of_many_losses_the_newest_are_remembered(bench: LossBench, patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.recovery.spurious.MAX_REMEMBERED_LOSSES", 2)
    lose_three(bench)
    bench.ack(101 * MS, (0, 2))
    assert bench.stats.packets_lost_spuriously == 2
