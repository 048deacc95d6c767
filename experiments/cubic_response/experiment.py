"""CUBIC under random loss: like Reno where windows are small, and by its own response function where they are large."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, Result
from quicsim.experiments.steady_state import pooled, steady_state
from quicsim.plot.curves import EXPECTED, POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_DATAGRAM: Final = 1200  # bytes
_RENO: Final = "RFC 9438 section 4.3: the Reno-friendly region"
_CUBIC: Final = "RFC 9438 section 5.1, figure 5"
_LEAST_LOSSES: Final = 70
_FRIENDLY: Final = 0.005  # p from which windows at 100 ms are those of Reno


def measure(rtt_ms: int, loss: float, size: str, seed: int) -> Measured:
    """Download `size` over this round trip, with this share of datagrams lost."""
    delay = f"'{rtt_ms / 2:g}ms'"
    settings = [
        f"links.0.up.0.delay={delay}",
        f"links.0.down.0.delay={delay}",
        f"links.0.down.1.loss={loss}",
        f"applications.0.size='{size}'",
        f"seed={seed}",
    ]
    return steady_state(PLAN, settings)


def reno(p: float) -> float:
    """Datagrams per round trip."""
    return math.sqrt(3 / 2) / math.sqrt(p)


def cubic(rtt: float, p: float) -> float:
    """The mean window in datagrams: (C·(3 + β)/(4·(1 − β)))^¼ · (RTT/p)^¾, with C 0.4 and β 0.7."""
    return float((0.4 * 3.7 / (4 * 0.3)) ** 0.25 * (rtt / p) ** 0.75)


def judge(results: Sequence[Result]) -> list[Check]:
    """In the friendly region the rate, else the mean window."""
    checks = []
    for rtt_ms, loss in sorted({(row.case["rtt_ms"], row.case["loss"]) for row in results}):
        sums = pooled(row for row in results if (row.case["rtt_ms"], row.case["loss"]) == (rtt_ms, loss))
        p = sums["lost"] / sums["sent"]
        name = f"RTT {rtt_ms} ms, p {loss:.2%}, {sums['runs']} seeds"
        checks.append(Check.between(f"{name}: losses", sums["lost"], _LEAST_LOSSES, None, "enough to average"))
        if loss >= _FRIENDLY:
            rate = (sums["sent"] - sums["lost"]) / sums["seconds"] * rtt_ms / 1000
            checks.append(Check.relative(f"{name}: rate / Reno's formula", rate / reno(p), 1, 0.06, _RENO))
        else:
            window = sums["mean_window"] / _DATAGRAM
            expected = cubic(rtt_ms / 1000, p)
            checks.append(Check.relative(f"{name}: mean window, datagrams", window, expected, 0.05, _CUBIC))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Mean windows over p."""
    curves = []
    for rtt_ms in sorted({row.case["rtt_ms"] for row in results}):
        losses = sorted({row.case["loss"] for row in results if row.case["rtt_ms"] == rtt_ms})
        sums = [
            pooled(row for row in results if (row.case["rtt_ms"], row.case["loss"]) == (rtt_ms, loss))
            for loss in losses
        ]
        p = [one["lost"] / one["sent"] for one in sums]
        windows = [one["mean_window"] / _DATAGRAM for one in sums]
        curves.append(plot.Curve(p, windows, f"RTT {rtt_ms} ms", POINTS))
        expected = [max(reno(one), cubic(rtt_ms / 1000, one)) for one in p]
        curves.append(plot.Curve(p, expected, f"the formulas, {rtt_ms} ms", EXPECTED))
    panel = plot.Panel(curves, "mean window (datagrams)", "share of packets lost", "xy")
    return {"window": plot.curves("CUBIC under random loss", [panel])}


EXPERIMENT: Final = Experiment(
    claim="Under random loss CUBIC gets what Reno would where that is more, and else a mean window of "
    "1.054 (RTT/p)^¾ datagrams.",
    cases=[
        *[
            Case({"rtt_ms": rtt, "loss": 0.0003, "size": "120MB", "seed": seed})
            for seed in (1, 2, 3)
            for rtt in (200, 100)
        ],
        *[Case({"rtt_ms": 100, "loss": 0.005, "size": "28MB", "seed": seed}) for seed in (1, 2, 3)],
        *[Case({"rtt_ms": 100, "loss": 0.01, "size": "14MB", "seed": seed}, quick=seed == 1) for seed in (1, 2, 3)],
        *[Case({"rtt_ms": 100, "loss": 0.02, "size": "14MB", "seed": seed}) for seed in (1, 2)],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
