"""A path that holds more than the first windows and send buffers do."""

import quicsim
from links import Delay, Rate
from quicsim.net import Net

SECOND = 1_000_000_000
RATE = 20_000_000  # bit/s; with a second of round-trip time 2.5 MB are on the way
SIZE = 20_000_000


def test_one_stream_fills_a_path_of_2_5_megabytes() -> None:
    arrived: list[tuple[int, int]] = []

    async def server(net: Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate())
        stream = await (await listener.accept()).accept_stream()
        total = 0
        while data := await stream.read():
            total += len(data)
            arrived.append((net.now, total))

    async def client(net: Net) -> None:
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream(unidirectional=True)
        await stream.write(bytes(SIZE), end=True)
        await stream.wait_sent()

    sim = quicsim.Simulation(seed=1, check=True)
    sim.link("alice", "bob", up=[Rate("20Mbps"), Delay("500ms")], down=[Delay("500ms")])
    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client))
    assert arrived[-1][1] == SIZE
    # Slow start has reached the path's capacity after 12 s
    (start, before) = next(entry for entry in arrived if entry[0] >= 12 * SECOND)
    end, after = arrived[-1]
    assert end - start > 2 * SECOND
    assert (after - before) * 8 * SECOND > 0.9 * RATE * (end - start)
