"""Downloads that share a bottleneck."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import quicsim
from links import Delay, Element
from quicsim.series import NS_PER_S

_PORT: Final = 4433


class Flow(NamedTuple):
    """One download: its controller, its round trip without queues, and when it starts."""

    congestion: str
    rtt_ms: float
    start_ms: int = 0


def share(
    sim: quicsim.Simulation, bottleneck: Sequence[Element], flows: Sequence[Flow], seconds: int
) -> list[list[int]]:
    """Let downloads from one server go on until `seconds`; return the bytes that each received in each second.

    `bottleneck` leads from the server to the clients. What is in front of it takes a fourth of the shortest round trip
    each way, and what is behind it the rest. Nothing else limits the flows.
    """
    near_ms = min(flow.rtt_ms for flow in flows) / 4
    sim.router("near")
    sim.router("far")
    sim.link("server", "near", up=[Delay(f"{near_ms}ms")], down=[Delay(f"{near_ms}ms")])
    sim.link("near", "far", up=bottleneck)
    names = [f"client{number}" for number in range(1, len(flows) + 1)]
    for name, flow in zip(names, flows, strict=True):
        far = f"{flow.rtt_ms / 2 - near_ms}ms"
        sim.link("far", name, up=[Delay(far)], down=[Delay(far)])
    ports = {congestion: _PORT + i for i, congestion in enumerate(dict.fromkeys(flow.congestion for flow in flows))}
    for congestion, port in ports.items():
        sim.spawn("server", _server, port, congestion)
    received: list[list[int]] = [[] for _ in flows]
    for name, flow, into in zip(names, flows, received, strict=True):
        sim.spawn(name, _client, ports[flow.congestion], flow.start_ms, into)
    sim.run(until=f"{seconds}s")
    return [(into + [0] * seconds)[:seconds] for into in received]


async def _server(net: quicsim.Net, port: int, congestion: str) -> None:
    listener = await net.listen(port, quicsim.test_certificate(), congestion=congestion)
    while True:
        net.spawn(_serve, await listener.accept())


async def _serve(_: quicsim.Net, connection: quicsim.Connection) -> None:
    stream = await connection.accept_stream()
    await stream.read_all()
    block = bytes(1 << 16)
    while True:
        await stream.write(block)


async def _client(net: quicsim.Net, port: int, start_ms: int, into: list[int]) -> None:
    await net.sleep(f"{start_ms}ms")
    windows: dict[str, Any] = {"initial_max_data": 1 << 40, "initial_max_stream_data_bidi_local": 1 << 40}
    connection = await net.connect("server", port, trust=quicsim.test_certificate(), **windows)
    stream = await connection.open_stream()
    await stream.write(b"go", end=True)
    while True:
        got = len(await stream.read(1 << 16))
        second = net.now // NS_PER_S
        into += [0] * (second + 1 - len(into))
        into[second] += got
