"""Transfers over random networks, with random controllers and options of the stack.

`python -m tests.support.random_networks FIRST LAST` prints as JSON what comes of those seeds, and whether the stack is
compiled. It needs nothing but what the program itself needs.
"""

import json
import sys
from random import Random
from typing import Final, NamedTuple

import quicsim
from links import Delay, Duplicate, EcnRemark, Element, Jitter, Loss, Mtu, Rate, ReorderDepth, TailDrop
from quicsim.summary import is_compiled
from stack.errors import ConnectionClosed

CONTROLLERS: Final = ["new_reno", "cubic", "bbr", "prague"]


class Transfer(NamedTuple):
    """What came of one."""

    equal: list[bool]  # by stream, whether what came back was right
    digest: str


def _random_link(rng: Random) -> list[Element]:
    elements: list[Element] = []
    if rng.random() < 0.7:
        elements += [Rate(rng.choice(["1Mbps", "10Mbps", "100Mbps"])), TailDrop(rng.choice([8_000, 32_000, 100_000]))]
    elements.append(Delay(f"{rng.choice([1, 10, 50, 300])}ms"))
    if rng.random() < 0.8:
        elements.append(Loss(rng.choice([0.001, 0.01, 0.05, 0.15, 0.3])))
    if rng.random() < 0.4:
        elements.append(Jitter(f"{rng.choice([1, 10, 50])}ms", reorder=True))
    if rng.random() < 0.3:
        elements.append(ReorderDepth(0.1, rng.choice([1, 3, 8])))
    if rng.random() < 0.3:
        elements.append(Duplicate(rng.choice([0.01, 0.1])))
    if rng.random() < 0.2:
        elements.append(Mtu(rng.choice([1480, 1500])))
    if rng.random() < 0.2:
        elements.append(EcnRemark(rng.choice(["not-ect", "ect1", "ce"])))
    return elements


def _random_options(rng: Random) -> dict[str, object]:
    return {
        "initial_max_data": rng.choice([3_000, 50_000, 1 << 20]),
        "initial_max_stream_data_bidi_local": rng.choice([2_000, 30_000, 1 << 20]),
        "initial_max_stream_data_bidi_remote": rng.choice([2_000, 30_000, 1 << 20]),
        "initial_max_streams_bidi": rng.choice([1, 3, 100]),
        "connection_id_length": rng.choice([0, 2, 4, 8, 20]),
        "confidentiality_limit": rng.choice([None, None, 5_000]),
        "path_mtu_discovery": rng.random() < 0.3,
        "ack_frequency": rng.random() < 0.3,
        "ecn": rng.random() < 0.8,
        "keep_alive_ms": rng.choice([0, 0, 500]),
        "max_stream_data_window": rng.choice([0, 16 << 20]),
        "send_buffer": rng.choice([1_500, 20_000, 1 << 20]),
        "max_ack_delay_ms": rng.choice([1, 25, 100]),
        "ack_delay_exponent": rng.choice([0, 3, 10]),
        "initial_rtt_ms": rng.choice([50, 333]),
        "datagram_size": rng.choice([1200, 1350, 1452]),
        "pacing": rng.random() < 0.7,
        "max_idle_timeout_ms": 0,
        "congestion": rng.choice(CONTROLLERS),
        "hystart": rng.choice([None, False, True]),
        "initial_window": rng.choice([None, None, 3_000, 60_000]),
    }


async def _reversing_server(net: quicsim.Net, options: dict[str, object]) -> None:
    listener = await net.listen(4433, quicsim.test_certificate(), **options)
    connection = await listener.accept()

    async def answer(_: quicsim.Net, stream: quicsim.Stream) -> None:
        data = await stream.read_all()
        await stream.write(data[::-1], end=True)

    while True:
        try:
            stream = await connection.accept_stream()
        except ConnectionClosed:
            return
        net.spawn(answer, stream)


async def _client(net: quicsim.Net, options: dict[str, object], streams: int, size: int) -> list[bool]:
    connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **options)

    async def ask(_: quicsim.Net, number: int) -> bool:
        stream = await connection.open_stream()
        data = Random(number).randbytes(size)
        await stream.write(data, end=True)
        return await stream.read_all() == data[::-1]

    asked = [net.spawn(ask, number) for number in range(streams)]
    equal = [await task for task in asked]
    connection.close()
    return equal


def transfer(seed: int) -> Transfer:
    """Send random bytes on some streams to a server that sends them back in reverse, while invariants are checked."""
    rng = Random(seed)
    sim = quicsim.Simulation(seed=seed, check=True)
    sim.link("alice", "bob", up=_random_link(rng), down=_random_link(rng))
    extras = {"loss_tolerance": 0.05, "jump_start": True} if seed % 5 == 1 else {}
    sim.spawn("bob", _reversing_server, _random_options(rng) | extras)
    streams, size = rng.choice([1, 3, 8]), rng.choice([100, 5_000, 100_000])
    asking = sim.spawn("alice", _client, _random_options(rng) | extras, streams, size)
    return Transfer(sim.run(asking, until="3000s"), sim.digest)


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    print(json.dumps({"compiled": is_compiled(), "transfers": [transfer(seed) for seed in range(first, last)]}))
