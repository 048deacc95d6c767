"""Delivery rate samples (draft-ietf-ccwg-bbr section 4.1) and the windowed maximum."""

from hypothesis import given
from hypothesis import strategies as st

from stack.congestion.delivery_rate import DeliveryRateSampler, RateSample
from stack.congestion.windowed_max import WindowedMax
from stack.recovery.sent import SentPacket
from tests.support.controller_bench import MS, PATH, SIZE


class Flow:
    """Packets of 1200 bytes on a path of 50 ms."""

    def __init__(self) -> None:
        self.sampler = DeliveryRateSampler()
        self.in_flight = 0
        self.number = 0

    def send(self, now: int) -> SentPacket:
        packet = SentPacket(self.number, now, SIZE, True, True, [], PATH)
        self.number += 1
        self.in_flight += SIZE
        self.sampler.on_sent(packet, self.in_flight)
        return packet

    def ack(self, packets: list[SentPacket], now: int) -> RateSample:
        self.in_flight -= SIZE * len(packets)
        return self.sampler.on_acked(packets, 50 * MS, now)


def test_a_packet_every_millisecond_is_1_2_megabytes_per_second() -> None:
    flow = Flow()
    sent = [flow.send(index * MS) for index in range(50)]
    for index in range(200):
        now = (index + 50) * MS
        sample = flow.ack([sent[index]], now)
        sent.append(flow.send(now))
    assert sample.rate == 1_200_000
    assert sample.rtt_ns == 50 * MS
    assert sample.newly_acked == SIZE
    assert not sample.app_limited


def test_acknowledgments_that_come_all_at_once_do_not_raise_the_rate() -> None:
    """Forty packets sent over 39 ms and acknowledged together: the time that sending took counts."""
    flow = Flow()
    sent = [flow.send(index * MS) for index in range(40)]
    sample = flow.ack(sent, 120 * MS)
    assert sample.rate == 40 * SIZE * 1000 // 120
    burst = [flow.send(120 * MS) for _ in range(40)]  # acknowledged one by one, a millisecond apart
    rates = [flow.ack([packet], (170 + index) * MS).rate for index, packet in enumerate(burst)]
    assert max(rates) <= 40 * SIZE * 1000 // 89 + 1


def test_an_interval_shorter_than_the_shortest_round_trip_is_no_sample() -> None:
    flow = Flow()
    assert flow.ack([flow.send(0)], 49 * MS).rate == 0


def test_what_is_sent_after_a_pause_is_limited_by_the_application_until_it_has_all_arrived() -> None:
    flow = Flow()
    flow.sampler.on_app_limited(0)
    first, second = flow.send(0), flow.send(1)
    assert flow.ack([first], 50 * MS).app_limited
    third = flow.send(50 * MS)
    assert flow.ack([second], 51 * MS).app_limited
    assert not flow.ack([third], 100 * MS).app_limited


def test_packets_of_other_books_are_delivered_but_say_nothing() -> None:
    flow, other = Flow(), Flow()
    flow.in_flight = SIZE
    sample = flow.ack([other.send(0)], 50 * MS)
    assert (sample.rate, sample.snapshot, flow.sampler.delivered) == (0, None, SIZE)
    bare = SentPacket(0, 0, SIZE, True, True, [], PATH)
    assert flow.sampler.snapshot_of(bare) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), min_size=1), st.integers(1, 12))
def test_the_windowed_maximum_is_that_of_the_last_units(steps: list[tuple[int, int]], length: int) -> None:
    window = WindowedMax()
    seen: list[tuple[int, int]] = []
    time = 0
    for step, value in steps:
        time += step
        seen.append((time, value))
        expected = max(value for at, value in seen if at > time - length)
        assert window.update(value, time, length) == window.value == expected
