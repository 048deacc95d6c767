"""Downloads over a geostationary satellite, with and without loss."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quicsim import plot
from quicsim.applications import TransferResult
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result, run_plan
from quicsim.plot.curves import STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 100
_SHOWN_MS: Final = 20_000  # in the figure
_SIZE: Final = 10 << 20  # bytes
_RTT: Final = 0.6  # s
_WINDOW: Final = 12_000  # bytes, the initial one
_PAYLOAD: Final = 1165 / 1200  # of a datagram
_BETA: Final = {"new_reno": 0.5, "cubic": 0.7}
_ROUNDS: Final = "slow start: IW (2ⁿ − 1) bytes in n rounds; a round trip of recovery; then β of the link's rate"
_TOLERATED: Final = (
    "as without loss, and up to four round trips more: what is lost last is sent again, some of it twice"
)
_FORMULAS: Final = {
    "new_reno": "√(3/2) / √p, as in reno_mathis; twice the standard deviation of so few losses",
    "cubic": "1.054 (RTT/p)^¾, as in cubic_response; twice the standard deviation of so few losses",
}
_HYSTART: Final = "RFC 9406: the queue shows before it overflows"


def measure(congestion: str, loss: float, loss_tolerance: float = 0.0) -> Measured:
    """Download 10 MiB; return how long it takes after the handshake, and the window over time."""
    logs = RecoveryObserver()
    changes = [
        f"stack.congestion='{congestion}'",
        f"stack.loss_tolerance={loss_tolerance}",
        *(f"links.0.{way}.3.loss={loss}" for way in ("up", "down")),
        "check=true",
    ]
    outcome = run_plan(PLAN, changes, logs.observer)
    (log,), (result,) = logs.logs, outcome.results
    assert isinstance(result, TransferResult)
    done_ms = (result.handshake_ns + result.duration_ns) // _MS
    return {
        "seconds": result.duration_ns / 1e9,
        "lost": len(log.lost),
        "sent": log.sent,
        "window": [log.at(at * _MS) for at in range(0, done_ms, _SAMPLE_MS)],
    }


def _expected(beta: float) -> float:
    """Seconds for 10 MiB: doubling each round until the link is full, a round trip to recover, then β of its rate."""
    capacity = 20e6 / 8 * _PAYLOAD  # stream bytes per second
    rounds = math.ceil(math.log2(capacity * _RTT / (_WINDOW * _PAYLOAD)))
    slow = _WINDOW * _PAYLOAD * (2.0**rounds - 1)
    return (2 + rounds) * _RTT + (_SIZE - slow) / (beta * capacity)


def _name(case: Mapping[str, Any]) -> str:
    tolerance = case.get("loss_tolerance")
    return f"{case['congestion']}, {case['loss']:.0%} loss" + (f", {tolerance:.0%} tolerated" if tolerance else "")


def judge(results: Sequence[Result]) -> list[Check]:
    """Without loss, what slow start, one reduction and the link make; with it, what the formula for loss says."""
    checks = []
    for row in results:
        name, congestion = _name(row.case), row.case["congestion"]
        seconds, lost = row.measured["seconds"], row.measured["lost"]
        done = _expected(_BETA[congestion])
        if "loss_tolerance" in row.case:
            what = f"{name}: 10 MiB done after, s"
            checks.append(Check.between(what, seconds, done, done + 4 * _RTT, _TOLERATED))
        elif row.case["loss"]:
            rate = _SIZE / _PAYLOAD / 1200 / seconds * _RTT  # datagrams per round trip
            p = lost / row.measured["sent"]
            expected = math.sqrt(3 / 2 / p)
            if congestion == "cubic":
                expected = max(expected, (0.4 * 3.7 / 1.2) ** 0.25 * (_RTT / p) ** 0.75)
            what = f"{name}: datagrams per round trip, over {lost} losses"
            checks.append(Check.relative(what, rate, expected, 0.1, _FORMULAS[congestion]))
        else:
            checks.append(Check.relative(f"{name}: 10 MiB done after, s", seconds, done, 0.03, _ROUNDS))
            checks.append(Check.note(f"{name}: packets lost of {row.measured['sent']:,}", lost, _HYSTART))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Windows over the time that most of them take."""
    curves = []
    for row in results:
        windows = [window / 1e6 for window in row.measured["window"][: _SHOWN_MS // _SAMPLE_MS]]
        times = [index * _SAMPLE_MS / 1000 for index in range(len(windows))]
        curves.append(plot.Curve(times, windows, _name(row.case), STEPS))
    title = f"10 MiB over a satellite: the first {_SHOWN_MS // 1000} s"
    return {"window": plot.curves(title, [plot.Panel(curves, "congestion window (MB)")])}


EXPERIMENT: Final = Experiment(
    claim="Over a round trip of 600 ms slow start takes seconds, and loss, however rare, costs most of the capacity, "
    "unless it is tolerated.",
    cases=[
        *(Case({"congestion": name, "loss": loss}) for name in ("new_reno", "cubic") for loss in (0.0, 0.01)),
        Case({"congestion": "cubic", "loss": 0.01, "loss_tolerance": 0.05}),
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
