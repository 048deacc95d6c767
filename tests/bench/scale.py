"""Many connections in one simulation: what a packet costs among them, and what an idle one holds.

Downloads of 100 kB from one server through one bottleneck, whose rate and queue are in proportion to the clients, so
that each has the same to do among ten as among a thousand. All that arrives is verified by its SHA-256.
"""

import ctypes
import gc
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import process_time
from typing import Final, NamedTuple

from links import Delay, Rate, TailDrop
from quicsim import Connection, Net, Simulation, test_certificate, topology
from quicsim.applications import bulk_client, bulk_server
from quicsim.host import SENT
from tests.bench.report import Row

FEW: Final = 10
MANY: Final = 1_000
SIZE: Final = 100_000  # bytes of a download
MOST_RATIO: Final = 1.3
IDLE: Final = 500  # connections
MOST_MEMORY: Final = 60.0  # kB
PACKET: Final = f"simulated packet, {MANY:,} connections to a server"
MEMORY: Final = "memory of an idle connection, each end"
_SLICE: Final = 20_000_000  # ns of virtual time
_WARM: Final = 50  # connections that are there before memory is measured
_PAGE: Final = 4_096


class Downloads(NamedTuple):
    """What some downloads took: datagrams that hosts sent, and CPU time in s."""

    packets: int
    seconds: float

    @property
    def microseconds_per_packet(self) -> float:
        """CPU time of one datagram with all that belongs to it, handshakes and verification included."""
        return self.seconds * 1e6 / self.packets


def downloads(clients: int) -> Iterator[Downloads]:
    """Let as many clients download at once, and tell after every few milliseconds of virtual time what that took.

    Raises RuntimeError when what one received differs from what was sent.
    """
    sim = Simulation(seed=1)
    names = [f"client{number}" for number in range(clients)]
    bottleneck = [Rate(clients * 1_000_000), TailDrop(clients * 7_500), Delay("20ms")]
    topology.dumbbell(sim, ["server"], names, bottleneck, [Delay("5ms")])
    sent = 0

    def count(_: str, __: int, direction: str, ___: object) -> None:
        nonlocal sent
        sent += direction == SENT

    for name in ("server", *names):
        sim.tap(name, count)
    certificate = test_certificate()
    sim.spawn("server", bulk_server, certificate)
    tasks = [sim.spawn(name, bulk_client, "server", trust=certificate, size=SIZE) for name in names]
    while not all(task.done() for task in tasks):
        before, started_at = sent, process_time()
        sim.run(until=sim.now + _SLICE)
        yield Downloads(sent - before, process_time() - started_at)
    for task in tasks:
        if not task.result().verified:
            raise RuntimeError(f"{task.what} received something else than was sent")


def total(parts: Iterable[Downloads]) -> Downloads:
    """Return what all parts took together."""
    packets, seconds = zip(*parts, strict=True)
    return Downloads(sum(packets), sum(seconds))


def idle_memory() -> float:
    """Return the kB of this process that one end of an idle connection takes: half of both, which share it.

    Counted is all that the process holds more: at the client each has an endpoint, a socket and a port of its own.
    """
    sim = Simulation(seed=1)
    topology.star(sim, ["client", "server"], [Delay("5ms")])
    certificate = test_certificate()
    held: list[Connection] = []

    async def server(net: Net) -> None:
        listener = await net.listen(4433, certificate)
        while True:
            held.append(await listener.accept())

    async def client(net: Net) -> None:
        held.append(await net.connect("server", 4433, trust=certificate, max_idle_timeout_ms=600_000))

    sim.spawn("server", server)

    def connect(count: int) -> int:
        for _ in range(count):
            sim.run(sim.spawn("client", client))
        sim.run(until=sim.now + 1_000_000_000)
        return _resident()

    before = connect(_WARM)
    after = connect(IDLE)
    if any(connection.ended is not None for connection in held):
        raise RuntimeError("a connection that was to be idle has ended")
    return (after - before) / IDLE / 2 / 1e3


def among_many() -> Row:
    """Return what a packet costs among many connections, beside 1.3 times of what it costs among few.

    The few run again and again between parts of the many, so that a change of the machine's speed hits both, and in a
    process of their own, so that their memory is not scattered among that of the many.
    """
    many, few = [], []
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        other.submit(_few).result()  # not counted: it has yet to import and to warm up
        gc.collect()
        for part in downloads(MANY):
            many.append(part)
            few.append(other.submit(_few).result())
    cost, limit = total(many).microseconds_per_packet, MOST_RATIO * total(few).microseconds_per_packet
    return Row(PACKET, round(cost, 2), round(limit, 2), f"{MOST_RATIO} × {FEW}", "µs", round(limit / cost, 2))


def _few() -> Downloads:
    return total(downloads(FEW))


def _resident() -> int:
    """Return the bytes of memory that this process holds, after it gave back what it does not need (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE
