"""Runs the cases of experiments in parallel processes, and keeps what they measured as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from quicsim.experiments.experiment import Measured, Result, experiment
from quicsim.outputs import OutputDirectory

_RESULTS: Final = "results.json"

Done = Callable[[str, Mapping[str, Any], float], object]  # experiment, case, share of all that is done


def run(
    names: Sequence[str], out: Path, *, quick: bool, missing: bool, jobs: int, done: Done
) -> dict[str, list[Result]]:
    """Measure all (or the quick) cases of the named experiments; results are kept in `out`/NAME as they come.

    With `missing`, only those that there is no result of. `done` is called after each case. Raises whatever a case
    raises, naming the case; what was measured until then, or until an interrupt, is kept.
    """
    results: dict[str, list[Result]] = {name: load(out, name) if missing else [] for name in names}
    cases = [(name, case) for name in names for case in missing_cases(name, results[name], quick=quick)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_measure, name, case): (name, case) for name, case in cases}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                name, case = futures[future]
                try:
                    results[name].append(Result(case, future.result()))
                except Exception as error:
                    error.add_note(f"in experiment {name}, case {case}")
                    raise
                save(OutputDirectory(out / name), _in_order(name, results[name]))
                done(name, case, number / len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: _in_order(name, results[name]) for name in names}


def _in_order(name: str, results: Sequence[Result]) -> list[Result]:
    """The results in the order of the experiment's cases."""
    order = [_key(case.arguments) for case in experiment(name).cases]
    known = [result for result in results if _key(result.case) in order]
    return sorted(known, key=lambda result: order.index(_key(result.case)))


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


def missing_cases(name: str, results: Sequence[Result], *, quick: bool) -> list[dict[str, Any]]:
    """The cases of an experiment that there is no result of."""
    there = [_key(result.case) for result in results]
    wanted = (dict(case.arguments) for case in experiment(name).selected(quick))
    return [case for case in wanted if _key(case) not in there]


def _key(case: Mapping[str, Any]) -> str:
    return json.dumps(dict(case), sort_keys=True)
