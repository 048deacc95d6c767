"""CUBIC under loss: like Reno where windows are small, and by its own response function where they are large."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiments.cubic_response.theory import cubic, reno, reno_friendly
from quicsim import plot
from quicsim.experiments import Case, Check, Experiment, Measured, Result
from quicsim.experiments.steady_state import pooled, steady_state
from quicsim.plot.curves import EXPECTED, LINE, POINTS
from stack.congestion import register
from stack.congestion.cubic import BETA, Cubic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_DATAGRAM: Final = 1200  # bytes
_RENO: Final = "RFC 9438 section 4.3: α 9/17, β 0.7 have Reno's response"
_BEYOND: Final = "the constant is for losses at equal distances and α 9/17 always"
_LIMIT: Final = "theory.py for p → 0: independent losses, α 1 from the window of the last loss on"
_THEORY: Final = "RFC 9438 section 4.3, its window followed from loss to loss (theory.py)"
_CUBIC: Final = "RFC 9438 section 5.1, figure 5: for losses at equal distances"
_LEAST_LOSSES: Final = 70
_RENO_REGION: Final = 0.005  # p from which on Reno's window is the larger one, at 100 ms
_INDEPENDENT: Final = 1.413  # rate · √p for p → 0, by theory.py
_RANDOM: Final = "random"
_PERIODIC: Final = "periodic"
_INITIAL_WINDOW: Final = 10  # datagrams


@register("cubic_constant_alpha")
class ConstantAlpha(Cubic):
    """CUBIC whose Reno-friendly window grows with α = 9/17 always, as the response function supposes."""

    __slots__ = ()

    def _begin_epoch(self, now: int) -> None:
        super()._begin_epoch(now)
        self._prior_window = math.inf


@register("cubic_without_curve")
class WithoutCurve(Cubic):
    """CUBIC in its Reno-friendly region always."""

    __slots__ = ()

    def _cubic(self, elapsed_ns: int) -> float:
        return -math.inf


def measure(congestion: str, losses: str, rtt_ms: int, p: float, size: str, seed: int) -> Measured:
    """Download `size` over this round trip, with a share `p` of datagrams lost at random or at equal distances."""
    delay = f"'{rtt_ms / 2:g}ms'"
    element = (
        f"{{ loss = {p} }}" if losses == _RANDOM else f"{{ lossevery = [{round(1 / p)}, {first_loss(rtt_ms, p)}] }}"
    )
    settings = [
        f"stack.congestion='{congestion}'",
        f"stack.fast_convergence={'true' if losses == _RANDOM else 'false'}",  # the formula is for a flow that is alone
        f"links.0.up.0.delay={delay}",
        f"links.0.down.0.delay={delay}",
        f"links.0.down.1={element}",
        f"applications.0.size='{size}'",
        f"seed={seed}",
    ]
    return steady_state(PLAN, settings)


def first_loss(rtt_ms: int, p: float) -> int:
    """The datagram whose loss ends slow start at the window that the formula has before each reduction.

    The curve is flat there, so that CUBIC comes from another window by half a datagram per loss only.
    """
    largest = max(cubic(rtt_ms / 1000, p) / ((3 + BETA) / 4), reno(p) / ((1 + BETA) / 2))
    return round(largest) - _INITIAL_WINDOW + 1


def _kinds(results: Sequence[Result]) -> dict[tuple[str, str, int, float], Measured]:
    """Sums over seeds, by controller, kind of losses, round trip and p."""
    kinds: dict[tuple[str, str, int, float], list[Result]] = {}
    for row in results:
        case = row.case
        kinds.setdefault((case["congestion"], case["losses"], case["rtt_ms"], case["p"]), []).append(row)
    return {kind: pooled(rows) for kind, rows in kinds.items()}


def _rate(sums: Measured, rtt_ms: int) -> float:
    """Datagrams per round trip that are not lost."""
    return float((sums["sent"] - sums["lost"]) / sums["seconds"] * rtt_ms / 1000)


def judge(results: Sequence[Result]) -> list[Check]:
    """In Reno's region the rate, in CUBIC's the mean window."""
    checks = []
    for (congestion, losses, rtt_ms, nominal), sums in _kinds(results).items():
        p = sums["lost"] / sums["sent"]
        name = f"{congestion}, {losses} losses, RTT {rtt_ms} ms, p {nominal:.2%}"
        checks.append(Check.between(f"{name}: losses", sums["lost"], _LEAST_LOSSES, None, "enough to average"))
        if nominal < _RENO_REGION:
            window, expected = sums["mean_window"] / _DATAGRAM, cubic(rtt_ms / 1000, p)
            checks.append(Check.relative(f"{name}: mean window, datagrams", window, expected, 0.05, _CUBIC))
        else:
            checks += _judge_rate(name, congestion, losses, _rate(sums, rtt_ms), p)
    return checks


def _judge_rate(name: str, congestion: str, losses: str, rate: float, p: float) -> list[Check]:
    constant = congestion == "cubic_constant_alpha"
    expected = reno_friendly(p, independent=losses == _RANDOM, constant_alpha=constant)
    what = f"{name}: datagrams per round trip"
    if congestion == "cubic_without_curve":
        return [Check.note(f"{what}, by theory {expected:.4g}", rate, _THEORY)]
    checks = [Check.relative(what, rate, expected, 0.04 if losses == _RANDOM else 0.02, _THEORY)]
    what = f"{name}: rate / (1.2247 / √p)"
    if constant:
        checks.append(Check.relative(what, rate / reno(p), 1, 0.06, _RENO))
    else:
        checks.append(Check.note(what, rate / reno(p), _BEYOND))
    if losses == _RANDOM and not constant:
        checks.append(Check.note(f"{name}: rate / ({_INDEPENDENT} / √p)", rate * math.sqrt(p) / _INDEPENDENT, _LIMIT))
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Rates over p, and the formula."""
    kinds = _kinds(results)
    curves = []
    for congestion in ("cubic", "cubic_constant_alpha"):
        pools = [sums for (name, losses, _, _), sums in kinds.items() if (name, losses) == (congestion, _RANDOM)]
        lost = [sums["lost"] / sums["sent"] for sums in pools]
        curves.append(plot.Curve(lost, [_rate(sums, 100) for sums in pools], congestion, POINTS))
    grid = [0.005 * 1.1**step for step in range(16)]
    curves.append(plot.Curve(grid, [reno_friendly(p, independent=True) for p in grid], "cubic, by theory", LINE))
    constant = [reno_friendly(p, independent=True, constant_alpha=True) for p in grid]
    curves.append(plot.Curve(grid, constant, "cubic_constant_alpha, by theory", LINE))
    curves.append(plot.Curve(grid, [reno(p) for p in grid], "1.2247 / √p", EXPECTED))
    panel = plot.Panel(curves, "datagrams per round trip", "share of packets lost", "xy")
    return {"rate": plot.curves("CUBIC in Reno's region, RTT 100 ms", [panel])}


