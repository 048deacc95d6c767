"""A download during which nothing gets through for two seconds."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quicsim.applications import TransferResult
from quicsim.experiments import Case, Check, Experiment, Measured, RecoveryObserver, Result, run_plan
from quicsim.experiments.figures import windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN: Final = Path(__file__).with_name("plan.toml")
_MS: Final = 1_000_000  # ns
_SAMPLE_MS: Final = 20
_START_MS: Final = 5_000
_END_MS: Final = 7_000
_SIZE: Final = 10_000_000  # bytes
_RATE: Final = 10_500_000  # bit/s
_MOST_S: Final = {"cubic": 10.24, "new_reno": 15.0}  # what picoquic takes with CUBIC, and the most that its test allows
_PTO: Final = "RFC 9002 section 6.2.1: each PTO doubles"


def measure(congestion: str) -> Measured:
    """Download 10 MB; return when it was done, when the sender probed during the silence, and its window over time."""
    logs = RecoveryObserver()
    outcome = run_plan(PLAN, [f"stack.congestion='{congestion}'", "check=true"], logs.observer)
    (log,), (result,) = logs.logs, outcome.results
    assert isinstance(result, TransferResult)
    done_ms = (result.handshake_ns + result.duration_ns) // _MS
    return {
        "seconds": (result.handshake_ns + result.duration_ns) / 1e9,
        "probes_ms": [at / _MS for at in log.probe_timeouts if at > _START_MS * _MS],
        "window": [log.at(at * _MS) for at in range(0, done_ms, _SAMPLE_MS)],
        "flight": [int(flight) for flight in log.sampled("bytes_in_flight", _SAMPLE_MS * _MS, done_ms * _MS)],
    }


def judge(results: Sequence[Result]) -> list[Check]:
    """The intervals between probes double; the transfer goes on soon after, and is done when others are."""
    checks = []
    for row in results:
        name, probes = row.case["congestion"], row.measured["probes_ms"]
        gaps = [later - earlier for earlier, later in pairwise(probes)]
        ratios = [later / earlier for earlier, later in pairwise(gaps)]
        off = max((abs(ratio - 2) for ratio in ratios), default=2.0)
        checks.append(Check.absolute(f"{name}: ratio of intervals between probes, worst", 2 + off, 2, 0.001, "", _PTO))
        resumed = min(at for at in probes if at > _END_MS) - _END_MS
        what = f"{name}: first probe after the silence, ms"
        checks.append(Check.between(what, resumed, 0, _END_MS - _START_MS, _PTO))
        least = _SIZE * 8 / _RATE + 2
        source = "the link's rate and the silence; picoquic takes 10.24 s, and its test allows 15 s"
        checks.append(
            Check.between(f"{name}: 10 MB done after, s", row.measured["seconds"], least, _MOST_S[name], source)
        )
    return checks


def draw(results: Sequence[Result]) -> "dict[str, Figure]":
    """Windows and bytes in flight over the silence."""
    return {"window": windows("Nothing gets through from 5 s to 7 s", results, _SAMPLE_MS)}


EXPERIMENT: Final = Experiment(
    claim="When nothing gets through for two seconds, probes go at doubling intervals, and the transfer goes on with "
    "the first one that arrives.",
    cases=[Case({"congestion": "new_reno"}, quick=True), Case({"congestion": "cubic"})],
    measure=measure,
    judge=judge,
    draw=draw,
)
