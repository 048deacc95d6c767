"""Downloads over a geostationary satellite, with and without loss."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quicsim import plot
from quicsim.applications import TransferResult
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result, run_plan
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 100
_SIZE: Final = 10 << 20  # bytes
_RTT: Final = 0.6  # s
_WINDOW: Final = 12_000  # bytes, the initial one
_PAYLOAD: Final = 1165 / 1200  # of a datagram
_ROUNDS: Final = "slow start: IW (2ⁿ − 1) bytes in n rounds"
_HYSTART: Final = "RFC 9406: the queue shows before it overflows"


def measure(congestion: str, loss: float) -> Measured:
    """Download 10 MiB; return how long it takes after the handshake, and the window over time."""
    logs = RecoveryObserver()
    changes = [f"stack.congestion='{congestion}'", *(f"links.0.{way}.3.loss={loss}" for way in ("up", "down"))]
    outcome = run_plan(PLAN, [*changes, "check=true"], logs.observer)
    (log,), (result,) = logs.logs, outcome.results
    assert isinstance(result, TransferResult)
    done_ms = (result.handshake_ns + result.duration_ns) // _MS
    return {
        "seconds": result.duration_ns / 1e9,
        "lost": len(log.lost),
        "sent": log.sent,
        "window": [log.at(at * _MS) for at in range(0, done_ms, _SAMPLE_MS)],
    }


def _fastest() -> float:
    """Seconds for 10 MiB: doubling each round trip until the link is full, and then at the link's rate."""
    capacity = 20e6 / 8 * _PAYLOAD  # stream bytes per second
    full = capacity * _RTT
    rounds = math.ceil(math.log2(full / (_WINDOW * _PAYLOAD)))
    slow = _WINDOW * _PAYLOAD * (2.0**rounds - 1)
    return _RTT + rounds * _RTT + max(_SIZE - slow, 0) / capacity


def judge(results: Sequence[Result]) -> list[Check]:
    """Without loss, what slow start and the link allow; with it, what the formula for loss allows."""
    checks = []
    for row in results:
        name = f"{row.case['congestion']}, {row.case['loss']:.0%} loss"
        seconds, lost = row.measured["seconds"], row.measured["lost"]
        if row.case["loss"]:
            rate = _SIZE / _PAYLOAD / 1200 / seconds * _RTT  # datagrams per round trip
            p = lost / row.measured["sent"]
            expected = math.sqrt(3 / 2 / p)
            what = f"{name}: datagrams per round trip, over a first slow start and few losses"
            source = "√(3/2) / √p, as in reno_mathis, or CUBIC's response where that is more"
            cubic = (0.4 * 3.7 / 1.2) ** 0.25 * (_RTT / p) ** 0.75
            checks.append(Check.between(what, rate, 0.5 * expected, 2 * max(expected, cubic), source))
        else:
            what = f"{name}: 10 MiB done after, s"
            checks.append(Check.between(what, seconds, 0.98 * _fastest(), 3 * _fastest(), _ROUNDS))
            checks.append(Check.note(f"{name}: packets lost of {row.measured['sent']:,}", lost, _HYSTART))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Windows over time."""
    curves = []
    for row in results:
        times = [index * _SAMPLE_MS / 1000 for index in range(len(row.measured["window"]))]
        label = f"{row.case['congestion']}, {row.case['loss']:.0%} loss"
        curves.append(plot.Curve(times, [window / 1e6 for window in row.measured["window"]], label, STEPS))
    return {"window": plot.curves("10 MiB over a satellite", [plot.Panel(curves, "congestion window (MB)")])}


EXPERIMENT: Final = Experiment(
    claim="Over a round trip of 600 ms slow start takes seconds, and loss, however rare, costs most of the capacity.",
    cases=[
        Case({"congestion": congestion, "loss": loss}) for congestion in ("new_reno", "cubic") for loss in (0.0, 0.01)
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
