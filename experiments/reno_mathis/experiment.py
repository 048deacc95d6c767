"""NewReno under random loss, held against the square root formula of Mathis et al."""

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
CONSTANT: Final = math.sqrt(3 / 2)  # 1.2247, for halving
RTT: Final = 0.1  # s
MSS: Final = 1200  # bytes, what the window counts in
_LEAST_LOSSES: Final = 200
_SOURCE: Final = "Mathis, Semke, Mahdavi, Ott 1997; MSS/(RTT·√p)·√(3/2)"


def measure(loss: float, size: str, seed: int) -> Measured:
    """Download `size` with this share of datagrams lost; count from the fifth reduction of the window to the end."""
    return steady_state(PLAN, [f"links.0.down.1.loss={loss}", f"applications.0.size='{size}'", f"seed={seed}"])


def formula(p: float, constant: float = CONSTANT) -> float:
    """Datagrams per second."""
    return constant / (RTT * math.sqrt(p))


def judge(results: Sequence[Result]) -> list[Check]:
    """Sent and not lost, over the formula's, with p both as lost packets and as reductions per packet."""
    checks = []
    for loss in sorted({result.case["loss"] for result in results}):
        sums = pooled(row for row in results if row.case["loss"] == loss)
        rate = (sums["sent"] - sums["lost"]) / sums["seconds"]
        by_loss = rate / formula(sums["lost"] / sums["sent"])
        by_event = rate / formula(sums["reductions"] / sums["sent"])
        name = f"p {loss:.1%}, {sums['runs']} seeds"
        checks += [
            Check.between(f"{name}: losses", sums["lost"], _LEAST_LOSSES, None, "enough to average"),
            Check.relative(f"{name}: rate / formula, p = lost packets", by_loss, 1, 0.05, _SOURCE),
            Check.note(f"{name}: rate / formula, p = reductions", by_event, _SOURCE),
        ]
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """The rate over p."""
    losses = sorted({result.case["loss"] for result in results})
    sums = [pooled(row for row in results if row.case["loss"] == loss) for loss in losses]
    p = [one["lost"] / one["sent"] for one in sums]
    rates = [(one["sent"] - one["lost"]) / one["seconds"] for one in sums]
    curves = [
        plot.Curve(p, rates, "measured", POINTS),
        plot.Curve(p, [formula(one) for one in p], "1.2247 / (RTT √p)", EXPECTED),
    ]
    panel = plot.Panel(curves, "datagrams per second", "share of packets lost", "xy")
    return {"rate": plot.curves("NewReno under random loss, RTT 100 ms", [panel])}


EXPERIMENT: Final = Experiment(
    claim="Random losses that have nothing to do with congestion hold NewReno to 1.2247 datagrams / (RTT · √p).",
    cases=[
        *[Case({"loss": 0.001, "size": "260MB", "seed": seed}) for seed in (1, 2, 3)],
        Case({"loss": 0.005, "size": "56MB", "seed": 1}),
        Case({"loss": 0.01, "size": "27MB", "seed": 1}),
        Case({"loss": 0.01, "size": "27MB", "seed": 2}),
        Case({"loss": 0.02, "size": "14MB", "seed": 1}, quick=True),
        *[Case({"loss": 0.02, "size": "14MB", "seed": seed}) for seed in (2, 3, 4)],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
