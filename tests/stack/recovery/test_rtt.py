"""RTT estimation (RFC 9002 section 5), with the figures worked out by hand."""

import pytest

from stack.recovery.rtt import GRANULARITY_NS, RttEstimator

MS = 1_000_000


def sampled(*samples_ms: tuple[float, float]) -> RttEstimator:
    """An estimator after samples (latest_rtt, ack_delay) in ms."""
    rtt = RttEstimator(333 * MS)
    for latest, delay in samples_ms:
        rtt.update(round(latest * MS), round(delay * MS), 0)
    return rtt


@pytest.mark.requirement("rfc9002:6.2.2:2")
def test_before_any_sample_the_initial_rtt_governs() -> None:
    rtt = RttEstimator(333 * MS)
    assert (rtt.smoothed_rtt_ns, rtt.rttvar_ns) == (333 * MS, 166_500_000)
    assert rtt.pto_ns(0) == 999 * MS
    assert rtt.first_sample_at is None


@pytest.mark.requirement("rfc9002:5.2:1")
def test_the_first_sample_replaces_everything_and_ignores_the_delay() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.update(100 * MS, 20 * MS, 7)
    assert (rtt.min_rtt_ns, rtt.smoothed_rtt_ns, rtt.rttvar_ns) == (100 * MS, 100 * MS, 50 * MS)
    assert rtt.first_sample_at == 7


def test_later_samples_are_smoothed() -> None:
    rtt = sampled((100, 0), (140, 0))
    # rttvar = 3/4 * 50 + 1/4 * |100 - 140|; smoothed = 7/8 * 100 + 1/8 * 140
    assert rtt.rttvar_ns == 47_500_000
    assert rtt.smoothed_rtt_ns == 105 * MS
    assert rtt.latest_rtt_ns == 140 * MS


def test_the_reported_delay_is_taken_off() -> None:
    rtt = sampled((100, 0), (140, 20))
    assert rtt.smoothed_rtt_ns == 102_500_000
    assert rtt.rttvar_ns == 42_500_000


@pytest.mark.requirement("rfc9002:5.3:6")
@pytest.mark.parametrize(("delay", "smoothed"), [(20, 100.0), (21, 102.5)])
def test_the_delay_is_not_taken_off_when_less_than_min_rtt_would_be_left(delay: int, smoothed: float) -> None:
    assert sampled((100, 0), (120, delay)).smoothed_rtt_ns == round(smoothed * MS)


@pytest.mark.requirement("rfc9002:5.2:2")
def test_min_rtt_is_the_least_raw_sample() -> None:
    assert sampled((100, 0), (140, 0)).min_rtt_ns == 100 * MS
    assert sampled((100, 0), (80, 50)).min_rtt_ns == 80 * MS


@pytest.mark.requirement("rfc9002:5.2:5")
def test_larger_samples_never_renew_min_rtt() -> None:
    assert sampled((100, 0), *[(300, 0)] * 1000).min_rtt_ns == 100 * MS


@pytest.mark.requirement("rfc9002:6.2.1:1")
def test_pto_has_a_floor_for_the_variation_and_adds_the_peers_delay() -> None:
    assert sampled((100, 0)).pto_ns(25 * MS) == (100 + 200 + 25) * MS
    steady = sampled(*[(100, 0)] * 60)
    assert steady.rttvar_ns < GRANULARITY_NS // 4
    assert steady.pto_ns(0) == 101 * MS


@pytest.mark.requirement("rfc9002:6.1.2:2")
@pytest.mark.requirement("rfc9002:6.1.2:4")
@pytest.mark.requirement("rfc9002:6.1.2:5")
def test_the_time_threshold_is_nine_eighths_of_the_larger_rtt() -> None:
    assert sampled((80, 0)).loss_delay_ns() == 90 * MS
    assert sampled((80, 0), (160, 0)).loss_delay_ns() == 180 * MS  # latest above smoothed
    assert sampled((80, 0), (40, 0)).loss_delay_ns() == 9 * 75 * MS // 8  # smoothed above latest
    assert sampled((0.1, 0)).loss_delay_ns() == GRANULARITY_NS
