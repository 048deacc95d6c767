"""CUBIC's window after one loss, held against the curve of RFC 9438."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import quicsim
from links import Datagram, Delay, LossIf
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.plot.curves import EXPECTED, STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_C: Final = 0.4
_BETA: Final = 0.7
_DATAGRAM: Final = 1200  # bytes
_RTT_MS: Final = 100
_SECOND: Final = 1_000_000_000  # ns
_STEPS: Final = 20  # per second, of what is kept for the figure
_CURVE: Final = "RFC 9438 figures 1 and 2: W = C (t − K)³ + Wmax"
_REDUCTION: Final = "RFC 9438 section 4.6: β 0.7"


def measure(initial: int, lost: int, seconds: int) -> Measured:
    """Start with a window of `initial` datagrams, lose the `lost`-th of the answer, and follow the window.

    What the window was when the loss was found is `maximum`; times are from then, windows in datagrams.
    """
    count = 0

    def loses(datagram: Datagram) -> bool:
        nonlocal count
        if datagram.size > _DATAGRAM // 2 and datagram.sent_at > _SECOND:
            count += 1
            return count == lost
        return False

    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer)
    sim.link("alice", "bob", up=[Delay("50ms")], down=[Delay("50ms"), LossIf(loses)])
    sending: dict[str, Any] = {"congestion": "cubic", "initial_window": initial * _DATAGRAM, "hystart": False}
    receiving: dict[str, Any] = {
        "initial_max_data": 1 << 40,
        "initial_max_stream_data_bidi_local": 1 << 40,
        "max_ack_delay_ms": 1,
    }

    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), **sending)
        stream = await (await listener.accept()).accept_stream()
        await stream.read_all()
        await stream.write(bytes(1 << 30))  # more than is sent in the time

    async def client(net: quicsim.Net) -> None:
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **receiving)
        stream = await connection.open_stream()
        await net.sleep("1s")
        await stream.write(b"go", end=True)
        while await stream.read(1 << 20):
            pass

    sim.spawn("bob", server)
    sim.spawn("alice", client)
    sim.run(until=f"{seconds + 2}s")
    (log,) = logs.logs
    (found, *_) = log.reductions
    window = [log.at(found + _SECOND * step // _STEPS) / _DATAGRAM for step in range(_STEPS * seconds + 1)]
    return {"maximum": log.at(found - 1) / _DATAGRAM, "window": window, "reductions": len(log.reductions)}


def _inflection(maximum: float) -> float:
    """K in s."""
    return float((maximum * (1 - _BETA) / _C) ** (1 / 3))


def _curve(maximum: float, seconds: float) -> float:
    return float(_C * (seconds - _inflection(maximum)) ** 3 + maximum)


def judge(results: Sequence[Result]) -> list[Check]:
    """The window at 0, K/2 and K, which may come one round trip late: the curve begins when recovery ends."""
    checks = []
    for result in results:
        maximum, window = result.measured["maximum"], result.measured["window"]
        name, k = f"Wmax {round(maximum)}", _inflection(maximum)
        checks.append(Check.exact(f"{name}: reductions", result.measured["reductions"], 1, "one loss"))
        checks.append(Check.absolute(f"{name}: K", k, _inflection(round(maximum)), 0.05, "s", _CURVE))
        for what, seconds in (("0", 0.0), ("K/2", k / 2), ("K", k)):
            expected = _BETA * maximum if not seconds else _curve(maximum, seconds)
            late = window[round((seconds + _RTT_MS / 1000) * _STEPS)]
            near = min(window[round(seconds * _STEPS)], late, key=lambda value: abs(value - expected))
            source = _CURVE if seconds else _REDUCTION
            checks.append(Check.absolute(f"{name}: window at {what}", near, expected, 1, "datagrams", source))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """The window on its curve."""
    panels = []
    for result in results:
        maximum, window = result.measured["maximum"], result.measured["window"]
        times = [step / _STEPS for step in range(len(window))]
        curves = [
            plot.Curve(times, window, f"measured, Wmax {maximum:.1f}", STEPS),
            plot.Curve(times, [_curve(maximum, time) for time in times], "C (t − K)³ + Wmax", EXPECTED),
        ]
        panels.append(plot.Panel(curves, "window (datagrams)", "time since the loss was found (s)"))
    return {"curve": plot.curves("CUBIC after one loss, RTT 100 ms", panels)}


EXPERIMENT: Final = Experiment(
    claim="After a loss at Wmax, CUBIC's window falls to 0.7 Wmax and follows C (t − K)³ + Wmax, back at Wmax after "
    "K = (0.75 Wmax)^⅓ seconds: 4.217 s for 100 datagrams, 9.086 s for 1000.",
    cases=[
        Case({"initial": 640, "lost": 355, "seconds": 12}),
        Case({"initial": 64, "lost": 36, "seconds": 6}, quick=True),
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
