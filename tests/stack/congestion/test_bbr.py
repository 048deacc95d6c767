"""BBR version 3 (draft-ietf-ccwg-bbr): its parts by themselves, and its states on the simulator's links."""

import pytest

from links import Delay, Loss, Rate, RateSchedule, TailDrop
from stack.congestion.bbr_model import (
    INFINITE,
    FullPipe,
    MinRtt,
    PathModel,
    inflight_at_loss,
    is_too_high,
)
from stack.congestion.bbr_states import GAINS, TRANSITIONS
from stack.congestion.delivery_rate import SECOND, DeliveryRateSampler
from tests.support.download import Download

MB = 1_000_000
MS = 1_000_000


def test_the_states_follow_one_another_as_the_draft_says() -> None:
    table = {state.name: {trigger.name: to.name for trigger, to in row.items()} for state, row in TRANSITIONS.items()}
    leave = {"MIN_RTT_DUE": "PROBE_RTT", "SPURIOUS_FULL": "STARTUP"}
    assert table == {
        "STARTUP": {"FULL": "DRAIN", "MIN_RTT_DUE": "PROBE_RTT"},
        "DRAIN": leave | {"DRAINED": "DOWN"},
        "DOWN": leave | {"HEADROOM": "CRUISE", "PROBE": "REFILL", "SPURIOUS_ENOUGH": "REFILL"},
        "CRUISE": leave | {"PROBE": "REFILL", "SPURIOUS_ENOUGH": "REFILL"},
        "REFILL": leave | {"REFILLED": "UP", "PROBE": "REFILL", "SPURIOUS_ENOUGH": "REFILL"},
        "UP": leave | {"ENOUGH": "DOWN", "PROBE": "REFILL"},
        "PROBE_RTT": {"MIN_RTT_KNOWN": "CRUISE", "MIN_RTT_EARLY": "STARTUP"},
    }


def test_the_gains_are_those_of_the_drafts_table() -> None:
    assert {state.name: tuple(gains) for state, gains in GAINS.items()} == {
        "STARTUP": (277, 200),
        "DRAIN": (50, 200),
        "DOWN": (90, 200),
        "CRUISE": (100, 200),
        "REFILL": (100, 200),
        "UP": (125, 225),
        "PROBE_RTT": (100, 50),
    }


def test_three_rounds_without_a_quarter_more_mean_a_full_pipe() -> None:
    pipe = FullPipe()
    for rate in (100, 200, 250, 313):
        pipe.on_round(rate)
        assert not pipe.now
    for rate in (312, 311):
        pipe.on_round(rate)
    assert not pipe.now
    pipe.on_round(300)
    assert pipe.now
    assert pipe.reached
    pipe.reset(300)
    assert not pipe.now
    assert pipe.reached


def test_a_quarter_more_starts_the_count_anew() -> None:
    pipe = FullPipe()
    for rate in (100, 100, 100, 125, 125, 125):
        pipe.on_round(rate)
    assert not pipe.reached
    pipe.on_round(125)
    assert pipe.reached


def test_the_shortest_round_trip_lasts_ten_seconds_and_is_due_after_five() -> None:
    rtt = MinRtt()
    rtt.update(40 * MS, 100 * SECOND)
    rtt.update(50 * MS, 105 * SECOND)
    assert not rtt.probing_due
    rtt.update(50 * MS, 105 * SECOND + 1)
    assert rtt.probing_due
    assert rtt.value_ns == 40 * MS
    rtt.update(45 * MS, 110 * SECOND)
    assert rtt.value_ns == 40 * MS
    rtt.update(47 * MS, 110 * SECOND + 1)
    assert rtt.value_ns == 45 * MS


def test_the_first_sample_is_no_reason_to_probe_whatever_the_clock_says() -> None:
    rtt = MinRtt()
    rtt.update(40 * MS, 1_000_000 * SECOND)
    assert not rtt.probing_due


def test_more_than_two_percent_lost_is_too_much() -> None:
    assert not is_too_high(2_000, 100_000)
    assert is_too_high(2_001, 100_000)


