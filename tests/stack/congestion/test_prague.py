"""The scalable response (RFC 9331, RFC 8257): reductions in proportion to marks."""

import pytest

from stack.congestion.prague import GAIN, Prague
from stack.wire.ecn import ECT_1
from tests.support.controller_bench import SIZE, ControllerBench


def in_avoidance(datagrams: int = 100, rtt_ms: int = 50) -> tuple[ControllerBench, Prague]:
    """A flow that has left slow start by a first mark, at so many datagrams."""
    bench = ControllerBench("prague", rtt_ms=rtt_ms, initial_window=2 * datagrams * SIZE)
    controller = bench.controller
    assert isinstance(controller, Prague)
    controller.on_marked(1, [bench.packet(bench.now - 1)], bench.now)
    assert bench.datagrams == datagrams
    return bench, controller


def round_with_marks(bench: ControllerBench, marks: int) -> None:
    """A round trip whose first ACKs report so many marks, one each."""
    count = bench.controller.congestion_window // SIZE
    started_at = bench.now
    for index in range(count):
        bench.now = started_at + bench.rtt_ns * (index + 1) // count
        if index < marks:
            bench.controller.on_marked(1, [bench.packet(bench.now - bench.rtt_ns)], bench.now)
        bench.ack()


def test_packets_carry_ect_1() -> None:
    assert Prague.codepoint == ECT_1


def test_the_first_mark_ends_slow_start_and_halves_the_window() -> None:
    bench, _ = in_avoidance()
    assert bench.controller.state == "congestion_avoidance"
    assert bench.controller.ssthresh == bench.controller.congestion_window


def test_alpha_is_the_average_share_of_marked_packets() -> None:
    """With one packet in ten marked it goes from 1 towards 0.1, by a sixteenth of the way in each round trip."""
    bench, controller = in_avoidance()
    expected = [controller.alpha]
    for _ in range(60):
        round_with_marks(bench, bench.controller.congestion_window // SIZE // 10)
        expected.append(expected[-1] + GAIN * (0.1 - expected[-1]))
    assert controller.alpha == pytest.approx(expected[-1], abs=0.04)
    assert controller.alpha < 0.2


def test_a_round_trip_with_marks_reduces_once_by_half_of_alpha() -> None:
    bench, controller = in_avoidance()
    for _ in range(80):
        bench.round()
    assert controller.alpha < 0.01
    controller.alpha = 0.2
    before = bench.controller.congestion_window
    at = bench.now
    assert controller.on_marked(1, [bench.packet(at - 10)], at)
    assert not controller.on_marked(3, [bench.packet(at - 5)], at + 10)
    assert bench.controller.congestion_window == int(before * 0.9)
    assert controller.on_marked(1, [bench.packet(at + 1)], at + bench.rtt_ns)


def test_the_window_grows_by_a_datagram_per_round_trip_also_while_marks_come() -> None:
    """It settles where growth and reductions balance: W·α/2 = 1, some 40 datagrams for one mark in 20."""
    for start in (20, 80):
        bench, _ = in_avoidance(datagrams=start)
        windows = []
        due = 0.0
        for _ in range(300):
            due += bench.datagrams / 20
            round_with_marks(bench, int(due))
            due -= int(due)
            windows.append(bench.datagrams)
        assert sum(windows[-50:]) / 50 == pytest.approx(45, rel=0.25)


def test_short_round_trips_do_not_make_it_grow_faster_per_second_than_25_ms_would() -> None:
    for rtt_ms, share in ((50, 1.0), (25, 1.0), (5, 0.04)):
        bench, _ = in_avoidance(rtt_ms=rtt_ms)
        before = bench.datagrams
        bench.round()
        assert bench.datagrams - before == pytest.approx(share, abs=0.02)


def test_a_loss_halves_the_window_whatever_alpha_is() -> None:
    bench, controller = in_avoidance()
    controller.alpha = 0.01
    bench.now += 1
    bench.lose()
    assert bench.datagrams == 50
    assert bench.controller.state == "recovery"


def test_marks_of_the_round_trip_of_a_loss_reduce_no_further() -> None:
    bench, controller = in_avoidance()
    bench.now += 1
    bench.lose()
    assert not controller.on_marked(1, [bench.packet(bench.now - 1)], bench.now + 1)
    assert bench.datagrams == 50
