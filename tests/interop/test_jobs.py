"""The order in which test cases run in real time."""

import asyncio
from pathlib import Path

import pytest

from quicsim.interop import jobs
from quicsim.interop.cases import BY_ABBREVIATION
from quicsim.interop.endpoints import OURS, known_endpoints
from quicsim.interop.jobs import Job, run_all
from quicsim.interop.real import Pair
from quicsim.interop.results import Result, Status


def test_cases_run_side_by_side_and_measurements_alone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[str] = []
    beside: dict[str, int] = {}  # how many ran when a case began, itself too

    async def run(job: Job) -> Result:
        name = job.case.abbreviation
        running.append(name)
        beside[name] = len(running)
        await asyncio.sleep(0)
        running.remove(name)
        return Result(OURS, OURS, job.case, Status.PASSED)

    monkeypatch.setattr(jobs, "_run", run)
    pair = Pair(known_endpoints()[OURS], known_endpoints()[OURS])
    work = [Job(pair, BY_ABBREVIATION[name], Path(name), 1) for name in ("G", "H", "C", "S")]
    results: list[Result] = []
    asyncio.run(run_all(work, 2, results.append))
    assert [each.case.abbreviation for each in results][-2:] == ["G", "C"]
    assert beside == {"H": 1, "S": 2, "G": 1, "C": 1}
