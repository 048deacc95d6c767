"""Rates and outages against their closed forms."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import log, sqrt
from random import Random

import numpy as np

from links import (
    DROPPED,
    Blackout,
    Element,
    Outages,
    Policer,
    Rate,
    RateSchedule,
    Suspension,
    TokenBucket,
    Trace,
)
from links.traces import TRACES
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import bound, datagram

SECOND = 1_000_000_000


def poisson(mean: float, count: int) -> list[int]:
    """Return times (ns) between which exponentially distributed ones of this mean lie."""
    rng = Random(7)
    return list(accumulate(int(-mean * log(1 - rng.random())) for _ in range(count)))


def departures(element: Element, times: Iterable[int], size: int = 1000) -> list[int]:
    """Return when datagrams leave that come at these times."""
    receive, packet = bound(element, 1).receive, datagram(size)
    return [receive(packet, at) for at in times]


def queueing(count: int) -> Iterator[Row]:
    """The M/D/1 queue: with the service time s and the load u the mean wait is s u / (2 (1 - u))."""
    service = 800_000  # 1000 bytes at 10 Mbit/s, ns
    for load in (0.5, 0.8):
        times = poisson(service / load, count)
        waits = np.array(departures(Rate("10Mbps"), times)) - np.array(times) - service
        batches = waits[: count // 50 * 50].reshape(50, -1).mean(axis=1)  # each many busy periods long
        error = STANDARD_ERRORS * float(batches.std()) / sqrt(50)
        expected = service * load / (2 * (1 - load))
        yield Row(f"Rate, M/D/1 at a load of {load}", "mean wait (us)", waits.mean() / 1e3, expected / 1e3, error / 1e3)


def token_bucket(count: int) -> Iterator[Row]:
    """In any interval no more than the burst and the rate's share leave; in the long run exactly the rate."""
    left_at = np.array(departures(TokenBucket("10Mbps", 10_000), poisson(400_000, count)))
    sent = np.arange(count) * 1000  # bytes before each departure
    credit = sent - left_at * 10e6 / 8 / SECOND
    most = float((credit - np.minimum.accumulate(credit)).max()) + 1000  # sent in any interval, beyond the rate
    yield Row("TokenBucket(10 Mbit/s, 10 kB)", "burst (bytes)", most, 10_000, 0.01)
    greedy = departures(TokenBucket("10Mbps", 10_000), [0] * count)
    yield Row("TokenBucket(10 Mbit/s, 10 kB)", "last leaves (s)", greedy[-1] / 1e9, (count - 10) * 0.0008, 1e-9)


def policer(count: int) -> Iterator[Row]:
    """Twice the rate comes: half of it passes, after the burst."""
    passed = sum(at != DROPPED for at in departures(Policer("10Mbps", 10_000), range(0, count * 400_000, 400_000)))
    yield Row("Policer(10 Mbit/s, 10 kB)", "passed", passed, count / 2 + 9.5, 0.5)


def rate_schedule(count: int) -> Iterator[Row]:
    """1 s at 10 Mbit/s and 3 s at 2 Mbit/s are 2 MB in 4 s: the last of `count` kB leaves at a time known exactly."""
    schedule = RateSchedule([("0s", "10Mbps"), ("1s", "2Mbps")], period="4s")
    rounds, rest = divmod(count, 2000)
    expected = rounds * 4 + (rest / 1250 if rest <= 1250 else 1 + (rest - 1250) / 250)
    yield Row("RateSchedule(10, 2 Mbit/s)", "last leaves (s)", departures(schedule, [0] * count)[-1] / 1e9, expected, 0)


def traces(count: int) -> Iterator[Row]:
    """Of full datagrams as many leave as the trace has opportunities, millisecond for millisecond."""
    for name in TRACES:
        trace = Trace(name)
        rounds, rest = divmod(count - 1, len(trace.times))
        expected = (rounds * trace.period + trace.times[rest]) / 1000
        last = departures(trace, [0] * count, size=1500)[-1] / 1e9
        yield Row(f"Trace({name})", "last leaves (s)", last, expected, 0)


def outages(count: int) -> Iterator[Row]:
    """Down for down / (up + down) of the time; datagrams come 1 ms apart, outages average 100 ms."""
    lost = np.array(departures(Outages("300ms", "100ms"), range(0, count * 1_000_000, 1_000_000))) == DROPPED
    turns = count / 400
    error = STANDARD_ERRORS * 0.25 * 0.75 * sqrt(2 / turns)
    yield Row("Outages(300 ms, 100 ms)", "loss rate", float(lost.mean()), 0.25, error)
    starts = np.count_nonzero(lost[1:] & ~lost[:-1])
    mean = np.count_nonzero(lost) / starts
    # Turns that fall between two datagrams go unseen, which lengthens what is seen by about a datagram.
    yield Row("Outages(300 ms, 100 ms)", "mean outage (ms)", mean, 100.5, STANDARD_ERRORS * 100 / sqrt(turns) + 1)


def schedules(count: int) -> Iterator[Row]:
    """A blackout or suspension of 20 ms each 100 ms: a fifth is lost, or waits 10 ms on average."""
    times = range(0, count * 1_000_000, 1_000_000)
    lost = sum(at == DROPPED for at in departures(Blackout("30ms", "20ms", "100ms"), times))
    yield Row("Blackout(20 of 100 ms)", "loss rate", lost / count, 0.2, 20 / count)
    waits = np.array(departures(Suspension("30ms", "20ms", "100ms"), times)) - np.array(times)
    yield Row("Suspension(20 of 100 ms)", "share that waits", np.count_nonzero(waits) / count, 0.2, 20 / count)
    yield Row("Suspension(20 of 100 ms)", "mean wait (ms)", float(waits[waits > 0].mean()) / 1e6, 10.5, 20 / count)


VALIDATIONS = (queueing, token_bucket, policer, rate_schedule, traces, outages, schedules)
