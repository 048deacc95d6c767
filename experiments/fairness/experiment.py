"""Two downloads over one bottleneck: how they share it with the same round trip, and with different ones."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

import quicsim
from links import Delay, Rate, TailDrop
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, Result
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATE: Final = 1_500_000  # bit/s
_BASE_MS: Final = 80  # round trip of the shorter way
_BDPS: Final = 1.5  # size of the queue, in bandwidth-delay products
_SECONDS: Final = 200
_WARM_UP: Final = 20  # seconds that are not counted
_NAMES: Final = {"new_reno": "NewReno", "cubic": "CUBIC", "bbr": "BBR", "prague": "Prague"}
_LEAST_JAIN: Final = {"new_reno": 0.98, "cubic": 0.97}
_JAIN: Final = "Jain, Chiu, Hawe 1984: (Σx)² / (n Σx²); equal flows converge, Chiu and Jain 1989"
_RATIO: Final = "Lakshman and Madhow 1997: shares go with RTT⁻ᵃ, 1 ≤ a ≤ 2, for halving"


def measure(congestion: str, rtt_ratio: float, seed: int) -> Measured:
    """Let two downloads share 1.5 Mbit/s for 200 s; the second one's way is `rtt_ratio` times as long.

    The second begins within two seconds of the first, as the seed says. Returns the bytes that each got per second.
    """
    sim = quicsim.Simulation(seed)
    queue = round(_BDPS * _RATE / 8 * _BASE_MS / 1000)
    sim.router("near")
    sim.router("far")
    sim.link("server", "near", up=[Delay(f"{_BASE_MS // 4}ms")], down=[Delay(f"{_BASE_MS // 4}ms")])
    sim.link("near", "far", up=[Rate(_RATE), TailDrop(queue)])
    ways = {"first": _BASE_MS / 4, "second": _BASE_MS / 4 + _BASE_MS / 2 * (rtt_ratio - 1)}
    for host, delay in ways.items():
        sim.link("far", host, up=[Delay(f"{delay}ms")], down=[Delay(f"{delay}ms")])
    received: dict[str, list[int]] = {host: [] for host in ways}  # bytes in each second
    # No limit but congestion control; the initial window belongs to the network, as a tenth of its capacity
    windows: dict[str, Any] = {"initial_max_data": 1 << 30, "initial_max_stream_data_bidi_local": 1 << 30}

    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), congestion=congestion)
        while True:
            net.spawn(serve, await listener.accept())

    async def serve(_: quicsim.Net, connection: quicsim.Connection) -> None:
        stream = await connection.accept_stream()
        await stream.read_all()
        await stream.write(bytes(_RATE // 8 * _SECONDS * 2))  # more than the time is enough for

    async def client(net: quicsim.Net, into: list[int], start_ms: int) -> None:
        await net.sleep(f"{start_ms}ms")
        connection = await net.connect("server", 4433, trust=quicsim.test_certificate(), **windows)
        stream = await connection.open_stream()
        await stream.write(b"go", end=True)
        while True:
            got = len(await stream.read(1 << 16))
            second = net.now // 1_000_000_000
            into += [0] * (second + 1 - len(into))
            into[second] += got

    sim.spawn("server", server)
    for number, host in enumerate(ways):
        sim.spawn(host, client, received[host], number * Random(seed).randrange(2_000))
    sim.run(until=f"{_SECONDS}s")
    return {"rates": [received[host][:_SECONDS] for host in ways]}


def _shares(result: Result) -> list[float]:
    """Bytes per second of each flow, after the start."""
    return [sum(rates[_WARM_UP:]) / (_SECONDS - _WARM_UP) for rates in result.measured["rates"]]


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 for equal shares, 1/n when one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def judge(results: Sequence[Result]) -> list[Check]:
    """Jain's index of every seed; with different round trips the ratio of the shares."""
    checks = []
    for congestion in dict.fromkeys(row.case["congestion"] for row in results):
        name = _NAMES[congestion]
        equal = [row for row in results if row.case["congestion"] == congestion and row.case["rtt_ratio"] == 1]
        if equal:
            indices = [jain(_shares(row)) for row in equal]
            what = f"{name}, same RTT, {len(equal)} seeds: least Jain index"
            checks.append(Check.between(what, min(indices), _LEAST_JAIN[congestion], None, _JAIN))
            least = min(sum(_shares(row)) * 8 / _RATE for row in equal)
            what = f"{name}, same RTT: share of the link that is used"
            checks.append(Check.between(what, least, 0.9, 1, "headers take 3 %, and a queue of 1.5 BDP never runs dry"))
        for row in results:
            ratio = row.case["rtt_ratio"]
            if row.case["congestion"] == congestion and ratio != 1:
                short, long = _shares(row)
                what = f"{name}, RTT × {ratio}: share of the shorter / share of the longer"
                if congestion == "new_reno":
                    checks.append(Check.between(what, short / long, 1, ratio**2, _RATIO))
                else:
                    checks.append(Check.note(what, short / long))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Rates over time, of the first seed of each kind."""
    panels = []
    seen: set[tuple[str, float]] = set()
    for row in results:
        kind = (row.case["congestion"], row.case["rtt_ratio"])
        if kind in seen:
            continue
        seen.add(kind)
        name = _NAMES[kind[0]]
        labels = (f"{name}, {_BASE_MS} ms", f"{name}, {_BASE_MS * kind[1]:g} ms")
        curves = [
            plot.Curve(
                range(0, _SECONDS, 5), [sum(rates[at : at + 5]) * 8 / 5e6 for at in range(0, _SECONDS, 5)], label, STEPS
            )
            for label, rates in zip(labels, row.measured["rates"], strict=True)
        ]
        panels.append(plot.Panel(curves, "goodput (Mbit/s)"))
    return {"rates": plot.curves("Two downloads over 1.5 Mbit/s", panels)}


EXPERIMENT: Final = Experiment(
    claim="Two equal flows share a bottleneck evenly, NewReno's more so than CUBIC's; with round trips of different "
    "length the shorter gets more.",
    cases=[
        *[
            Case({"congestion": congestion, "rtt_ratio": 1, "seed": seed})
            for congestion in ("new_reno", "cubic")
            for seed in (1, 2, 3, 4, 5)
        ],
        *[Case({"congestion": congestion, "rtt_ratio": 3, "seed": 1}) for congestion in ("new_reno", "cubic")],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
