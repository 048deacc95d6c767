"""BBR and CUBIC under random loss, behind a large queue, and side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

import quicsim
from links import Loss, Rate, TailDrop
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result
from quicsim.experiments.sharing import Flow, share
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATE: Final = 4_000_000  # bit/s
_RTT_MS: Final = 40
_BDP: Final = _RATE // 8 * _RTT_MS // 1000  # bytes
_SECONDS: Final = 25
_WARM_UP: Final = 5  # seconds that are not counted
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 50
_LOSS: Final = "draft-ietf-ccwg-bbr section 2.4: losses below 2 % do not lower its model of the path"
_QUEUE: Final = "draft-ietf-ccwg-bbr section 2.1: about a bandwidth-delay product in flight, and the queue empty"
_STARVED: Final = "neither starves: a tenth of the link at least"


def measure(flows: list[str], queue_bdps: float, loss: float) -> Measured:
    """Let downloads with these controllers share 4 Mbit/s for 25 s; return rates and the first one's round trips."""
    logs = RecoveryObserver()
    sim = quicsim.Simulation(seed=1, observer=logs.observer)
    down = [Rate(_RATE), TailDrop(round(queue_bdps * _BDP)), Loss(loss)]
    rates = share(sim, down, [Flow(congestion, _RTT_MS) for congestion in flows], _SECONDS)
    rtts = logs.logs[0].sampled("smoothed_rtt", _SAMPLE_MS * _MS, _SECONDS * 1000 * _MS)
    return {"rates": rates, "rtt_ms": [int(rtt) / _MS for rtt in rtts]}


def _shares(result: Result) -> list[float]:
    """Share of the link that each flow gets."""
    return [sum(rates[_WARM_UP:]) * 8 / (_SECONDS - _WARM_UP) / _RATE for rates in result.measured["rates"]]


def _wait_ms(result: Result) -> float:
    return float(np.median(result.measured["rtt_ms"][_WARM_UP * 1000 // _SAMPLE_MS :])) - _RTT_MS


def judge(results: Sequence[Result]) -> list[Check]:
    """What the draft says of loss and of queues; that neither starves."""
    checks = []
    for row in results:
        flows, queue, loss = row.case["flows"], row.case["queue_bdps"], row.case["loss"]
        shares = _shares(row)
        if len(flows) > 1:
            what = f"bbr and cubic, queue {queue} BDP: "
            checks.append(Check.note(f"{what}BBR's share of the link", shares[0]))
            checks.append(Check.between(f"{what}smaller share", min(shares), 0.1, 0.5, _STARVED))
            checks.append(Check.between(f"{what}both together", sum(shares), 0.85, 1, "headers take 3 %"))
        elif loss:
            low, high = (0.8, 1.0) if flows == ["bbr"] else (0.0, 0.75)
            checks.append(Check.between(f"{flows[0]}, {loss:.0%} loss: share of the link", shares[0], low, high, _LOSS))
        else:
            wait, full = _wait_ms(row), queue * _RTT_MS
            low, high = (0.0, full / 4) if flows == ["bbr"] else (full / 2, full)
            what = f"{flows[0]} alone, queue {queue} BDP: median wait, ms"
            checks.append(Check.between(what, wait, low, high, _QUEUE))
            checks.append(Check.between(f"{flows[0]} alone: share of the link", shares[0], 0.85, 1, "headers take 3 %"))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Round trips of each alone, and rates side by side."""
    alone = [row for row in results if len(row.case["flows"]) == 1 and not row.case["loss"]]
    curves = []
    for row in alone:
        rtts = row.measured["rtt_ms"]
        times = [index * _SAMPLE_MS / 1000 for index in range(len(rtts))]
        curves.append(plot.Curve(times, rtts, f"{row.case['flows'][0]}, queue {row.case['queue_bdps']} BDP", STEPS))
    panels = [plot.Panel(curves, "smoothed RTT (ms)")]
    for row in results:
        if len(row.case["flows"]) > 1:
            queue = row.case["queue_bdps"]
            rates = [
                plot.Curve(range(_SECONDS), [8 * got / 1e6 for got in rates], f"{name}, queue {queue} BDP", STEPS)
                for name, rates in zip(row.case["flows"], row.measured["rates"], strict=True)
            ]
            panels.append(plot.Panel(rates, "goodput (Mbit/s)"))
    return {"flows": plot.curves("BBR and CUBIC over 4 Mbit/s, 40 ms", panels)}


EXPERIMENT: Final = Experiment(
    claim="BBR keeps a link full through random losses that hold CUBIC back, and keeps queues short that CUBIC fills; "
    "side by side neither starves.",
    cases=[
        *[Case({"flows": [name], "queue_bdps": 2, "loss": 0.01}) for name in ("bbr", "cubic")],
        *[Case({"flows": [name], "queue_bdps": 4, "loss": 0.0}) for name in ("bbr", "cubic")],
        *[Case({"flows": ["bbr", "cubic"], "queue_bdps": bdps, "loss": 0.0}) for bdps in (1, 4)],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
