"""The runs of a sweep: every combination of the values in a plan's `[sweep]` table.

    [sweep]
    "links.0.down.3.loss" = [0, 0.01, 0.02]
    "links.0.up.0.rate, links.0.down.0.rate" = { from = 1000000, to = 64000000, count = 7, scale = "log" }
    seed = { from = 1, to = 20 }

A key is the dotted path of a value, or several with commas between, which are then set to the same. The values of the
last key change first.
"""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from quicsim.plan.data import apply_setting, load_data, set_value
from quicsim.plan.errors import PlanError
from quicsim.plan.load import checked

SWEEP: Final = "sweep"
_NO_CAPTURE: Final = {"qlog": False, "pcapng": False, "plots": False}


class SweepRun(NamedTuple):
    """One run: the values that it takes, by key, and the tables of its plan, which is checked."""

    parameters: dict[str, Any]
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """What tells it from every run of another plan: half a SHA-256 of its tables, in hexadecimal."""
        return sha256(json.dumps(self.data, sort_keys=True).encode()).hexdigest()[:32]


def sweep_runs(path: Path, settings: Iterable[str] = (), seeds: Iterable[int] | None = None) -> list[SweepRun]:
    """Return the runs of the plan in a TOML file, after `settings`; of each combination with all `seeds`, if given.

    Only metrics are kept of them: no traces, captures and plots. Raises PlanError, also for a combination that can't
    be.
    """
    source = str(path)
    data = load_data(path)
    for setting in settings:
        apply_setting(data, setting)
    values = dict(checked(data, source).sweep)
    data.pop(SWEEP, None)
    if seeds is not None:
        values["seed"] = list(seeds)
    if not values:
        raise PlanError(source, ['sweep: is missing: must be a table such as { "links.0.down.3.loss" = [0, 0.01] }'])
    data["capture"] = data.get("capture", {}) | _NO_CAPTURE
    return list(_combinations(data, values, source))


def _combinations(data: dict[str, Any], values: dict[str, list[Any]], source: str) -> Iterator[SweepRun]:
    for combination in product(*values.values()):
        parameters = dict(zip(values, combination, strict=True))
        own = deepcopy(data)
        for paths, value in parameters.items():
            for path in paths.split(","):
                set_value(own, path, value, f"{source}: {SWEEP}.{paths!r}")
        checked(own, f"{source} with {parameters}")
        yield SweepRun(parameters, own)
