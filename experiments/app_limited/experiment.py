"""A sender with little to say, and then with much: what its congestion window does meanwhile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import quicsim
from links import Delay, Rate
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.experiments.figures import windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MS: Final = 1_000_000  # ns
_SECOND: Final = 1_000 * _MS
_QUIET_S: Final = 20  # how long it has little to say
_SAMPLE_MS: Final = 25
_BURST: Final = 400_000  # bytes
_SOURCE: Final = "RFC 9002 section 7.8: the window should not grow while it is not in use"
_CUBIC: Final = "RFC 9438 section 5.8: the time in which it was not in use does not count"


def measure(congestion: str) -> Measured:
    """Send 1 kB every 20 ms for 20 s over a round trip of 50 ms, then 400 kB at once; return the window over time."""
    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer, check=True)
    sim.link("alice", "bob", up=[Rate("100Mbps"), Delay("25ms")], down=[Rate("100Mbps"), Delay("25ms")])
    started = 0

    async def server(net: quicsim.Net) -> None:
        nonlocal started
        listener = await net.listen(4433, quicsim.test_certificate(), congestion=congestion)
        stream = await (await listener.accept()).accept_stream()
        await stream.read_all()
        started = net.now
        while net.now < started + _QUIET_S * _SECOND:
            await stream.write(bytes(1_000))
            await net.sleep("20ms")
        await stream.write(bytes(_BURST), end=True)

    async def client(net: quicsim.Net) -> int:
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream()
        await stream.write(b"go", end=True)
        return len(await stream.read_all())

    sim.spawn("bob", server)
    sim.run(sim.spawn("alice", client))
    (log,) = logs.logs
    quiet = [at for at in log.recovery["time"] if started < at < started + _QUIET_S * _SECOND]
    return {
        "before": log.at(started),
        "most_in_quiet": max(log.at(int(at)) for at in quiet),
        "end": log.at(sim.now),
        "window": [log.at(at * _MS) for at in range(0, sim.now // _MS, _SAMPLE_MS)],
        "flight": [int(flight) for flight in log.sampled("bytes_in_flight", _SAMPLE_MS * _MS, sim.now)],
    }


def judge(results: Sequence[Result]) -> list[Check]:
    """No growth while little is sent, and growth from there when much is."""
    checks = []
    for row in results:
        name, measured = row.case["congestion"], row.measured
        grown = measured["most_in_quiet"] - measured["before"]
        source = _CUBIC if name == "cubic" else _SOURCE
        checks.append(Check.exact(f"{name}: growth in {_QUIET_S} s of little to send, bytes", grown, 0, source))
        what = f"{name}: window at the end of the burst, in windows before it"
        checks.append(
            Check.between(what, measured["end"] / measured["before"], 8, None, "slow start doubles each round")
        )
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """The window and what of it is in use."""
    title = "Little to send, and then 400 kB at once"
    return {"window": windows(title, results, _SAMPLE_MS, (_QUIET_S - 2) * 1000)}


EXPERIMENT: Final = Experiment(
    claim="A window that the application does not use does not grow; it grows from where it was when the application "
    "has more to send.",
    cases=[Case({"congestion": "new_reno"}, quick=True), Case({"congestion": "cubic"})],
    measure=measure,
    judge=judge,
    draw=draw,
)
