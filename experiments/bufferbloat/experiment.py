"""How long packets wait in queues of different kinds while a download goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from quicsim import plot
from quicsim.applications import TransferResult
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result, run_plan
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 50
_BASE_MS: Final = 40 + 1200 * 8 / 4_000  # round trip, with a datagram's time on the link
_RATE: Final = 4_000_000  # bit/s
_WARM_UP_S: Final = 5
_QUEUES: Final = {
    "taildrop 500 kB": "{ taildrop = '500kB' }",
    "taildrop 20 kB": "{ taildrop = '20kB' }",
    "CoDel": "{ codel = ['5ms', '100ms'] }",
    "PIE": "{ pie = {} }",
    "FQ-CoDel": "{ fqcodel = ['5ms', '100ms'] }",
}
_FULL: Final = "a queue of B bytes that is full delays by B / rate"
_PAYLOAD: Final = 1166 / 1200  # of a datagram
_SHARES: Final = {"CoDel": 0.910, "PIE": 0.942, "FQ-CoDel": 0.910}  # what they leave of the rate
_TARGETS_MS: Final = {"CoDel": 5, "PIE": 15, "FQ-CoDel": 5}
_DRY: Final = "the queue never runs dry after slow start; headers take 2.8 %"
_REGRESSION: Final = "as measured before: a regression value"
_MANAGED: Final = "RFC 8289 section 4: the standing queue is kept below a target, 5 ms; RFC 8033: 15 ms"


def measure(queue: str, congestion: str) -> Measured:
    """Download 8 MB through this queue; return the smoothed round trip over time, and the goodput."""
    logs = RecoveryObserver()
    changes = [f"links.0.down.1={_QUEUES[queue]}", f"stack.congestion='{congestion}'"]
    (result,) = run_plan(PLAN, changes, logs.observer).results
    assert isinstance(result, TransferResult)
    (log,) = logs.logs
    until = result.handshake_ns + result.duration_ns
    return {
        "goodput": result.goodput,
        "rtt_ms": [int(rtt) / _MS for rtt in log.sampled("smoothed_rtt", _SAMPLE_MS * _MS, until)],
        "lost": len(log.lost),
    }


def judge(results: Sequence[Result]) -> list[Check]:
    """The longest wait in a tail-drop queue; the usual one in a managed queue; what it costs in goodput."""
    checks = []
    for row in results:
        queue, name = row.case["queue"], f"{row.case['queue']}, {row.case['congestion']}"
        waits = [max(rtt - _BASE_MS, 0) for rtt in row.measured["rtt_ms"]]
        if queue == "taildrop 500 kB":
            limit = 500_000 * 8 / _RATE * 1000
            checks.append(Check.relative(f"{name}: longest wait, ms", max(waits), limit, 0.05, _FULL))
        elif queue in _TARGETS_MS:
            usual = float(np.median(waits[_WARM_UP_S * 1000 // _SAMPLE_MS :]))
            target = _TARGETS_MS[queue]
            checks.append(Check.between(f"{name}: median wait after 5 s, ms", usual, 0, target, _MANAGED))
        what, share = f"{name}: goodput / rate", row.measured["goodput"] / _RATE
        if queue in _SHARES:
            checks.append(Check.relative(what, share, _SHARES[queue], 0.02, _REGRESSION))
        else:
            checks.append(Check.relative(what, share, _PAYLOAD, 0.01, _DRY))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Round trips over time."""
    curves = []
    for row in results:
        rtts = row.measured["rtt_ms"]
        times = [index * _SAMPLE_MS / 1000 for index in range(len(rtts))]
        curves.append(plot.Curve(times, rtts, row.case["queue"], STEPS))
    return {"rtt": plot.curves("A download over 4 Mbit/s, 40 ms", [plot.Panel(curves, "smoothed RTT (ms)", log="y")])}


EXPERIMENT: Final = Experiment(
    claim="A sender that waits for loss fills any queue: half a megabyte at 4 Mbit/s delays all by a second. Queues "
    "that manage themselves keep the wait at some milliseconds for nearly the same goodput.",
    cases=[Case({"queue": queue, "congestion": "cubic"}) for queue in _QUEUES],
    measure=measure,
    judge=judge,
    draw=draw,
)
