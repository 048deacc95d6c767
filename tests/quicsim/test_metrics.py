"""Metrics and the fan-out of observers, told what a stack would tell."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicsim.metrics import MetricsObserver, rate_over_time
from quicsim.observers import Observers, Silent
from quicsim.series import Series
from stack.observer import ConnectionObserver, PacketInfo, RecoveryMetrics
from stack.wire.frames import encode_stream_header

MS = 1_000_000


def stream_packet(offset, length, stream_id=0):
    payload = encode_stream_header(stream_id, offset, length, False) + bytes(length)
    return PacketInfo("1RTT", 0, 0, b"", b"", b"", 0, 0, length + 30, payload)


def recovery(window=12_000, latest=0, smoothed=333 * MS, lowest=0, in_flight=0):
    return RecoveryMetrics(lowest, smoothed, latest, 1, 0, window, in_flight, None, 0, None)


def connection(now=0):
    observer = MetricsObserver("alice")
    observer.connection(now, "client", b"\x01\x02")
    return observer.connections[0]


def test_a_series_gives_columns():
    series = Series("a", "b")
    series.append(1_500_000_000, 2, 3)
    series.append(2_000_000_000, 4, 5)
    assert len(series) == 2
    assert series["b"].tolist() == [3, 5]
    assert series.seconds.tolist() == [1.5, 2.0]


def test_a_series_says_which_columns_it_has():
    with pytest.raises(KeyError, match="must be one of time, a, b"):
        Series("a", "b")["c"]


def test_a_series_refuses_rows_of_another_length():
    with pytest.raises(ValueError, match="zip"):
        Series("a", "b").append(0, 1)


def test_retransmissions_are_told_from_what_is_sent_first():
    metrics = connection()
    for offset, length in ((0, 100), (100, 100), (50, 100), (150, 100)):
        metrics.packet_sent(1, stream_packet(offset, length))
    assert metrics.sent["retransmitted"].tolist() == [0, 0, 100, 50]
    assert metrics.stream_bytes_sent == 400
    assert metrics.stream_bytes_retransmitted == 150


def test_streams_are_kept_apart():
    metrics = connection()
    metrics.packet_sent(1, stream_packet(0, 100, 0))
    metrics.packet_sent(1, stream_packet(0, 100, 4))
    assert metrics.stream_bytes_retransmitted == 0


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=30))
def test_received_bytes_count_once_in_whatever_order_they_come(ranges):
    metrics = connection()
    arrived = set()
    for offset, length in ranges:
        metrics.packet_received(1, stream_packet(offset, length))
        arrived.update(range(offset, offset + length))
        assert metrics.stream_bytes_received == len(arrived)
    assert metrics.received["new"].sum() == len(arrived)


def test_frames_that_can_not_be_decoded_are_left_out():
    metrics = connection()
    metrics.packet_received(1, stream_packet(0, 1)._replace(payload=b"\x40"))
    assert (metrics.packets_received, metrics.stream_bytes_received) == (1, 0)


def test_a_summary_of_a_sender_and_a_receiver():
    metrics = connection(now=1000 * MS)
    metrics.metrics_updated(1000 * MS, recovery(10_000))
    metrics.metrics_updated(1050 * MS, recovery(10_000, 50 * MS, 50 * MS, 50 * MS))
    metrics.metrics_updated(1150 * MS, recovery(20_000, 70 * MS, 60 * MS, 50 * MS))
    metrics.metrics_updated(1200 * MS, recovery(5_000, 60 * MS, 61 * MS, 50 * MS))
    metrics.packet_lost(1200 * MS, "1RTT", 7, 1200, "time_threshold")
    metrics.packet_received(1100 * MS, stream_packet(0, 1000))
    metrics.packet_received(1500 * MS, stream_packet(1000, 1000))
    summary = metrics.summary(2000 * MS)
    assert summary.duration == 500 * MS
    assert summary.goodput == 8 * 2000 / 0.5
    assert (summary.packets_received, summary.packets_lost) == (2, 1)
    assert (summary.min_rtt, summary.max_rtt) == (50 * MS, 70 * MS)
    assert summary.mean_rtt == pytest.approx((100 * 50 + 50 * 60) / 150 * MS)
    assert summary.mean_congestion_window == pytest.approx((150 * 10_000 + 50 * 20_000) / 200)
    assert summary.max_congestion_window == 20_000


def test_a_summary_of_a_connection_that_never_was():
    summary = connection().summary(10 * MS)
    assert summary.duration == 10 * MS
    assert summary.goodput is summary.min_rtt is summary.mean_rtt is summary.mean_congestion_window is None


def test_rates_are_bits_per_second_in_each_interval():
    times = np.array([0, 5 * MS, 25 * MS], dtype=np.int64)
    middles, rates = rate_over_time(times, np.array([10, 20, 30], dtype=np.int64), 10 * MS)
    assert middles.tolist() == pytest.approx([0.005, 0.015, 0.025])
    assert rates.tolist() == pytest.approx([8 * 30 / 0.01, 0.0, 8 * 30 / 0.01])


def test_rates_of_nothing():
    nothing = np.array([], dtype=np.int64)
    assert [len(column) for column in rate_over_time(nothing, nothing, 10)] == [0, 0]


class Recorder(Silent):
    """Keeps what two hooks are told."""

    def __init__(self):
        self.calls = []

    def alpn_selected(self, *arguments):
        self.calls.append(arguments)

    def connection_closed(self, *arguments):
        self.calls.append(arguments)


class Factory:
    def __init__(self, watcher):
        self.watcher = watcher

    def connection(self, now, role, original_destination_cid):
        return self.watcher


def hooks():
    return [name for name, _ in inspect.getmembers(ConnectionObserver, inspect.isfunction) if not name.startswith("_")]


def test_the_fan_out_has_every_hook_and_calls_each_observer_in_order():
    first, second = Recorder(), Recorder()
    watcher = Observers([Factory(first), Factory(None), Factory(second)]).connection(0, "client", b"")
    for hook in hooks():
        getattr(watcher, hook)(1, hook)
    assert first.calls == second.calls == [(1, "alpn_selected"), (1, "connection_closed")]


def test_a_silent_observer_takes_every_hook():
    for hook in hooks():
        getattr(Silent(), hook)(1, 2, 3)


def test_a_lone_observer_stands_for_itself_and_none_for_none():
    recorder = Recorder()
    assert Observers([Factory(None), Factory(recorder)]).connection(0, "client", b"") is recorder
    assert Observers([Factory(None)]).connection(0, "client", b"") is None
