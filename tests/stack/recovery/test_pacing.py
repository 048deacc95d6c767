"""The pacer: exact rate, bounded bursts (RFC 9002 section 7.7)."""

import pytest

from stack.recovery.pacing import MAX_BURST_DATAGRAMS, Pacer

SIZE = 1200
BURST = 10 * SIZE
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    "rate",
    [
        (7, 1_000_003),  # 56 kbit/s
        (123_457, 1_000_000_007),  # 1 Mbit/s
        (12_345_679, 987_654_321),  # 100 Mbit/s
        (124_999_999, 1_000_000_001),  # 1 Gbit/s
        (3, 7),  # 3.4 Gbit/s
    ],
)
def test_the_rate_is_exact_over_many_packets(rate: tuple[int, int]) -> None:
    """Whenever a packet may go, everything sent is what the rate has yielded, but for one ns's worth of rounding."""
    bytes_, ns = rate
    pacer = Pacer(SIZE)
    now, count = 0, 0
    while count < 100_000:
        if pacer.available(rate, now) >= SIZE:
            pacer.on_sent(SIZE, now)
            count += 1
        else:
            at = pacer.ready_at(SIZE, rate)
            assert at > now
            now = at
            assert pacer.available(rate, now) >= SIZE, "ready_at tells when it really may go"
    # The last packet may go at the first ns at which the burst and what the rate yields since 0 cover all packets.
    exact = -(-(count * SIZE - BURST) * ns // bytes_)
    assert exact <= now <= exact + 1


@pytest.mark.requirement("rfc9002:7.7:2")
@pytest.mark.requirement("rfc9002:7.7:3")
def test_a_burst_is_an_initial_window_at_most_however_long_the_pause() -> None:
    rate = (1_250_000, SECOND)  # 10 Mbit/s: a millisecond is less than an initial window
    pacer = Pacer(SIZE)
    for now in (0, 3600 * SECOND):
        sent = 0
        while pacer.available(rate, now) >= SIZE:
            pacer.on_sent(SIZE, now)
            sent += SIZE
        assert sent == BURST
        assert now < pacer.ready_at(SIZE, rate) <= now + 960_000


def test_at_high_rates_a_burst_is_a_millisecond_and_never_above_the_cap() -> None:
    for gigabits, datagrams in ((0.5, 52), (100, MAX_BURST_DATAGRAMS)):
        rate = (int(gigabits * 125_000_000), SECOND)
        pacer = Pacer(SIZE)
        pacer.available(rate, 0)
        pacer.on_sent(BURST, 0)
        assert pacer.available(rate, SECOND) // SIZE == datagrams


def test_what_pacing_does_not_hold_back_is_made_up_for() -> None:
    rate = (1_200_000, SECOND)  # one datagram each ms
    pacer = Pacer(SIZE)
    for _ in range(12):  # two more than the bucket has, such as probes
        pacer.on_sent(SIZE, 0)
    assert pacer.available(rate, 0) == -2 * SIZE
    assert pacer.ready_at(SIZE, rate) == 3_000_000
