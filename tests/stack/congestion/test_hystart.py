"""HyStart++ (RFC 9406), round by round."""

from itertools import pairwise

import pytest

from stack.congestion.hystart import (
    CSS_GROWTH_DIVISOR,
    CSS_ROUNDS,
    MAX_RTT_THRESH_NS,
    MIN_RTT_DIVISOR,
    MIN_RTT_THRESH_NS,
    RTT_SAMPLES,
    TRANSITIONS,
    UNPACED_LIMIT,
    HyStart,
    SlowStart,
)
from tests.support.controller_bench import MS, SIZE, ControllerBench


class Rounds:
    """Rounds of slow start, one every 100 ms."""

    def __init__(self, paced: bool = True) -> None:
        self.hystart = HyStart(paced)
        self.now = 0

    def round(self, rtt_ms: float, samples: int = RTT_SAMPLES) -> SlowStart:
        """A round with so many samples, all alike; return the phase after them."""
        sent_at = self.now
        self.now += 100 * MS
        for index in range(samples):
            self.hystart.on_acked(sent_at + index, round(rtt_ms * MS), self.now + index)
        return self.hystart.phase


@pytest.mark.requirement("rfc9406:4.3:1")
def test_the_constants_are_the_recommended_ones() -> None:
    assert (MIN_RTT_THRESH_NS, MAX_RTT_THRESH_NS, MIN_RTT_DIVISOR) == (4 * MS, 16 * MS, 8)
    assert (RTT_SAMPLES, CSS_GROWTH_DIVISOR, CSS_ROUNDS, UNPACED_LIMIT) == (8, 4, 5, 8)


def test_the_phases_move_as_the_figure_says() -> None:
    table = {state.name: {trigger.name: to.name for trigger, to in row.items()} for state, row in TRANSITIONS.items()}
    assert table == {
        "STANDARD": {"DELAY": "CONSERVATIVE", "CONGESTION": "OVER"},
        "CONSERVATIVE": {"DELAY_GONE": "STANDARD", "ROUNDS": "OVER", "CONGESTION": "OVER"},
        "OVER": {},
    }


@pytest.mark.parametrize(
    ("before_ms", "threshold_ms"),
    [(10, 4), (32, 4), (80, 10), (128, 16), (600, 16)],  # an eighth, but 4 ms at least and 16 ms at most
)
def test_a_round_that_is_slower_by_the_threshold_leaves_slow_start(before_ms: float, threshold_ms: float) -> None:
    rounds = Rounds()
    assert rounds.round(before_ms) is SlowStart.STANDARD
    assert rounds.round(before_ms + threshold_ms) is SlowStart.CONSERVATIVE
    rounds = Rounds()
    rounds.round(before_ms)
    assert rounds.round(before_ms + threshold_ms - 0.001) is SlowStart.STANDARD


@pytest.mark.requirement("rfc9406:4.3:3")
def test_fewer_than_eight_samples_tell_nothing() -> None:
    rounds = Rounds()
    rounds.round(50)
    assert rounds.round(100, RTT_SAMPLES - 1) is SlowStart.STANDARD
    assert rounds.round(150, RTT_SAMPLES) is SlowStart.CONSERVATIVE


def test_one_short_round_trip_of_eight_is_enough_to_stay() -> None:
    rounds = Rounds()
    rounds.round(50)
    sent_at = rounds.now
    rounds.hystart.on_acked(sent_at, 51 * MS, rounds.now + 100 * MS)
    for index in range(1, 9):
        rounds.hystart.on_acked(sent_at + index, 90 * MS, rounds.now + 100 * MS + index)
    assert rounds.hystart.phase is SlowStart.STANDARD


def test_the_delay_has_to_last_for_five_rounds() -> None:
    """The round that showed it counts as the first."""
    rounds = Rounds()
    rounds.round(50)
    for _ in range(CSS_ROUNDS):
        assert rounds.round(60) is SlowStart.CONSERVATIVE
    assert rounds.round(60, 1) is SlowStart.OVER


def test_when_the_delay_goes_away_slow_start_resumes() -> None:
    rounds = Rounds()
    rounds.round(50)
    rounds.round(60)
    assert rounds.round(60, RTT_SAMPLES - 1) is SlowStart.CONSERVATIVE
    assert rounds.round(59, RTT_SAMPLES - 1) is SlowStart.CONSERVATIVE
    assert rounds.round(59.9) is SlowStart.STANDARD
    assert rounds.round(80) is SlowStart.CONSERVATIVE


@pytest.mark.requirement("rfc9406:4.3:4")
@pytest.mark.requirement("rfc9406:4.3:5")
def test_growth_is_a_quarter_in_the_conservative_phase_and_bounded_only_without_pacing() -> None:
    for paced, most in ((True, 100), (False, UNPACED_LIMIT)):
        rounds = Rounds(paced)
        assert rounds.hystart.growth(100 * SIZE, SIZE) == most * SIZE
        rounds.round(50)
        rounds.round(60)
        assert rounds.hystart.growth(100 * SIZE, SIZE) == most * SIZE // 4


@pytest.mark.parametrize("name", ["new_reno", "cubic"])
def test_after_five_conservative_rounds_avoidance_begins_at_the_window_reached(name: str) -> None:
    bench = ControllerBench(name, hystart=True)
    bench.round()
    bench.rtt.update(150 * MS, 0, bench.now)
    windows = [bench.datagrams]
    for _ in range(CSS_ROUNDS + 1):
        bench.round()
        windows.append(bench.datagrams)
    growth = [after / before for before, after in pairwise(windows)]
    assert growth[0] == 1.55  # eight of its twenty acknowledgments came in the standard phase
    assert growth[1:CSS_ROUNDS] == pytest.approx([1.25] * (CSS_ROUNDS - 1), abs=0.02)
    assert growth[CSS_ROUNDS] < 1.06
    assert bench.controller.state == "congestion_avoidance"
    assert bench.controller.ssthresh == pytest.approx(windows[CSS_ROUNDS] * SIZE, rel=0.05)


@pytest.mark.requirement("rfc9406:4.3:6")
@pytest.mark.parametrize("name", ["new_reno", "cubic"])
def test_only_the_first_slow_start_looks_at_delay(name: str) -> None:
    bench = ControllerBench(name, hystart=True, initial_window=400 * SIZE)
    bench.lose()
    bench.controller.on_persistent_congestion()
    bench.recover()
    for _ in range(5):
        before = bench.datagrams
        bench.round()
        assert bench.datagrams == pytest.approx(2 * before, rel=0.02)
        bench.rtt.update(bench.rtt.latest_rtt_ns + 50 * MS, 0, bench.now)


@pytest.mark.parametrize("name", ["new_reno", "cubic"])
def test_a_loss_in_the_conservative_phase_ends_slow_start(name: str) -> None:
    bench = ControllerBench(name, hystart=True)
    bench.round()
    bench.rtt.update(150 * MS, 0, bench.now)
    bench.round()
    before = bench.controller.congestion_window
    bench.lose()
    assert bench.controller.ssthresh == bench.controller.congestion_window < before


def test_new_reno_does_without_unless_it_is_asked_for() -> None:
    bench = ControllerBench("new_reno")
    for _ in range(5):
        before = bench.datagrams
        bench.round()
        assert bench.datagrams == 2 * before
        bench.rtt.update(bench.rtt.latest_rtt_ns + 50 * MS, 0, bench.now)
