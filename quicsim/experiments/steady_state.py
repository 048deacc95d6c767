"""A long download under random loss: what its sender does once slow start is forgotten."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from quicsim.applications import TransferResult
from quicsim.experiments.experiment import Measured, Result
from quicsim.experiments.plans import run_plan
from quicsim.experiments.recovery_log import RecoveryObserver
from quicsim.series import NS_PER_S

_WARM_UP: Final = 5  # reductions
_SUMS: Final = ("seconds", "sent", "lost", "reductions")


def steady_state(path: Path, settings: Sequence[str]) -> Measured:
    """Run a plan with one download, and count from the fifth reduction of the server's window to the end.

    Returns the time, packets sent and lost, reductions, the mean window in bytes over time, and, of the whole transfer,
    the goodput in bytes per second.
    """
    logs = RecoveryObserver()
    (result,) = run_plan(path, settings, logs.observer).results
    assert isinstance(result, TransferResult)
    (log,) = logs.logs
    since, until = log.reductions[_WARM_UP - 1], int(log.recovery["time"][-1])
    return {
        "seconds": (until - since) / NS_PER_S,
        "sent": log.sent_at(until) - log.sent_at(since),
        "lost": log.lost_between(since, until),
        "reductions": sum(since < at <= until for at in log.reductions),
        "mean_window": log.mean_window(since, until),
        "goodput": result.goodput / 8,
        "timeouts": len(log.probe_timeouts),
    }


def pooled(results: Iterable[Result]) -> Measured:
    """The sums over several runs, and the mean window over the time of all."""
    measured = [result.measured for result in results]
    sums: Measured = {key: sum(one[key] for one in measured) for key in _SUMS}
    sums["runs"] = len(measured)
    sums["mean_window"] = sum(one["mean_window"] * one["seconds"] for one in measured) / sums["seconds"]
    return sums
