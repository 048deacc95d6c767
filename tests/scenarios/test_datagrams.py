"""Datagrams and a bulk transfer that share a bottleneck."""

from typing import Any

import pytest

import quicsim
from links import Delay, Loss, Rate, TailDrop
from quicsim import Connection, Net, Simulation
from stack.errors import ConnectionClosed

TAKES = {"max_datagram_frame_size": 65_535}
DATAGRAM = 1_000  # bytes
RATE = 4_000_000  # bit/s
MS = 1_000_000
SECOND = 1_000_000_000


async def transfer(net: Net, conn: Connection, size: int) -> int:
    """Send `size` bytes on a stream; return how long it took until all was acknowledged, in ns."""
    started_at = net.now
    stream = await conn.open_stream(unidirectional=True)
    await stream.write(bytes(size), end=True)
    await stream.wait_sent()
    return net.now - started_at


async def stream_of_datagrams(net: Net, conn: Connection, interval: int, until: int) -> int:
    """Send a datagram every `interval` ns, each only within 200 ms; return how many."""
    count = 0
    while net.now < until:
        conn.send_datagram(net.now.to_bytes(8) + bytes(DATAGRAM - 8), expires_at=net.now + 200 * MS)
        count += 1
        await net.sleep(interval)
    return count


def share(interval: int, size: int, loss: float = 0.0) -> tuple[int, int, list[int]]:
    """Run both over one bottleneck; return the transfer's duration, the datagrams sent, and the latencies in ns."""
    sim = Simulation(seed=11, check=True)
    up = [Rate("4Mbps"), TailDrop(20_000), Delay("20ms"), Loss(loss)]
    sim.link("alice", "bob", up=up, down=[Delay("20ms")])
    latencies: list[int] = []

    async def take_datagrams(net: Net, conn: Connection) -> None:
        try:
            while True:
                latencies.append(net.now - int.from_bytes((await conn.receive_datagram())[:8]))
        except ConnectionClosed:
            return

    async def server(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), **TAKES)
        conn = await listener.accept()
        net.spawn(take_datagrams, conn)
        while True:
            try:
                await (await conn.accept_stream()).read_all()
            except ConnectionClosed:
                return

    async def client(net: Net) -> tuple[int, int]:
        conn = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **TAKES)
        sending = net.spawn(stream_of_datagrams, conn, interval, net.now + 10 * SECOND)
        duration = await net.spawn(transfer, conn, size)
        count = await sending
        await net.sleep("1s")
        conn.close()
        return duration, count

    sim.spawn("bob", server)
    result: Any = sim.run(sim.spawn("alice", client), until="120s")
    return (*result, latencies)


@pytest.mark.parametrize("loss", [0.0, 0.002])
def test_a_steady_stream_of_datagrams_gets_through_beside_a_bulk_transfer(loss: float) -> None:
    interval = 20 * MS  # a tenth of the bottleneck
    duration, sent, latencies = share(interval, 4_000_000, loss)
    assert sent == 500
    assert len(latencies) > 0.93 * sent
    assert max(latencies) < (20 + 200 + 60) * MS  # propagation, waiting to be sent, the bottleneck's queue
    capacity_ns = 8 * 4_000_000 * SECOND // RATE
    assert capacity_ns < duration < 1.8 * capacity_ns


def test_neither_starves_when_both_want_more_than_there_is() -> None:
    interval = 1 * MS  # twice the bottleneck
    duration, sent, latencies = share(interval, 2_000_000)
    in_datagrams = len(latencies) * DATAGRAM / 10
    in_streams = 2_000_000 * SECOND / duration
    assert sent == 10_000
    assert 0.35 * RATE / 8 < in_datagrams < 0.8 * RATE / 8
    assert 0.35 * RATE / 8 < in_streams < 0.65 * RATE / 8