def _case(congestion: str, losses: str, rtt_ms: int, p: float, size: str, seed: int) -> dict[str, Any]:
    return {"congestion": congestion, "losses": losses, "rtt_ms": rtt_ms, "p": p, "size": size, "seed": seed}


_RENO_SIZES: Final = ((0.005, "28MB"), (0.01, "14MB"), (0.02, "14MB"))

EXPERIMENT: Final = Experiment(
    claim="Where windows are small CUBIC gets what Reno would, and more if losses come at random; where they are "
    "large, a mean window of 1.054 (RTT/p)^¾ datagrams.",
    cases=[
        *[Case(_case("cubic", _PERIODIC, rtt, 0.0001, "900MB", 1)) for rtt in (200, 100)],
        *[Case(_case("cubic", _PERIODIC, rtt, 0.0003, "300MB", 1)) for rtt in (200, 100)],
        *[Case(_case("cubic", _PERIODIC, 100, p, size, 1), quick=p == 0.01) for p, size in _RENO_SIZES],
        *[
            Case(_case(congestion, _RANDOM, 100, p, size, seed), quick=(congestion, p, seed) == ("cubic", 0.02, 1))
            for congestion in ("cubic", "cubic_constant_alpha")
            for p, size in _RENO_SIZES
            for seed in (1, 2)
        ],
        *[Case(_case("cubic_without_curve", _RANDOM, 100, 0.005, "28MB", seed)) for seed in (1, 2)],
    ],
    measure=measure,
    judge=judge,
    draw=draw,
)
