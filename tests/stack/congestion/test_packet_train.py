"""What the spacing of one burst's acknowledgments says of a path."""

import pytest

from stack.congestion.packet_train import LONG_RTT_NS, PacketTrain
from stack.recovery.sent import SentPacket
from tests.support.controller_bench import MS, PATH, SIZE, ControllerBench

RTT_NS = 600 * MS


def burst(count: int, sent_at: int = 0) -> list[SentPacket]:
    return [SentPacket(number, sent_at, SIZE, True, True, [], PATH) for number in range(count)]


def windows(packets: list[SentPacket], spacing_ns: int, rtt_ns: int = RTT_NS) -> list[int]:
    """What the train says after each ACK, of two packets; ACKs come `spacing_ns` apart."""
    train = PacketTrain()
    pairs = [packets[index : index + 2] for index in range(0, len(packets), 2)]
    return [train.window(pair, rtt_ns, rtt_ns + index * spacing_ns) for index, pair in enumerate(pairs)]


def test_a_burst_of_ten_shows_half_of_what_the_path_holds() -> None:
    """Two datagrams in each 2 ms are 1.2 MB/s, which is 720 kB in 600 ms."""
    assert windows(burst(10), 2 * MS) == [0, 0, 0, 360_000, 360_000]


def test_a_short_burst_shows_nothing() -> None:
    assert windows(burst(6), 2 * MS) == [0, 0, 0]


def test_packets_sent_at_different_times_are_no_train() -> None:
    packets = [packet for index in range(5) for packet in burst(2, index * MS)]
    assert windows(packets, 2 * MS) == [0] * 5


def test_acknowledgments_that_come_all_at_once_show_nothing() -> None:
    assert windows(burst(10), 0) == [0] * 5


def test_short_paths_are_left_to_slow_start() -> None:
    assert windows(burst(10), 2 * MS, LONG_RTT_NS - 1) == [0] * 5


@pytest.mark.parametrize("name", ["new_reno", "cubic", "prague"])
def test_the_window_leaps_only_in_the_first_slow_start_and_only_if_asked(name: str) -> None:
    for jump_start, again, leaps in ((True, False, True), (False, False, False), (True, True, False)):
        bench = ControllerBench(name, rtt_ms=600, jump_start=jump_start)
        if again:
            bench.lose()
            bench.controller.on_persistent_congestion()
            bench.recover()
        sent_at = bench.now - bench.rtt_ns
        for _ in range(5):
            bench.now += 2 * MS
            bench.ack(2, sent_at=sent_at)
        assert (bench.controller.congestion_window >= 360_000) is leaps
