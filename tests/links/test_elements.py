"""When each element lets datagrams go, to the nanosecond, and what it drops."""

from collections.abc import Callable

import pytest

from links import (
    Delay,
    Element,
    Jitter,
    Loss,
    LossEvery,
    LossIf,
    LossNth,
    LossPattern,
    Rate,
    Reorder,
    Slots,
)
from tests.support.wire import bound, datagram, fates

MS = 1_000_000


def test_delay_is_exact() -> None:
    assert Delay("25ms").receive(datagram(), 7) == 25 * MS + 7


@pytest.mark.parametrize(("size", "expected_ns"), [(1200, 984_000), (1252, 1_025_600), (1472, 1_201_600)])
def test_rate_counts_overhead_on_the_wire(size: int, expected_ns: int) -> None:
    assert Rate("10Mbps", overhead=30).receive(datagram(size), 5) == 5 + expected_ns


def test_rate_sends_one_datagram_after_the_other_and_rests_when_idle() -> None:
    rate = Rate("10Mbps")
    assert [rate.receive(datagram(), at) for at in (0, 0, 1_000_000, 10_000_000)] == [
        960_000,
        1_920_000,
        2_880_000,
        10_960_000,
    ]


def test_rate_never_drifts_in_a_million_datagrams() -> None:
    rate = Rate(7_000_003)
    packet = datagram(1201)
    for number in range(1, 1_000_001):
        left_at = rate.receive(packet, 0)
        if number in (1, 2, 3, 999, 1_000_000):
            assert left_at == number * 1201 * 8 * 10**9 // 7_000_003


def test_rate_keeps_the_remainder_when_the_next_comes_just_as_it_falls_idle() -> None:
    rate = Rate(3_000_000_000)
    one = rate.receive(datagram(1), 0)
    assert one == 2  # 2.67 ns
    assert rate.receive(datagram(1), one) == 5  # 5.33 ns


def test_loss_pattern_drops_exactly_the_marked_and_starts_again() -> None:
    assert fates(LossPattern("...xx"), 12) == [4, 5, 9, 10]
    assert fates(LossPattern([0, 0, 0, 1, 1], repeat=False), 12) == [4, 5]


def test_loss_nth_counts_from_one() -> None:
    assert fates(LossNth(2, 3, 7), 12) == [2, 3, 7]


def test_loss_every_drops_every_nth() -> None:
    assert fates(LossEvery(5), 12) == [5, 10]
    assert fates(LossEvery(5, first=2), 12) == [2, 7, 12]
    assert fates(LossEvery(1), 3) == [1, 2, 3]


def test_slots_let_all_go_that_wait() -> None:
    slots = Slots("10ms")
    times = (0, 1, 10 * MS, 10 * MS + 1, 35 * MS)
    assert [slots.receive(datagram(), at) for at in times] == [0, 10 * MS, 10 * MS, 20 * MS, 40 * MS]


def test_a_slot_carries_no_more_than_it_may_but_one_at_least() -> None:
    by_number, by_size = Slots("10ms", packets=2), Slots("10ms", size=2500)
    for slots in (by_number, by_size):
        assert [slots.receive(datagram(), 1) for _ in range(5)] == [10 * MS, 10 * MS, 20 * MS, 20 * MS, 30 * MS]
    assert [Slots("10ms", size=100).receive(datagram(), 1)] == [10 * MS]
    # Who comes later stays behind those that wait already.
    assert by_number.receive(datagram(), 11 * MS) == 30 * MS
    assert by_number.receive(datagram(), 11 * MS) == 40 * MS


def test_random_slots_do_not_depend_on_the_traffic() -> None:
    often, seldom = bound(Slots("2ms", "9ms"), 5), bound(Slots("2ms", "9ms"), 5)
    leave = {at: often.receive(datagram(), at) for at in range(0, 500 * MS, MS)}
    assert {at: seldom.receive(datagram(), at) for at in range(0, 500 * MS, 7 * MS)}.items() <= leave.items()


def test_loss_if_asks_and_counts_under_its_reason() -> None:
    element = LossIf(lambda it: it.id % 5 == 0, reason="every fifth")
    assert fates(element, 12) == [5, 10]
    assert element.dropped == {"every fifth": 2}


def test_loss_is_bernoulli_and_repeats_with_its_seed() -> None:
    first, again, other = (fates(bound(Loss(0.01), seed), 100_000) for seed in (1, 1, 2))
    assert first == again != other
    assert 900 < len(first) < 1100
    assert fates(bound(Loss(0)), 1000) == []
    assert len(fates(bound(Loss(1)), 1000)) == 1000


def test_a_drop_carries_who_and_why() -> None:
    element, packet = bound(LossNth(1)), datagram()
    element.receive(packet, 0)
    assert (packet.dropped_by, packet.drop_reason) == ("link/element", "nth datagram")
    assert (element.received, element.forwarded, element.dropped) == (1, 0, {"nth datagram": 1})


def test_jitter_keeps_order_unless_told_otherwise() -> None:
    in_order = bound(Jitter("5ms"))
    times = [in_order.receive(datagram(), at) for at in range(0, 100 * MS, MS)]
    assert times == sorted(times)
    assert all(at <= left_at <= at + 10 * MS for at, left_at in zip(range(0, 100 * MS, MS), times, strict=True))

    loose = bound(Jitter("5ms", reorder=True))
    times = [loose.receive(datagram(), at) for at in range(0, 100 * MS, MS)]
    assert times != sorted(times)
    assert all(0 <= left_at - at <= 5 * MS for at, left_at in zip(range(0, 100 * MS, MS), times, strict=True))


def test_reorder_holds_back_the_chosen_or_lets_them_overtake() -> None:
    held = bound(Reorder(lambda it: it.id == 2, "5ms"))
    assert [held.receive(datagram(number=n), n) for n in (1, 2, 3)] == [1, 2 + 5 * MS, 3]
    overtaking = bound(Reorder(lambda it: it.id == 2, "5ms", overtake=True))
    assert [overtaking.receive(datagram(number=n), n) for n in (1, 2, 3)] == [1 + 5 * MS, 2, 3 + 5 * MS]
    assert held.reordered == overtaking.reordered == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Delay(0.025),  # type: ignore[arg-type]  # what is refused
            "duration 0.025: must be an int of nanoseconds",
        ),
        (lambda: Delay("25"), "its unit must be one of ns, us"),
        (lambda: Delay(-1), "duration -1: must be"),
        (lambda: Delay("0.5ns"), "must be a whole number of ns"),
        (lambda: Rate("10MB"), "its unit must be one of bps"),
        (lambda: Rate(0), "must be a positive int of bit/s"),
        (lambda: Loss(1.5), "probability 1.5: must be a number from 0 to 1"),
        (lambda: Loss(True), "probability True"),
        (lambda: LossPattern(""), 'must be of "." (pass) and "x" (drop)'),
        (lambda: LossPattern("..y"), 'must be of "." (pass) and "x" (drop)'),
        (lambda: LossNth(0), "counted from 1"),
        (lambda: LossNth(), "counted from 1"),
        (lambda: LossEvery(0), "n 0: must be an int of at least 1"),
        (lambda: LossEvery(3, 0), "first 0: must be an int of at least 1"),
        (lambda: Slots(0), "must be times above 0, the longer one second"),
        (lambda: Slots("2ms", "1ms"), "must be times above 0, the longer one second"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below, as it has brackets
        make()
    assert message in str(caught.value)
