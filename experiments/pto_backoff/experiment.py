"""Probe timeouts of a client whose server is silent: when they expire, and what is sent then."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import quicsim
from links import Delay
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, Result
from quicsim.plot.curves import EXPECTED, POINTS
from stack.errors import ConnectionClosed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from links import Datagram

_MS: Final = 1_000_000  # ns
_EXPECTED: Final = [0, 999, 2_997, 6_993, 14_985, 30_969]  # ms, with an initial RTT of 333 ms
_SOURCE: Final = "RFC 9002 sections 6.2.1, 6.2.2, 6.2.4"


def measure(initial_rtt_ms: int) -> Measured:
    """Let a client try to reach a host on which nobody listens; return when it sends, in ms, and how many datagrams."""
    sim = quicsim.Simulation(seed=1, check=True)
    sim.link("alice", "bob", up=[Delay("25ms")], down=[Delay("25ms")])
    sent: Counter[int] = Counter()

    def tap(_: str, now: int, __: str, datagram: "Datagram") -> None:
        sent[now] += 1

    sim.tap("alice", tap)

    async def client(net: quicsim.Net) -> None:
        trust, idle = quicsim.test_certificate(), 120 * initial_rtt_ms
        try:
            await net.connect("bob", 4433, trust=trust, initial_rtt_ms=initial_rtt_ms, max_idle_timeout_ms=idle)
        except ConnectionClosed:
            return

    sim.run(sim.spawn("alice", client))
    return {"times": [at / _MS for at in sorted(sent)], "datagrams": [sent[at] for at in sorted(sent)]}


def judge(results: Sequence[Result]) -> list[Check]:
    """The times are those of doubled timeouts, to the nanosecond."""
    checks = []
    for result in results:
        rtt = result.case["initial_rtt_ms"]
        times, datagrams = result.measured["times"], result.measured["datagrams"]
        expected = [at * rtt / 333 for at in _EXPECTED]
        checks.append(Check.exact(f"initial RTT {rtt} ms: sends at (ms)", times, expected, _SOURCE))
        checks.append(Check.between("datagrams per timeout", max(datagrams), 1, 2, "RFC 9002 section 6.2.4"))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """When the client sends."""
    curves = []
    for result in results:
        times = [at / 1000 for at in result.measured["times"]]
        label = f"initial RTT {result.case['initial_rtt_ms']} ms"
        curves.append(plot.Curve(times, list(range(len(times))), label, POINTS))
        expected = [at * result.case["initial_rtt_ms"] / 333_000 for at in _EXPECTED]
        curves.append(plot.Curve(expected, list(range(len(expected))), "", EXPECTED))
    return {"sends": plot.curves("Probe timeouts double while the server is silent", [plot.Panel(curves, "timeouts")])}


EXPERIMENT: Final = Experiment(
    claim="A client whose server is silent sends after probe timeouts that double exactly, starting from the initial "
    "RTT: three times as long, for want of a sample.",
    cases=[Case({"initial_rtt_ms": 333}, quick=True), Case({"initial_rtt_ms": 111}, quick=True)],
    measure=measure,
    judge=judge,
    draw=draw,
)