def test_the_volume_at_which_losses_crossed_the_threshold_lies_within_the_packet() -> None:
    """2 % of 102,040 is 2,040: of 100,000 before it nothing was lost, of the packet all."""
    assert inflight_at_loss(110_000, 10_000, 10_000) == pytest.approx(102_040, abs=1)


def test_losses_while_not_probing_bound_the_short_term_model() -> None:
    model = PathModel(DeliveryRateSampler())
    model.max_bw = 1_000_000
    model.note_loss()
    model.end_loss_round(50_000, accelerating=False)
    assert (model.bw_shortterm, model.inflight_shortterm) == (700_000, 35_000)
    model.end_loss_round(50_000, accelerating=False)  # without a loss
    assert (model.bw_shortterm, model.inflight_shortterm) == (700_000, 35_000)
    model.note_loss()
    model.end_loss_round(50_000, accelerating=True)
    assert (model.bw_shortterm, model.inflight_shortterm) == (700_000, 35_000)
    model.reset_short_term()
    assert model.bw_shortterm == INFINITE


# On links of 10 Mbit/s and 40 ms


def path(*queue: object) -> list[object]:
    return [Rate("10Mbps"), *queue, Delay("20ms")]


def test_a_long_flow_starts_drains_probes_and_keeps_the_queue_short() -> None:
    """Nine seconds: the order of the states, one PROBE_RTT after five of them, and a round trip near the shortest."""
    download = Download("bbr", [11 * MB], path, lambda: path(TailDrop("500kB")))
    names = download.state_names()
    # The first DOWN ends with the ACK that began it: DRAIN has emptied the queue
    assert names[:4] == ["drain", "probe_bw_cruise", "probe_bw_refill", "probe_bw_up"]
    assert set(names[4:6]) <= {"probe_bw_down", "probe_bw_cruise"}
    assert names.count("probe_rtt") == 1
    at = next(at for at, state in download.sender.states if state == "probe_rtt")
    assert 5 * SECOND < at < 6 * SECOND
    assert names[names.index("probe_rtt") + 1] == "probe_bw_cruise"
    assert download.connection.stats.packets_lost == 0
    assert download.goodput > 9.0e6
    steady = [metrics.smoothed_rtt_ns for at, metrics in download.sender.metrics if at > 2 * SECOND]
    assert sum(steady) / len(steady) < 60 * MS  # NewReno would fill the 400 ms of queue


def test_one_percent_of_random_loss_costs_little() -> None:
    """NewReno gets about a third of the link there (1.2247·MSS/(RTT·√p) is 3 Mbit/s)."""
    lossy = Download("bbr", [4 * MB], path, lambda: [*path(TailDrop("100kB")), Loss(0.01)], seed=2)
    assert lossy.connection.stats.packets_lost > 20
    assert lossy.goodput > 7.5e6


def test_when_the_bandwidth_grows_it_is_found_by_probing() -> None:
    """From 5 to 20 Mbit/s after two seconds; two cycles later all of it is used."""
    rate = [(0, "5Mbps"), ("2s", "20Mbps")]
    download = Download("bbr", [12 * MB], path, lambda: [RateSchedule(rate), TailDrop("200kB"), Delay("20ms")])
    assert download.seconds < 2 + (12 - 1.2) * 8 / 20 * 1.5


def test_when_the_bandwidth_shrinks_the_estimate_follows() -> None:
    rate = [(0, "20Mbps"), ("2s", "4Mbps")]
    download = Download("bbr", [8 * MB], path, lambda: [RateSchedule(rate), TailDrop("100kB"), Delay("20ms")])
    assert download.seconds < 2 + (8 - 4.5) * 8 / 4 * 1.2
    late = [metrics.bytes_in_flight for at, metrics in download.sender.metrics if at > 6 * SECOND]
    assert sum(late) / len(late) < 80_000


def test_an_application_that_limits_does_not_end_startup() -> None:
    """Answers of 20 kB, one after the other, never fill the path."""
    download = Download("bbr", [20_000] * 10, lambda: [Rate("50Mbps"), Delay("20ms")])
    assert set(download.state_names()) <= {"drain", "startup"}


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = (
        Download("bbr", [MB], path, lambda: [*path(TailDrop("30kB")), Loss(0.02)], seed=5).sim.digest for _ in "ab"
    )
    assert first == second
