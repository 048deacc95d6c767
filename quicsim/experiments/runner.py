"""Runs the cases of experiments in parallel processes, and keeps what they measured as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from quicsim.experiments.experiment import Case, Measured, Result, experiment
from quicsim.outputs import OutputDirectory

_RESULTS: Final = "results.json"

Done = Callable[[str, Mapping[str, Any], float], object]  # experiment, case, share of all that is done


def run(names: Sequence[str], out: Path, *, quick: bool, jobs: int, done: Done) -> dict[str, list[Result]]:
    """Measure all (or the quick) cases of the named experiments; results are kept in `out`/NAME as they come.

    `done` is called after each case. Raises whatever a case raises, naming the case; what was measured until then, or
    until an interrupt, is kept.
    """
    cases: list[tuple[str, Case]] = [(name, case) for name in names for case in experiment(name).selected(quick)]
    measured: dict[int, Measured] = {}
    results: dict[str, list[Result]] = {name: [] for name in names}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_measure, name, dict(case.arguments)): i for i, (name, case) in enumerate(cases)}
        try:
            for future in as_completed(futures):
                index = futures[future]
                name, case = cases[index]
                try:
                    measured[index] = future.result()
                except Exception as error:
                    error.add_note(f"in experiment {name}, case {dict(case.arguments)}")
                    raise
                results[name] = [
                    Result(dict(other.arguments), measured[i])
                    for i, (owner, other) in enumerate(cases)
                    if owner == name and i in measured
                ]
                save(OutputDirectory(out / name), results[name])
                done(name, case.arguments, len(measured) / len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _measure(name: str, arguments: dict[str, Any]) -> Measured:
    return experiment(name).measure(**arguments)


def save(directory: OutputDirectory, results: Sequence[Result]) -> None:
    """Keep results."""
    with directory.text(_RESULTS) as file:
        file.write(json.dumps([result._asdict() for result in results], indent=1) + "\n")


def load(out: Path, name: str) -> list[Result]:
    """Return the results that were kept of an experiment. Raises ValueError for a file that `save` did not write."""
    path = out / name / _RESULTS
    if not path.exists():
        return []
    try:
        return [Result(record["case"], record["measured"]) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: must be what `quicsim experiments run` wrote: {error}") from None


def missing(name: str, results: Sequence[Result], *, quick: bool) -> list[Mapping[str, Any]]:
    """The cases of an experiment that there is no result of."""
    there = [json.dumps(result.case, sort_keys=True) for result in results]
    wanted = (dict(case.arguments) for case in experiment(name).selected(quick))
    return [case for case in wanted if json.dumps(case, sort_keys=True) not in there]
