"""Rare losses that reduce no window, where a path has them anyway."""

import pytest

from stack.congestion.loss_tolerance import MEMORY, LossTolerance
from stack.errors import ConfigError
from tests.support.controller_bench import SIZE, ControllerBench
from tests.support.pair import Pair

WINDOW_CONTROLLERS = ["cubic", "new_reno", "prague"]


def test_a_share_of_what_was_sent_is_borne_and_more_is_not() -> None:
    """With 5 %, all is well while 1 in 40 is lost, however long, and not any more soon after it is 1 in 10."""
    tolerance = LossTolerance(0.05)
    for _ in range(1000):
        tolerance.on_acked(39 * SIZE)
        assert tolerance.bears(SIZE)
    borne = 0
    while tolerance.bears(SIZE):
        borne += 1
        tolerance.on_acked(9 * SIZE)
    assert 5 <= borne <= 20


def test_what_is_known_to_be_little_counts_as_half_of_the_memory() -> None:
    """The first losses are no share of anything: as many are borne as of 262,144 bytes."""
    tolerance = LossTolerance(0.05)
    assert tolerance.bears(MEMORY // 40)
    assert not tolerance.bears(1)


def test_counting_starts_over_after_a_reduction() -> None:
    tolerance = LossTolerance(0.05)
    assert not tolerance.bears(MEMORY)
    assert tolerance.bears(MEMORY // 40)


@pytest.mark.parametrize("name", WINDOW_CONTROLLERS)
def test_the_window_stands_rare_losses_and_slow_start_goes_on(name: str) -> None:
    bench = ControllerBench(name, loss_tolerance=0.05, hystart=False)
    for _ in range(5):
        bench.round()
        bench.lose()
    assert bench.datagrams == 10 * 2**5
    assert bench.controller.ssthresh is None


@pytest.mark.parametrize("name", WINDOW_CONTROLLERS)
def test_the_window_is_reduced_once_for_losses_that_are_too_many(name: str) -> None:
    """What else is lost of the same round trip neither reduces again nor counts for the next time."""
    bench = ControllerBench(name, loss_tolerance=0.05, initial_window=100 * SIZE)
    sent_at = bench.now - 1
    bench.lose(100, sent_at=sent_at)
    reduced = bench.controller.congestion_window
    assert reduced == bench.controller.ssthresh == bench.controller.loss_reduction * 100 * SIZE
    bench.lose(1000, sent_at=sent_at)
    bench.recover()
    bench.lose()
    assert bench.controller.congestion_window == reduced


def test_a_reduction_is_not_undone() -> None:
    """Packets that come late after all may be any of those lost until then."""
    bench = ControllerBench("cubic", loss_tolerance=0.05, initial_window=100 * SIZE)
    lost = bench.lose(100)
    assert not any(bench.controller.on_spurious_loss(packet, bench.now) for packet in lost)
    assert bench.datagrams == 70


@pytest.mark.parametrize("name", WINDOW_CONTROLLERS)
def test_marks_reduce_the_window_as_ever(name: str) -> None:
    """A network that marks says itself that it is congested."""
    bench = ControllerBench(name, loss_tolerance=0.5, initial_window=100 * SIZE)
    assert bench.controller.on_marked(1, [bench.packet(bench.now - 1)], bench.now)
    assert bench.datagrams < 100


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_shares_that_make_no_sense_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"loss_tolerance = {share}: must be from 0 to 0.5"):
        Pair(client={"loss_tolerance": share})
