"""What an experiment is, and where to find those that come with quicsim: `experiments/NAME/experiment.py`."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quicsim.experiments.check import Check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Measured = dict[str, Any]  # numbers, texts and lists of them, as JSON has them

_PACKAGE: Final = "experiments"


class Case(NamedTuple):
    """One run: arguments of the experiment's `measure`. `quick`: part of the short selection that `make test` runs."""

    arguments: Mapping[str, Any]
    quick: bool = False


class Result(NamedTuple):
    """What was measured in a case."""

    case: Mapping[str, Any]
    measured: Measured


def _no_figures(_: Sequence[Result]) -> "dict[str, Figure]":
    return {}


@dataclass(frozen=True)
class Experiment:
    """A claim and how it is tested.

    `measure(**arguments)` runs one case, in a process of its own; `judge` holds the results of all cases, or of the
    quick ones, against what is expected; `draw` makes figures of them, by name.
    """

    claim: str
    cases: Sequence[Case]
    measure: Callable[..., Measured]
    judge: Callable[[Sequence[Result]], list[Check]]
    draw: "Callable[[Sequence[Result]], dict[str, Figure]]" = field(default=_no_figures)

    def selected(self, quick: bool) -> list[Case]:
        """All cases, or the quick ones."""
        return [case for case in self.cases if case.quick or not quick]


class UnknownExperiment(ValueError):
    """There is no experiment of this name."""


def folder() -> Path:
    """The folder of the experiments."""
    package = importlib.import_module(_PACKAGE)
    return Path(package.__path__[0])


def names() -> list[str]:
    """The names of all experiments, in order."""
    return sorted(path.parent.name for path in folder().glob("*/experiment.py"))


def experiment(name: str) -> Experiment:
    """Return the experiment of this name. Raises UnknownExperiment."""
    known = names()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownExperiment(f"unknown experiment {name!r}: {hint}must be one of {', '.join(known)}")
    found = importlib.import_module(f"{_PACKAGE}.{name}.experiment").EXPERIMENT
    assert isinstance(found, Experiment), name
    return found
