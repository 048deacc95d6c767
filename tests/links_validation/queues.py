"""Queues that manage themselves, at loads that do not give way, against what then must come out."""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import sqrt

import numpy as np

from links import DROPPED, CoDel, DropHead, DualPi2, FqCoDel, Pie, Queue, Rate, Red, TailDrop
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import Wire, bound, datagram

SERVICE = 800_000  # of 1000 bytes at 10 Mbit/s, ns
MS = 1_000_000
ECT_1 = 1


def overloaded(queue: Queue, load: float, count: int, ports: Sequence[int] = (1,)) -> tuple[Wire, list[int]]:
    """Send evenly spaced datagrams to a queue before 10 Mbit/s; return the link and the times of sending."""
    times = [int(n * SERVICE / load) for n in range(count)]
    return Wire(queue, Rate("10Mbps"), seed=1).send(*times, size=1000, ports=ports), times


def waits(wire: Wire, times: list[int]) -> np.ndarray:
    """Return how long those that arrived waited, in ms, without the first tenth of them."""
    arrived = wire.arrivals[len(wire.arrivals) // 10 :]
    return np.array([at - times[number - 1] - SERVICE for number, at in arrived]) / MS


def full_queues(count: int) -> Iterator[Row]:
    """A full queue of 10: at its tail one waits for 9 to 10 to be sent, at its head for 9 to 10 to arrive."""
    load = 1.25
    for queue, low, high in (
        (TailDrop(packets=10), 9 * SERVICE, 10 * SERVICE),
        (DropHead(packets=10), 9 * SERVICE / load, 10 * SERVICE / load),
    ):
        model = f"{type(queue).__name__}(10 datagrams)"
        wire, times = overloaded(queue, load, count)
        yield Row(model, "loss rate", len(wire.losses) / count, 1 - 1 / load, 12 / count)
        middle, half = (low + high) / 2 / MS, (high - low) / 2 / MS
        yield Row(model, "mean wait (ms)", float(waits(wire, times).mean()), middle, half)


def red(count: int) -> Iterator[Row]:
    """At a constant length the distance between drops is uniform from 1 to 1 / chance."""
    queue, rate = Red(0, 18_000, 0.04, weight=1), Rate("10Mbps")
    queue.attach(rate)
    bound(queue, 1)
    packet = datagram(1000)
    distances = []
    now = offered = 0
    since = -1  # the queue must be long enough first
    while offered < count:
        if now:
            offered += 1
            since += 1
        if queue.receive(packet, now) == DROPPED:
            if now and since > 0:
                distances.append(since)
            since = 0
            continue
        rate.receive(packet, now)
        if queue.queued_bytes == 10_000 or now:
            now += SERVICE  # so that the next finds 9 waiting, as one has left
    sample, longest = np.array(distances[1:]), 50
    variance = (longest**2 - 1) / 12
    error = STANDARD_ERRORS * sqrt(variance / len(sample))
    yield Row("Red, chance 0.02", "mean distance of drops", float(sample.mean()), (longest + 1) / 2, error)
    yield Row("Red, chance 0.02", "longest distance", float(sample.max()), longest, 0)
    # The fourth moment of a uniform distribution is 1.8 squared variances.
    error = STANDARD_ERRORS * sqrt(variance) * sqrt(0.8 / len(sample)) / 2
    yield Row("Red, chance 0.02", "deviation of distances", float(sample.std()), sqrt(variance), error)


def codel(count: int) -> Iterator[Row]:
    """Drop n + 1 comes interval (1 + 1/√2 + … + 1/√n) after the first, at the next departure."""
    wire, _ = overloaded(CoDel(packets=None), 1.5, count)
    drops = [at for _, at, _, reason in wire.losses if reason == "CoDel"]
    for number in (10, 100, 1000):
        if number < len(drops):
            expected = 100 * sum(1 / sqrt(n) for n in range(1, number + 1))
            measured = (drops[number] - drops[0]) / MS
            middle = SERVICE / 2 / MS
            yield Row("CoDel, load 1.5", f"drop {number + 1} (ms)", measured, expected + middle, middle * 1.0001)
    if count >= 500_000:
        late = [at for at in drops if at > wire.now // 2]
        share = len(late) / (count / 2)
        yield Row("CoDel, load 1.5", "loss rate, later half", share, 1 / 3, 0.02)


def pie(count: int) -> Iterator[Row]:
    """The excess is dropped, and the delay comes to the target.

    Of the delay at any time, that is: arrivals find it lower by half of what it rises at each, which is a sending over
    the load on average.
    """
    for load in (1.1, 1.25):
        wire, times = overloaded(Pie(), load, count)
        delay, target = waits(wire, times), 15 - SERVICE / MS / load / 2
        batches = delay[: len(delay) // 20 * 20].reshape(20, -1).mean(axis=1)
        error = STANDARD_ERRORS * float(batches.std()) / sqrt(20)
        yield Row(f"Pie, load {load}", "mean wait (ms)", float(delay.mean()), target, max(0.15, error))
        late = sum(number > count // 10 for number, *_ in wire.losses) / (count * 0.9)
        yield Row(f"Pie, load {load}", "loss rate", late, 1 - 1 / load, 0.001 + 20 / sqrt(count) / 10)


def fq_codel(count: int) -> Iterator[Row]:
    """Of ten datagrams at a load of 1.5 one is of each of two sparse flows and eight of a greedy one."""
    wire, times = overloaded(FqCoDel(packets=100), 1.5, count, ports=(1, 2, *[3] * 8))
    lost = [0, 0, 0, 0]
    for number, *_ in wire.losses:
        lost[min(3, (number - 1) % 10 + 1)] += 1
    expected = 1 - (1 / 1.5 - 0.2) / 0.8  # of the greedy flow's datagrams, that which is beyond the rest of the rate
    yield Row("FqCoDel, load 1.5", "loss, sparse flows", (lost[1] + lost[2]) / count * 5, 0, 0)
    yield Row("FqCoDel, load 1.5", "loss, greedy flow", lost[3] / count / 0.8, expected, 200 / count)
    sparse = [at - times[n - 1] - SERVICE for n, at in wire.arrivals if n % 10 in (1, 2)]
    longest = max(islice(sparse, len(sparse) // 10, None)) / SERVICE
    yield Row("FqCoDel, load 1.5", "longest sparse wait (sendings)", longest, 1, 1)

    # Three greedy flows that send 1 : 2 : 3 get the same.
    wire, _ = overloaded(FqCoDel(packets=300), 3, count, ports=(1, 2, 2, 3, 3, 3))
    served = [0, 0, 0]
    for number, _ in wire.arrivals:
        served[(0, 1, 1, 2, 2, 2)[(number - 1) % 6]] += 1
    fairness = sum(served) ** 2 / 3 / sum(one**2 for one in served)
    yield Row("FqCoDel, three greedy flows", "Jain's index", fairness, 1, 20 / sqrt(count) / 100)


def coupling(count: int) -> Iterator[Row]:
    """At a base chance p' that stands still p'² of the classic ones are dropped and 2 p' of the others marked."""
    for base in (0.05, 0.3):
        queue = DualPi2(alpha=0, beta=0, ramp_from="1s", ramp_to="1s", packets=None)
        queue.chance = base
        times = range(0, count * SERVICE, SERVICE)
        wire = Wire(queue, Rate("10Mbps"), seed=1).send(*times, size=1000, ecn=(0, ECT_1))
        model, half = f"DualPi2, p' = {base}", count / 2
        dropped, marked = base**2, 2 * base
        error = STANDARD_ERRORS * sqrt(dropped * (1 - dropped) / half)
        yield Row(model, "loss rate, classic", len(wire.losses) / half, dropped, error)
        error = STANDARD_ERRORS * sqrt(marked * (1 - marked) / half)
        yield Row(model, "marks, low latency", len(wire.congested) / half, marked, error)


def dual_pi2(count: int) -> Iterator[Row]:
    """The classic excess is dropped at a delay of the target; 2 √(p) of a sparse low-latency flow is marked."""
    load, sparse = 1.25, 1 / 20
    codepoints = (ECT_1, *[0] * 19)
    queue = DualPi2(ramp_from="1s", ramp_to="1s")
    times = [int(n * SERVICE / load) for n in range(count)]
    wire = Wire(queue, Rate("10Mbps"), seed=1).send(*times, size=1000, ecn=codepoints)
    classic = load * (1 - sparse)  # of which the rate leaves what the other flow does not take
    chance = 1 - (1 - load * sparse) / classic
    start = count // 10
    late = sum(number > start for number, *_ in wire.losses) / (count - start) / (1 - sparse)
    model = f"DualPi2, load {load}"
    yield Row(model, "loss rate, classic", late, chance, 0.001 + 4 / sqrt(count))
    marked = sum(number > start for number in wire.congested) / ((count - start) * sparse)
    # The chance varies around its mean, whose root is above the mean of the roots; and marks are drawn.
    error = STANDARD_ERRORS * sqrt(0.1 / (count * sparse))
    yield Row(model, "marks, low latency", marked, 2 * sqrt(chance), 0.01 + error)
    arrived = [(number, at - times[number - 1] - SERVICE) for number, at in wire.arrivals if number > start]
    delay = np.array([wait for number, wait in arrived if number % 20 != 1]) / MS
    batches = delay[: len(delay) // 20 * 20].reshape(20, -1).mean(axis=1)
    error = STANDARD_ERRORS * float(batches.std()) / sqrt(20)
    # Updates see the delay at any time; who waited is asked on leaving, having seen it grow by a sending at most.
    yield Row(model, "mean wait, classic (ms)", float(delay.mean()), 15, 1 + error)
    longest = max(wait for number, wait in arrived if number % 20 == 1) / SERVICE
    yield Row(model, "longest wait, l. l. (sendings)", longest, 1, 1)


def dual_pi2_shares(count: int) -> Iterator[Row]:
    """While both queues wait the classic one gets its protected tenth."""
    wire = Wire(DualPi2(alpha=0, beta=0, packets=None), Rate("10Mbps"), seed=1)
    wire.send(*[0] * count, size=1000, ecn=(0, ECT_1))
    both = wire.arrivals[: count // 2]  # until the low-latency queue is empty at the earliest
    served = sum(number % 2 for number, _ in both) / len(both)
    yield Row("DualPi2, both greedy", "share of the classic queue", served, 0.1, 10 / count)


VALIDATIONS = (full_queues, red, codel, pie, fq_codel, coupling, dual_pi2, dual_pi2_shares)
