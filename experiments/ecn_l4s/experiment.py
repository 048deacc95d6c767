"""Marks instead of losses: classic ECN, L4S with Prague, and networks that mangle the marks."""

import math
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
_PAYLOAD: Final = 1166 / 1200  # of a datagram
_MARKS_MS: Final = 20  # what waits longer is marked
_CLASSIC_MS: Final = 15
_RESPONSES: Final = {"new_reno": (0.5, 1.0), "cubic": (0.7, 9 / 17)}  # β, and datagrams gained per round trip
_MARKED: Final = "RFC 9002 section 7.1: a CE mark reduces the window like a loss"
_CYCLE: Final = (
    "the window from β (W + α) to W, where a datagram waits for more than 20 ms, and for a round trip longer"
)
_FULL: Final = "the window never falls below what the link holds; headers take 2.8 %"
_LOW: Final = "RFC 9332: marks from 0.8 ms of wait on; a datagram's time on the link, and at most one more"
_TARGET: Final = "RFC 9332 appendix A.1: the classic queue's target of 15 ms, and a datagram's time on the link"
_SHARED: Final = "RFC 9332 section 2.1: coupling 2; (√(3/2))⁻¹ · RTT of the classic flow / RTT of Prague"
_SHARES_IN_USE: Final = {("prague",): 0.829, ("cubic",): 0.945, ("prague", "cubic"): 0.944}
_REGRESSION: Final = "as measured before: a regression value"
_MANGLED: Final = "RFC 9000 section 13.4.2: validation fails, and nothing is marked any more"


def _queue(name: str) -> list[Element]:
    if name == "DualPI2":
        return [DualPi2()]
    if name == "marks at 20 ms":
        return [TailDrop(60_000), EcnMark(f"{_MARKS_MS}ms")]
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
    since, until = _WARM_UP * 1000 * _MS, _SECONDS * 1000 * _MS
    reductions = [at for at in first.reductions if at > since]
    rtts = [log.sampled("smoothed_rtt", _SAMPLE_MS * _MS, until) for log in logs.logs]
    return {
        "rates": rates,
        "rtt_ms": [[int(rtt) / _MS for rtt in each] for each in rtts],
        "lost": [log.lost_between(since, until) for log in logs.logs],
        "reductions_apart_ms": float(np.diff(reductions).mean()) / _MS if len(reductions) > 1 else None,
        "ecn": [state for _, state in first.ecn_states],
    }


def _shares(result: Result) -> list[float]:
    return [sum(rates[_WARM_UP:]) * 8 / (_SECONDS - _WARM_UP) / _RATE for rates in result.measured["rates"]]


def _wait_ms(rtts: Sequence[float]) -> float:
    return float(np.median(rtts[_WARM_UP * 1000 // _SAMPLE_MS :])) - _RTT_MS


def _cycle(beta: float, alpha: float) -> tuple[float, float]:
    """Ms from one mark's reduction to the next, and the share of the link in use between them, in stream bytes.

    A datagram is marked when those in flight fill the round trip and 20 ms; the sender learns it one round trip and
    α datagrams later, and then stands still for a round trip, until recovery is over.
    """
    shortest = _RTT_MS + _DATAGRAM_MS
    marked = (shortest + _MARKS_MS) / _DATAGRAM_MS + 1
    largest = marked + alpha
    window, ms = beta * largest, largest * _DATAGRAM_MS
    sent = window  # datagrams, of which there may be so many while the others arrive
    while window < largest:
        share = min((largest - window) / alpha, 1)  # of a round trip
        ms += share * max(shortest, window * _DATAGRAM_MS)
        sent += share * window
        window += alpha
    full = beta * largest * _DATAGRAM_MS >= shortest
    return ms, _PAYLOAD * (1 if full else sent * _DATAGRAM_MS / ms)


def judge(results: Sequence[Result]) -> list[Check]:
    """Waits, losses, shares, and states of ECN validation."""
    checks = []
    for row in results:
        name = f"{' and '.join(row.case['flows'])}, {row.case['queue']}"
        if row.case["queue"] in ("bleached", "mangled"):
            checks.append(Check.exact(f"{name}: ECN is", row.measured["ecn"][-1], "failed", _MANGLED))
            checks.append(Check.relative(f"{name}: share of the link", sum(_shares(row)), _PAYLOAD, 0.005, _FULL))
            continue
        checks.append(Check.exact(f"{name}: ECN is", row.measured["ecn"][-1], "capable", "RFC 9000 section 13.4.2"))
        lost = sum(row.measured["lost"])
        checks.append(Check.exact(f"{name}: packets lost after {_WARM_UP} s", lost, 0, _MARKED))
        checks += _judge_dual(name, row) if row.case["queue"] == "DualPI2" else _judge_marks(name, row)
    return checks


def _judge_marks(name: str, row: Result) -> list[Check]:
    apart, share = _cycle(*_RESPONSES[row.case["flows"][0]])
    return [
        Check.relative(f"{name}: reductions apart, ms", row.measured["reductions_apart_ms"], apart, 0.05, _CYCLE),
        Check.relative(f"{name}: share of the link", sum(_shares(row)), share, 0.005, _CYCLE),
    ]


def _judge_dual(name: str, row: Result) -> list[Check]:
    checks = []
    flows = row.case["flows"]
    waits = dict(zip(flows, map(_wait_ms, row.measured["rtt_ms"]), strict=True))
    for flow, wait in waits.items():
        what = f"{name}: median wait of {flow}, ms"
        if flow == "prague":
            checks.append(Check.between(what, wait, _DATAGRAM_MS, 2 * _DATAGRAM_MS, _LOW))
        else:
            checks.append(Check.relative(what, wait, _CLASSIC_MS + _DATAGRAM_MS, 0.05, _TARGET))
    shares = _shares(row)
    if len(flows) > 1:
        expected = math.sqrt(2 / 3) * (_RTT_MS + waits["cubic"]) / (_RTT_MS + waits["prague"])
        checks.append(Check.relative(f"{name}: ratio of rates", shares[0] / shares[1], expected, 0.2, _SHARED))
    expected = _SHARES_IN_USE[tuple(flows)]
    checks.append(Check.relative(f"{name}: share of the link", sum(shares), expected, 0.02, _REGRESSION))
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
