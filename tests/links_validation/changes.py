"""What changes datagrams, against closed forms: corruption, duplication, ECN marks, limits of size."""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from links import DROPPED, Corrupt, Duplicate, EcnMark, EcnMarkRandom, EcnRemark, Element, Mtu, Rate
from tests.links_validation.rate import poisson
from tests.links_validation.report import STANDARD_ERRORS, Row
from tests.support.wire import Wire, bound, datagram

ECT_0 = 2
CE = 3


def changed(element: Element, count: int, size: int) -> Iterator[bytes]:
    """Yield the payloads of `count` datagrams of zeros behind an element, which drops none."""
    bound(element, 1)
    for now in range(count):
        packet = datagram(size)
        element.receive(packet, now)
        yield packet.payload


def _share(model: str, quantity: str, hits: int, count: int, p: float) -> Row:
    return Row(model, quantity, hits / count, p, STANDARD_ERRORS * sqrt(p * (1 - p) / count))


def _evenly(model: str, quantity: str, hits: np.ndarray) -> Row:
    """Compare hits of each place with the same number of each, by chi squared."""
    mean, freedom = hits.sum() / len(hits), len(hits) - 1
    deviation = float(((hits - mean) ** 2).sum() / mean)
    return Row(model, quantity, deviation, freedom, STANDARD_ERRORS * sqrt(2 * freedom))


def corrupted_bits(count: int) -> Iterator[Row]:
    """How many are changed, and whether each bit is as often as another."""
    model, flipped = "Corrupt(0.5, bits, within 8)", np.zeros(64)
    for payload in changed(Corrupt(0.5, "bits", within=8), count, 100):
        bits = int.from_bytes(payload[:8], "little")
        if bits:
            flipped[bits.bit_length() - 1] += 1
    yield _share(model, "share", int(flipped.sum()), count, 0.5)
    yield _evenly(model, "chi squared of 64 bits", flipped)


def corrupted_bytes(count: int) -> Iterator[Row]:
    """The interop runner's corruption: one of the first 51 bytes, 29.43 % of the datagrams."""
    model, places, values = "Corrupt(0.3, bytes, within 51, burst 3)", np.zeros(51), np.zeros(255)
    for payload in changed(Corrupt(0.3, "bytes", within=51, burst=3), count, 100):
        rest = payload.lstrip(b"\0")
        if rest:
            places[100 - len(rest)] += 1
            values[rest[0] - 1] += 1
    run = 0.3 + 0.3**2 + 0.3**3
    # The cap makes the share vary less than independent draws would.
    yield _share(model, "share", int(places.sum()), count, run / (1 + run))
    yield _evenly(model, "chi squared of 51 places", places)
    yield _evenly(model, "chi squared of 255 values", values)


def cut_off(count: int) -> Iterator[Row]:
    """What is left is of any length from 0 to one less than there were."""
    lengths = np.zeros(100)
    for payload in changed(Corrupt(1, "truncate"), count, 100):
        lengths[len(payload)] += 1
    yield _evenly("Corrupt(1, truncate)", "chi squared of 100 lengths", lengths)


def correlated_corruption(count: int) -> Iterator[Row]:
    p, rho = 0.2, 0.6
    hit = np.fromiter((any(payload) for payload in changed(Corrupt(p, correlation=rho), count, 10)), bool, count)
    model = f"Corrupt({p}, correlation {rho})"
    error = STANDARD_ERRORS * sqrt(p * (1 - p) * (1 + rho) / (1 - rho) / count)
    yield Row(model, "share", float(hit.mean()), p, error)
    runs, expected = np.count_nonzero(hit[1:] & ~hit[:-1]), 1 / ((1 - rho) * (1 - p))
    yield Row(model, "mean run", np.count_nonzero(hit) / runs, expected, STANDARD_ERRORS * expected / sqrt(runs))


def duplication(count: int) -> Iterator[Row]:
    for p, rho in ((0.05, 0.0), (0.2, 0.6)):
        element = Duplicate(p, correlation=rho)
        arrived = len(Wire(element, seed=1).send(*range(count), size=1).arrivals)
        error = STANDARD_ERRORS * sqrt(p * (1 - p) * (1 + rho) / (1 - rho) / count)
        yield Row(f"Duplicate({p}, correlation {rho:g})", "copies for each", arrived / count - 1, p, error)


def marks(count: int) -> Iterator[Row]:
    """A threshold of zero marks whoever has to wait, which of a Poisson stream is the share of the load."""
    load = 0.7
    times = poisson(800_000 / load, count)
    wire = Wire(EcnMark(0), Rate("10Mbps"), seed=1).send(*times, size=1000, ecn=ECT_0)
    batches = np.zeros(count)
    batches[np.array(wire.congested) - 1] = 1
    error = STANDARD_ERRORS * float(batches[: count // 50 * 50].reshape(50, -1).mean(axis=1).std()) / sqrt(50)
    yield Row("EcnMark(0), M/D/1 at a load of 0.7", "share", len(wire.congested) / count, load, error)
    wire = Wire(EcnMarkRandom(0.1), seed=1).send(*range(count), size=1, ecn=(ECT_0, 0))
    yield _share("EcnMarkRandom(0.1), half ECN-capable", "share", len(wire.congested), count, 0.05)
    wire = Wire(EcnRemark("ce", only="ect0"), seed=1).send(*range(count), size=1, ecn=(ECT_0, 1, 0))
    yield Row("EcnRemark(ce, only ect0)", "share", len(wire.congested) / count, 1 / 3, 1 / count)


def limits(count: int) -> Iterator[Row]:
    """Of sizes that are evenly spread those beyond the limit are dropped."""
    receive = bound(Mtu(1500, 28)).receive
    packets = [datagram(size) for size in range(1, 2001)]
    dropped = sum(receive(packets[number % 2000], number) == DROPPED for number in range(count))
    yield Row("Mtu(1500, overhead 28)", "loss rate", dropped / count, 528 / 2000, 2000 / count)


VALIDATIONS = (
    corrupted_bits,
    corrupted_bytes,
    cut_off,
    correlated_corruption,
    duplication,
    marks,
    limits,
)
