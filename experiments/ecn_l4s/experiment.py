"""Marks instead of losses: classic ECN, L4S with Prague, and networks that mangle the marks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

import quicsim
from links import DualPi2, EcnMark, EcnRemark, Element, Rate, TailDrop
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.experiments.sharing import Flow, share
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATE: Final = 4_000_000  # bit/s
_RTT_MS: Final = 40
_SECONDS: Final = 25
_WARM_UP: Final = 5  # seconds that are not counted
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 50
_DATAGRAM_MS: Final = 1200 * 8 / 4_000  # on the link
_MARKED: Final = "RFC 9002 section 7.1: a CE mark reduces the window like a loss"
_LOW: Final = "RFC 9332: L4S waits for about a millisecond, and a datagram's time on the link"
_SHARED: Final = "RFC 9332 section 2.1: roughly equal rates of an L4S and a classic flow"
_MANGLED: Final = "RFC 9000 section 13.4.2: validation fails, and nothing is marked any more"


def _queue(name: str) -> list[Element]:
    if name == "DualPI2":
        return [DualPi2()]
    if name == "marks at 20 ms":
        return [TailDrop(60_000), EcnMark("20ms")]
    if name == "bleached":
        return [TailDrop(60_000), EcnRemark("not-ect")]
    assert name == "mangled"
    return [TailDrop(60_000), EcnRemark("ect1", only="ect0")]


def measure(flows: list[str], queue: str) -> Measured:
    """Let downloads with these controllers share 4 Mbit/s behind this queue for 25 s."""
    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer)
    rates = share(sim, [Rate(_RATE), *_queue(queue)], [Flow(congestion, _RTT_MS) for congestion in flows], _SECONDS)
    first = logs.logs[0]
    until = _SECONDS * 1000 * _MS
    rtts = [log.sampled("smoothed_rtt", _SAMPLE_MS * _MS, until) for log in logs.logs]
    return {
        "rates": rates,
        "rtt_ms": [[int(rtt) / _MS for rtt in each] for each in rtts],
        "lost": [len(log.lost) for log in logs.logs],
        "reductions": len(first.reductions),
        "ecn": [state for _, state in first.ecn_states],
    }


def _shares(result: Result) -> list[float]:
    return [sum(rates[_WARM_UP:]) * 8 / (_SECONDS - _WARM_UP) / _RATE for rates in result.measured["rates"]]


def _wait_ms(rtts: Sequence[float]) -> float:
    return float(np.median(rtts[_WARM_UP * 1000 // _SAMPLE_MS :])) - _RTT_MS


def judge(results: Sequence[Result]) -> list[Check]:
    """Waits, losses, shares, and states of ECN validation."""
    checks = []
    for row in results:
        flows, queue, measured = row.case["flows"], row.case["queue"], row.measured
        name, shares = f"{' and '.join(flows)}, {queue}", _shares(row)
        if queue in ("bleached", "mangled"):
            checks.append(Check.exact(f"{name}: ECN is", measured["ecn"][-1], "failed", _MANGLED))
            checks.append(Check.between(f"{name}: share of the link", shares[0], 0.85, 1, "goes on without marks"))
            continue
        checks.append(Check.exact(f"{name}: ECN is", measured["ecn"][-1], "capable", "RFC 9000 section 13.4.2"))
        if queue != "DualPI2":
            checks.append(Check.exact(f"{name}: packets lost", measured["lost"][0], 0, _MARKED))
            checks.append(Check.between(f"{name}: reductions", measured["reductions"], 5, None, _MARKED))
        elif len(flows) > 1:
            ratio = shares[0] / shares[1]
            checks.append(Check.between(f"{name}: ratio of rates", ratio, 0.5, 2, _SHARED))
            for flow, rtts in zip(flows, measured["rtt_ms"], strict=True):
                checks.append(Check.note(f"{name}: median wait of {flow}, ms", _wait_ms(rtts), _LOW))
        else:
            wait = _wait_ms(measured["rtt_ms"][0])
            low, high = (0.0, 2 + 2 * _DATAGRAM_MS) if flows == ["prague"] else (4.0, 40.0)
            checks.append(Check.between(f"{name}: median wait, ms", wait, low, high, _LOW))
            checks.append(Check.between(f"{name}: packets lost", measured["lost"][0], 0, 60, _MARKED))
        checks.append(Check.between(f"{name}: share of the link in use", sum(shares), 0.8, 1, "headers take 3 %"))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Round trips behind DualPI2."""
    panels = []
    for row in results:
        if row.case["queue"] == "DualPI2":
            curves = [
                plot.Curve([index * _SAMPLE_MS / 1000 for index in range(len(rtts))], rtts, flow, STEPS)
                for flow, rtts in zip(row.case["flows"], row.measured["rtt_ms"], strict=True)
            ]
            panels.append(plot.Panel(curves, "smoothed RTT (ms)"))
    return {"rtt": plot.curves("Behind DualPI2: alone, and together", panels)}


EXPERIMENT: Final = Experiment(
    claim="Marks slow a sender down without a loss; with L4S the queue holds a few milliseconds at most, and the "
    "classic flow beside it gets its share; networks that mangle marks are found out.",
    cases=[
        *[Case({"flows": [name], "queue": "DualPI2"}) for name in ("prague", "cubic")],
        Case({"flows": ["prague", "cubic"], "queue": "DualPI2"}),
        *[Case({"flows": [name], "queue": "marks at 20 ms"}) for name in ("new_reno", "cubic")],
        *[Case({"flows": ["cubic"], "queue": queue}) for queue in ("bleached", "mangled")],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
