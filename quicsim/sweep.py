"""Sweeps: many runs of a plan with different values, in parallel processes, one row of a table each.

A row is kept in `rows/KEY.json` as soon as its run is over, so that an interrupted sweep goes on where it was: a row of
the same plan, the same values and the same version of this program is not measured again.
"""

import csv
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from quicsim.outputs import OutputDirectory
from quicsim.plan import SweepRun
from quicsim.plan.load import checked
from quicsim.run import Run
from quicsim.summary import program_version, summary

_FIGURES: Final = ("goodput", "duration_ns", "handshake_ns", "verified", "sent", "lost")  # of an application's result
_OF_ENDS: Final = ("packets_sent", "packets_lost", "stream_bytes_retransmitted", "mean_rtt", "goodput")

Row = dict[str, Any]
Done = Callable[[int, int], object]  # rows that are there, of all


class Sweep:
    """The rows of some runs in a directory."""

    def __init__(self, runs: Sequence[SweepRun], out: Path) -> None:
        """Raises OutputError when the directory can't be written to."""
        self.runs: Final = runs
        self._out: Final = OutputDirectory(out)
        self._rows: Final = OutputDirectory(out / "rows")

    def rows(self) -> list[Row]:
        """The rows that are there, in the order of the runs."""
        return [row for run in self.runs if (row := self._row(run)) is not None]

    def measure(self, jobs: int, done: Done) -> None:
        """Run what has no row yet in `jobs` processes, or with one in this; `done` is called first and after each run.

        Raises whatever a run raises, with a note of its values; the rows that are there then stay.
        """
        missing = [run for run in self.runs if self._row(run) is None]
        there = len(self.runs) - len(missing)
        done(there, len(self.runs))
        for run, row in self._measured(missing, jobs):
            with self._rows.text(f"{run.key}.json") as file:
                file.write(json.dumps({"quicsim": program_version()} | row, indent=1) + "\n")
            there += 1
            done(there, len(self.runs))

    def _measured(self, runs: Sequence[SweepRun], jobs: int) -> Iterator[tuple[SweepRun, Row]]:
        out = str(self._out.path)
        if jobs == 1 or len(runs) < 2:
            for run in runs:
                yield run, measured(run.parameters, run.data, out)
            return
        # An interrupt ends the workers at once and without a word
        signals = (signal.SIGINT, signal.SIG_DFL)
        with ProcessPoolExecutor(min(jobs, len(runs)), get_context("spawn"), signal.signal, signals) as pool:
            futures = {pool.submit(measured, run.parameters, run.data, out): run for run in runs}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def save(self) -> list[Row]:
        """Write the table of all rows, as results.csv and results.json, and return it."""
        rows = self.rows()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with self._out.text("results.json") as file:
            file.write(json.dumps(rows, indent=1) + "\n")
        with self._out.text("results.csv") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([row.get(name, "") for name in columns] for row in rows)
        return rows

    def _row(self, run: SweepRun) -> Row | None:
        path = self._rows.path / f"{run.key}.json"
        try:
            row: Row = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return row if row.pop("quicsim", None) == program_version() else None


def measured(parameters: dict[str, Any], data: dict[str, Any], out: str) -> Row:
    """Run the plan that tables describe, and return its row: parameters, figures, digest."""
    try:
        outcome = Run(checked(data, "the plan"), OutputDirectory(Path(out))).execute()
    except Exception as error:
        error.add_note(f"in the run with {parameters}")
        raise
    if outcome.interrupted:
        raise KeyboardInterrupt
    return parameters | {"seed": outcome.plan.seed} | dict(_figures(summary(outcome)))


def _figures(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a run's summary."""
    for name in ("ok", "failure", "virtual_time_ns"):
        yield name, record[name]
    for i, application in enumerate(record["applications"]):
        result = application["result"] or {}
        for name in _FIGURES:
            if name in result:
                yield f"applications.{i}.{name}", result[name]
        latencies = result.get("latencies_ns")
        if latencies:
            yield f"applications.{i}.mean_latency_ns", sum(latencies) / len(latencies)
    for i, connection in enumerate(record["connections"]):
        sender, receiver = connection["ends"][0], connection["ends"][-1]
        for name in _OF_ENDS:
            yield f"connections.{i}.{name}", (receiver if name == "goodput" else sender)[name]
    for i, flow in enumerate(record["traffic"]):
        yield f"traffic.{i}.goodput", flow["goodput"]
    for link in record["links"]:
        yield f"links.{link['name']}.dropped", sum(link["dropped"].values())
    yield "digest", record["digest"]
