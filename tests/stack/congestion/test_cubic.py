"""CUBIC (RFC 9438), held against the curve that its formulas describe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.congestion.cubic import ALPHA, BETA, C, cube_root
from tests.support.controller_bench import MS, SIZE, ControllerBench

SECOND = 1_000_000_000


def after_a_loss(datagrams: int, **options: object) -> ControllerBench:
    """A window of so many datagrams is reduced, and recovery is over."""
    bench = ControllerBench("cubic", initial_window=datagrams * SIZE, **options)
    bench.lose()
    bench.recover()
    return bench


def window_after(bench: ControllerBench, duration_ns: int) -> float:
    """The window in datagrams, `duration_ns` from now, give or take a round trip."""
    end = bench.now + duration_ns
    while bench.now < end:
        bench.round()
    return bench.datagrams


@given(st.integers(min_value=0, max_value=1 << 120))
def test_cube_roots_are_exact(value: int) -> None:
    root = cube_root(value)
    assert root**3 <= value < (root + 1) ** 3


@pytest.mark.requirement("rfc9438:4.4:1")
@pytest.mark.requirement("rfc9438:4.6:1")
@pytest.mark.requirement("rfc9438:4.6:2")
@pytest.mark.requirement("rfc9438:5.1:1")
@pytest.mark.requirement("rfc9438:5.1:2")
@pytest.mark.parametrize(
    ("window", "k_seconds", "points"),
    [
        (100, 4.217, [(0.0, 70.0), (0.5, 96.25), (1.0, 100.0)]),
        (1000, 9.086, [(0.0, 700.0), (0.5, 962.5), (1.0, 1000.0)]),
    ],
)
def test_after_a_loss_the_window_returns_on_the_cubic_curve(
    window: int, k_seconds: float, points: list[tuple[float, float]]
) -> None:
    """70 % at once, 96.25 % at K/2, all of it at K; K = cbrt(0.3·Wmax/0.4): within one datagram and one round trip."""
    assert k_seconds == pytest.approx((0.3 * window / 0.4) ** (1 / 3), abs=0.001)
    for share, expected in points:
        bench = after_a_loss(window)
        reached = [window_after(bench, round(share * k_seconds * SECOND) - bench.rtt_ns) for _ in range(1)]
        reached.append(window_after(bench, bench.rtt_ns if share else 0))
        reached.append(window_after(bench, bench.rtt_ns if share else 0))
        assert min(reached) - 1 <= expected <= max(reached) + 1


@pytest.mark.requirement("rfc9438:4.5:1")
def test_beyond_the_window_of_the_last_loss_it_rises_ever_faster() -> None:
    bench = after_a_loss(400)
    started_at = bench.now
    k_seconds = (0.3 * 400 / C) ** (1 / 3)
    window_after(bench, round((k_seconds + 0.1) * SECOND))
    steps = []
    for _ in range(40):
        before = bench.datagrams
        bench.round()
        steps.append(bench.datagrams - before)
    assert steps == sorted(steps)
    assert steps[0] > 0
    seconds = (bench.now - started_at) / SECOND
    assert bench.datagrams == pytest.approx(C * (seconds - k_seconds) ** 3 + 400, abs=1)


@pytest.mark.requirement("rfc9438:4.3:1")
@pytest.mark.requirement("rfc9438:4.3:2")
def test_where_reno_would_be_faster_the_window_grows_as_renos_does() -> None:
    """With 20 datagrams: α = 9/17 per round trip up to the window before the loss, then one."""
    bench = ControllerBench("cubic", rtt_ms=20, initial_window=20 * SIZE)
    bench.lose()
    bench.recover()
    assert bench.datagrams == 20 * BETA
    rounds = 0
    while bench.datagrams < 20 - ALPHA:
        before = bench.datagrams
        bench.round()
        rounds += 1
        assert bench.datagrams - before == pytest.approx(ALPHA, abs=0.06)
    assert rounds == pytest.approx(6 / ALPHA - 1, abs=1.5)
    bench.round()
    for _ in range(5):
        before = bench.datagrams
        bench.round()
        assert bench.datagrams - before == pytest.approx(1.0, abs=0.06)


def test_growth_is_bounded_by_half_the_window_per_round_trip() -> None:
    bench = after_a_loss(10)
    window_after(bench, 5 * SECOND)
    bench.now += 3600 * SECOND  # the curve is far above by now
    before = bench.datagrams
    bench.round()
    assert 1.3 * before < bench.datagrams <= 1.66 * before


@pytest.mark.requirement("rfc9438:4.2:1")
@pytest.mark.requirement("rfc9438:4.6:3")
@pytest.mark.requirement("rfc9438:4.6:4")
def test_time_in_which_the_application_limits_does_not_count() -> None:
    bench, other = after_a_loss(100), after_a_loss(100)
    for _ in range(10):
        bench.round()
        other.round()
    before = bench.controller.congestion_window
    for _ in range(100):
        bench.round(app_limited=True)
    assert bench.controller.congestion_window == before
    for _ in range(10):
        bench.round()
        other.round()
    assert bench.datagrams == pytest.approx(other.datagrams, abs=0.5)


@pytest.mark.requirement("rfc9438:4.7:1")
@pytest.mark.requirement("rfc9438:4.7:2")
def test_with_fast_convergence_a_second_loss_lower_down_aims_lower_still() -> None:
    """Reduced at 100 and again at 90: the plateau is 90·0.85 = 76.5; without, it is 90."""
    for fast, plateau in ((True, 76.5), (False, 90.0)):
        bench = after_a_loss(100, fast_convergence=fast)
        while bench.datagrams < 90:
            bench.round()
        lost_at = bench.datagrams
        bench.lose()
        bench.recover()
        assert bench.datagrams == pytest.approx(lost_at * BETA, abs=0.01)
        steps = []
        for _ in range(60):
            before = bench.datagrams
            bench.round()
            steps.append((bench.datagrams - before, before))
        slowest = min(steps)[1]
        assert slowest == pytest.approx(plateau, abs=1.5)


@pytest.mark.requirement("rfc9438:4.10:1")
def test_slow_start_doubles_the_window_up_to_ssthresh() -> None:
    bench = ControllerBench("cubic", hystart=False)
    bench.round()
    assert bench.datagrams == 20
    assert bench.controller.state == "slow_start"
    bench.lose()
    bench.controller.on_persistent_congestion()
    assert (bench.datagrams, bench.controller.ssthresh) == (2, 14 * SIZE)
    bench.recover()
    bench.round()
    assert bench.datagrams == 4


@pytest.mark.requirement("rfc9438:4.8:1")
def test_after_persistent_congestion_the_curve_starts_where_slow_start_ends() -> None:
    bench = after_a_loss(200)
    bench.lose()
    bench.controller.on_persistent_congestion()
    bench.recover()
    while bench.controller.state == "slow_start":
        bench.round()
    start = bench.datagrams
    at = bench.now
    window_after(bench, 3 * SECOND)
    seconds = (bench.now - at) / SECOND + 0.1
    assert bench.datagrams == pytest.approx(max(start + C * seconds**3, start + ALPHA * 10 * seconds), abs=1.5)


@pytest.mark.requirement("rfc9438:4.10:2")
def test_hystart_is_on_by_default_and_its_end_starts_the_curve() -> None:
    bench = ControllerBench("cubic")
    while bench.controller.state == "slow_start":
        bench.round()
        bench.rtt.update(bench.rtt.latest_rtt_ns + 20 * MS, 0, bench.now)
        assert bench.now < 10 * SECOND
    assert bench.controller.ssthresh is not None
    assert bench.controller.ssthresh <= bench.controller.congestion_window
    before = bench.datagrams
    bench.round()
    assert before < bench.datagrams < before + 1


@pytest.mark.requirement("rfc9002:7.2:4")
def test_the_window_never_falls_below_two_datagrams() -> None:
    bench = after_a_loss(10)
    for _ in range(20):
        bench.lose()
        bench.recover()
    assert bench.datagrams == 2


def test_marks_reduce_the_window_as_a_loss_does_and_once_per_round_trip() -> None:
    bench = after_a_loss(200)
    at = bench.now
    assert bench.controller.on_marked(1, [bench.packet(at - 10)], at)
    assert not bench.controller.on_marked(2, [bench.packet(at - 5)], at + 50 * MS)
    assert bench.datagrams == pytest.approx(200 * BETA * BETA, abs=0.01)
    assert bench.controller.on_marked(1, [bench.packet(at + 1)], at + 101 * MS)
    assert bench.datagrams == pytest.approx(200 * BETA**3, abs=0.01)


@pytest.mark.requirement("rfc9438:4.9.2:3")
def test_a_loss_that_was_none_is_undone() -> None:
    """With the same later windows as if it had never been."""
    bench, other = after_a_loss(100), after_a_loss(100)
    for _ in range(20):
        bench.round()
        other.round()
    lost = bench.lose(3)
    assert bench.controller.state == "recovery"
    assert not bench.controller.on_spurious_loss(lost[1], bench.now)
    assert not bench.controller.on_spurious_loss(lost[0], bench.now)
    assert bench.controller.on_spurious_loss(lost[2], bench.now)
    assert bench.controller.state == other.controller.state == "congestion_avoidance"
    for _ in range(30):
        bench.round()
        other.round()
    assert bench.controller.congestion_window == other.controller.congestion_window


@pytest.mark.requirement("rfc9438:4.9.2:4")
def test_a_loss_is_not_undone_once_the_window_has_passed_it() -> None:
    bench = after_a_loss(20)
    lost = bench.lose()
    bench.recover()
    while bench.datagrams < 22:
        bench.round()
    before = bench.controller.congestion_window
    assert not bench.controller.on_spurious_loss(lost[0], bench.now)
    assert bench.controller.congestion_window == before
