"""What `perf` measures, in simulation, where rates and delays are known."""

from functools import partial

import pytest

import quicsim
from links import Delay, Element, Loss, Rate, TailDrop
from quicsim import Connection, Net, Simulation, perf
from quicsim.net import together
from quicsim.perf import Load, Measurement, Mode

MS = 10**6
SECOND = 10**9


def measure(load: Load, *, loss: float = 0.0, every_ns: int | None = None):
    """Put `load` on a link of 8 Mbit/s and 10 ms; return what was measured, the intervals, and what the server saw."""
    served: list[perf.Served] = []
    lines: list[tuple[int, int, int]] = []

    async def server(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), alpn=(perf.ALPN,), **perf.TAKE_DATAGRAMS)
        await perf.serve(net, listener, served.append)

    async def client(net: Net) -> Measurement:
        measurement = Measurement()
        options = {"alpn": (perf.ALPN,), **perf.TAKE_DATAGRAMS}
        conn: Connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **options)
        if every_ns is not None:
            net.spawn(perf.intervals, measurement, every_ns, lambda *line: lines.append(line))
        await perf.measure(net, conn, load, measurement)
        conn.close()
        await net.sleep("1s")
        return measurement

    def path() -> list[Element]:
        return [Rate("8Mbps"), TailDrop(64_000), Delay("10ms"), Loss(loss)]

    sim = Simulation(seed=5)
    sim.link("alice", "bob", up=path(), down=path())
    sim.spawn("bob", server)
    return sim.run(sim.spawn("alice", client)), lines, served


@pytest.mark.parametrize("mode", [Mode.DOWNLOAD, Mode.UPLOAD])
@pytest.mark.parametrize("streams", [1, 3])
def test_a_number_of_bytes_takes_as_long_as_the_link_does(mode: Mode, streams: int) -> None:
    measurement, _, served = measure(Load(mode=mode, size=2_000_000, streams=streams))
    assert measurement.size == 2_000_000
    assert 2 * SECOND < measurement.duration_ns < 2.4 * SECOND
    assert 6.6e6 < measurement.bits_per_second < 8e6
    header = 8 * streams
    received, sent = (header, 2_000_000) if mode is Mode.DOWNLOAD else (2_000_000 + header, 0)
    assert [(each.client[0], each.received, each.sent) for each in served] == [("10.0.0.1", received, sent)]


@pytest.mark.parametrize("mode", [Mode.DOWNLOAD, Mode.UPLOAD])
def test_a_time_ends_the_transfer(mode: Mode) -> None:
    measurement, lines, _ = measure(Load(mode=mode, duration_ns=3 * SECOND, streams=2), every_ns=SECOND)
    # What an upload has handed over by then still has to arrive
    assert 3 * SECOND <= measurement.duration_ns < (3.1 if mode is Mode.DOWNLOAD else 6) * SECOND
    assert [(since, until) for since, until, _ in lines[:2]] == [(0, SECOND), (SECOND, 2 * SECOND)]
    assert sum(size for *_, size in lines) <= measurement.size
    if mode is Mode.DOWNLOAD:
        assert 0.9e6 < lines[1][2] < 1e6


def test_requests_take_a_round_trip_each() -> None:
    measurement, _, _ = measure(Load(mode=Mode.REQUESTS, count=20, streams=2, response_size=500))
    assert (measurement.sent, len(measurement.latencies_ns), measurement.size) == (20, 20, 10_000)
    assert all(20 * MS < latency < 25 * MS for latency in measurement.latencies_ns)
    assert measurement.duration_ns == pytest.approx(10 * 21 * MS, rel=0.1)


def test_requests_end_in_time() -> None:
    measurement, _, _ = measure(Load(mode=Mode.REQUESTS, duration_ns=SECOND))
    assert SECOND <= measurement.duration_ns < SECOND + 25 * MS
    assert measurement.sent == len(measurement.latencies_ns) > 40


def test_datagrams_come_back_or_get_lost() -> None:
    measurement, _, _ = measure(Load(mode=Mode.DATAGRAMS, count=200, datagram_size=500, interval_ns=5 * MS), loss=0.05)
    answered = len(measurement.latencies_ns)
    assert measurement.sent == 200
    assert 160 < answered < 199
    assert measurement.size == 500 * answered
    assert min(measurement.latencies_ns) > 20 * MS


def test_datagrams_end_in_time() -> None:
    measurement, _, _ = measure(Load(mode=Mode.DATAGRAMS, duration_ns=SECOND, interval_ns=10 * MS))
    assert (measurement.sent, len(measurement.latencies_ns)) == (100, 100)


def test_many_connections_share_the_link() -> None:
    """All are there before the first load begins, and their bytes are counted together."""

    async def server(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), alpn=(perf.ALPN,))
        await perf.serve(net, listener, lambda served: None)

    async def client(net: Net) -> tuple[int, Measurement]:
        parts = [Measurement() for _ in range(20)]
        connect = partial(net.connect, "bob", 4433, trust=quicsim.test_certificate(), alpn=(perf.ALPN,))
        conns = await perf.connect_all(net, connect, parts, at_a_time=4)
        open_before = sum(conn.ended is None for conn in conns)
        load = Load(size=100_000)
        jobs = [partial(perf.measure, net, conn, load, part) for conn, part in zip(conns, parts, strict=True)]
        await together(net, *jobs)
        return open_before, perf.Sum(parts).total()

    sim = Simulation(seed=5)
    path = [[Rate("8Mbps"), TailDrop(64_000), Delay("10ms")] for _ in range(2)]
    sim.link("alice", "bob", up=path[0], down=path[1])
    sim.spawn("bob", server)
    open_before, total = sim.run(sim.spawn("alice", client))
    assert open_before == 20
    assert (total.size, total.done) == (2_000_000, True)
    assert 2 * SECOND < total.duration_ns < 4 * SECOND
    assert 20 * MS < total.handshake_ns < 200 * MS
