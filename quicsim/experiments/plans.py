"""Plans as part of an experiment: run with settings, without files, and with an observer of the experiment's own."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from quicsim.outputs import OutputDirectory
from quicsim.plan import load_plan
from quicsim.run import Outcome, Run
from stack.observer import Observer

_NOTHING: Final = tuple(f"capture.{what}=false" for what in ("metrics", "qlog", "pcapng", "plots"))


class ExperimentFailed(RuntimeError):
    """A run did not end as it should; the message says what it was."""


def run_plan(
    path: Path, settings: Iterable[str] = (), observer: Callable[[str], Observer | None] | None = None
) -> Outcome:
    """Run the plan at `path` with settings such as "seed=3", and write nothing. Raises ExperimentFailed, PlanError."""
    changes = [*settings, *_NOTHING]
    with TemporaryDirectory() as directory:
        outcome = Run(load_plan(path, changes), OutputDirectory(Path(directory)), observer=observer).execute()
    if outcome.interrupted:
        raise KeyboardInterrupt
    if not outcome.ok:
        replay = " ".join(["quicsim run", str(path), *(f"--set '{change}'" for change in settings)])
        raise ExperimentFailed(f"{outcome.failure} (replay it with: {replay})")
    return outcome
