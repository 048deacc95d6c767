"""NewReno (RFC 9002 section 7)."""

import pytest

from stack.congestion import check_registered, make_controller
from stack.congestion.controller import CongestionController, initial_window
from stack.errors import ConfigError
from stack.recovery.rtt import RttEstimator
from stack.recovery.sent import SentPacket
from tests.support.paths import make_path

SIZE = 1200
RTT = RttEstimator(333_000_000)
PATH = make_path()


def new_reno() -> CongestionController:
    return make_controller("new_reno", SIZE)


def acked(controller: CongestionController, count: int, sent_at: int, now: int, app_limited: bool = False) -> None:
    """`count` datagrams sent at `sent_at` are acknowledged by one ACK."""
    packets = [SentPacket(number, sent_at, SIZE, True, True, [], PATH) for number in range(count)]
    controller.on_acked(packets, RTT, app_limited, now)


@pytest.mark.requirement("rfc9002:7.2:1")
@pytest.mark.parametrize(("size", "window"), [(1200, 12_000), (1472, 14_720), (1500, 14_720), (9000, 18_000)])
def test_the_initial_window_is_ten_datagrams_within_bounds(size: int, window: int) -> None:
    assert initial_window(size) == window
    assert make_controller("new_reno", size).congestion_window == window


def test_slow_start_grows_by_what_was_acknowledged() -> None:
    controller = new_reno()
    assert controller.state == "slow_start"
    assert controller.ssthresh is None
    acked(controller, 10, 0, 100)
    assert controller.congestion_window == 24_000
    acked(controller, 20, 100, 200)
    assert controller.congestion_window == 48_000


@pytest.mark.requirement("rfc9002:7.3.1:1")
@pytest.mark.requirement("rfc9002:7.3.2:1")
@pytest.mark.requirement("rfc9002:7.3.2:2")
def test_a_loss_ends_slow_start_and_halves_the_window_once_per_round() -> None:
    controller = new_reno()
    acked(controller, 30, 0, 100)
    window = controller.congestion_window
    assert controller.on_congestion(50, 100)
    assert controller.congestion_window == controller.ssthresh == window // 2
    assert controller.state == "recovery"
    assert not controller.on_congestion(60, 110)
    assert not controller.on_congestion(100, 120)
    assert controller.congestion_window == window // 2
    acked(controller, 5, 100, 130)  # sent before recovery began: no growth, and it goes on
    assert controller.state == "recovery"
    assert controller.congestion_window == window // 2
    acked(controller, 1, 101, 200)
    assert controller.state == "congestion_avoidance"
    window = controller.congestion_window
    assert controller.on_congestion(102, 210)
    assert controller.congestion_window == window // 2


@pytest.mark.requirement("rfc9002:7.3.3:1")
def test_congestion_avoidance_adds_one_datagram_per_window() -> None:
    controller = new_reno()
    acked(controller, 10, 0, 100)
    controller.on_congestion(50, 100)
    assert controller.congestion_window == 12_000
    for _ in range(20):
        window = controller.congestion_window
        for _ in range(window // SIZE):
            acked(controller, 1, 200, 300)
        growth = controller.congestion_window - window
        assert 0.9 * SIZE * (window // SIZE * SIZE / window) < growth <= SIZE


def test_one_ack_of_a_whole_window_adds_one_datagram() -> None:
    controller = new_reno()
    controller.on_congestion(50, 100)
    assert controller.congestion_window == 6_000
    acked(controller, 5, 200, 300)
    assert controller.congestion_window == 7_200


@pytest.mark.requirement("rfc9002:7.8:1")
def test_the_window_does_not_grow_while_the_application_is_what_limits() -> None:
    controller = new_reno()
    acked(controller, 10, 0, 100, app_limited=True)
    assert controller.congestion_window == 12_000
    controller.on_congestion(0, 100)
    acked(controller, 50, 200, 300, app_limited=True)
    assert controller.congestion_window == 6_000


@pytest.mark.requirement("rfc9002:7.2:4")
def test_the_window_never_falls_below_two_datagrams() -> None:
    controller = new_reno()
    for now in range(100, 2000, 100):
        controller.on_congestion(now - 1, now)
    assert controller.congestion_window == 2 * SIZE


@pytest.mark.requirement("rfc9002:7.6.2:5")
def test_persistent_congestion_starts_over_from_the_minimum() -> None:
    controller = new_reno()
    acked(controller, 30, 0, 100)
    controller.on_congestion(50, 100)
    ssthresh = controller.ssthresh
    controller.on_persistent_congestion()
    assert controller.congestion_window == 2 * SIZE
    assert controller.ssthresh == ssthresh
    assert controller.state == "slow_start"
    acked(controller, 2, 60, 200)
    assert controller.congestion_window == 4 * SIZE


@pytest.mark.requirement("rfc9002:7.7:1")
def test_pacing_is_twice_the_window_per_round_in_slow_start_and_five_quarters_after() -> None:
    controller = new_reno()
    assert controller.pacing_gain == (2, 1)
    controller.on_congestion(0, 100)
    assert controller.pacing_gain == (5, 4)


def test_an_unknown_controller_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"congestion = 'vegas': must be one of .*new_reno"):
        check_registered("vegas")
