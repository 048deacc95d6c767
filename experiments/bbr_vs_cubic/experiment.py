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
_DATAGRAM_MS: Final = 1200 * 8 * 1000 / _RATE  # on the link
_PAYLOAD: Final = 1166 / 1200  # of a datagram
_BETA: Final = 0.7  # CUBIC's
_PROBE_RTT: Final = 0.5 * (200 + _RTT_MS) / 5000  # of the time, half a window in flight for 200 ms and a round trip
_LOSS: Final = {
    "bbr": "draft-ietf-ccwg-bbr section 2.4: losses below 2 % do not lower its model of the path; a regression value",
    "cubic": "RFC 9438 section 4.6: each loss reduces the window; a regression value",
}
_LOSSY: Final = {"bbr": 0.828, "cubic": 0.579}
_BESIDE: Final = {1: 0.716, 4: 0.298}  # BBR's share, by queue
_REGRESSION: Final = "as measured before: a regression value"
_PACED: Final = (
    "draft-ietf-ccwg-bbr section 2.1: one BDP in flight; a datagram's time on the link, and at most one more"
)
_SAWTOOTH: Final = "in flight between β and all of queue and BDP: (5 β − 1) and 4 of it wait"
_RATES: Final = "draft-ietf-ccwg-bbr sections 5.6.2, 5.3.4.3: 99 % of the link's rate, and ProbeRTT every 5 s"
_FULL: Final = "the queue never runs dry; headers take 2.8 %"
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
        flows, queue, shares = row.case["flows"], row.case["queue_bdps"], _shares(row)
        if len(flows) > 1:
            what = f"bbr and cubic, queue {queue} BDP: "
            checks.append(Check.relative(f"{what}BBR's share of the link", shares[0], _BESIDE[queue], 0.1, _REGRESSION))
            checks.append(Check.between(f"{what}smaller share", min(shares), 0.1, 0.5, _STARVED))
            checks.append(Check.relative(f"{what}both together", sum(shares), _PAYLOAD, 0.015, _FULL))
        elif loss := row.case["loss"]:
            what = f"{flows[0]}, {loss:.0%} loss: share of the link"
            checks.append(Check.relative(what, shares[0], _LOSSY[flows[0]], 0.02, _LOSS[flows[0]]))
        else:
            checks += _judge_alone(flows[0], queue, _wait_ms(row), shares[0])
    return checks


def _judge_alone(name: str, queue: float, wait: float, share: float) -> list[Check]:
    what = f"{name} alone, queue {queue} BDP: median wait, ms"
    if name == "bbr":
        return [
            Check.between(what, wait, _DATAGRAM_MS, 2 * _DATAGRAM_MS, _PACED),
            Check.relative(f"{name} alone: share of the link", share, 0.99 * (1 - _PROBE_RTT) * _PAYLOAD, 0.01, _RATES),
        ]
    least, most = (_BETA * (queue + 1) - 1) * _RTT_MS, queue * _RTT_MS
    return [
        Check.between(what, wait, least, most, _SAWTOOTH),
        Check.relative(f"{name} alone: share of the link", share, _PAYLOAD, 0.005, _FULL),
    ]


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
