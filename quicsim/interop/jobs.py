"""Test cases in real time in processes of their own, some at once: no relay must wait for the checks of another run."""

import asyncio
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from quicsim.interop.cases import BY_ABBREVIATION, Case
from quicsim.interop.real import Pair, run_case
from quicsim.interop.results import Result, Status

_GRACE: Final = 15.0  # seconds that a run may take to end its programs
_PROCESSES: Final = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Job:
    """A case for a pair, whose files go to `directory`; with `realtime` its relay runs before other programs."""

    pair: Pair
    case: Case
    directory: Path
    seed: int
    realtime: bool = False


async def run_all(
    jobs: Sequence[Job], at_once: int, on_result: Callable[[Result], object], *, keep: bool = True
) -> None:
    """Run cases, so many at once, and at the end measurements, one after the other: no other run is to disturb them.

    `on_result` is called with each result as it comes. Unless the files of the runs are to be kept, they go as soon as
    there is a result.
    """
    room = asyncio.Semaphore(at_once)

    async def run(job: Job) -> None:
        async with room:
            result = await _run(job)
            if not keep:
                shutil.rmtree(job.directory, ignore_errors=True)
            on_result(result)

    async with asyncio.TaskGroup() as group:
        for job in jobs:
            if not job.case.measured:
                group.create_task(run(job))
    for job in jobs:
        if job.case.measured:
            await run(job)


async def _run(job: Job) -> Result:
    """Run a case in another process, which is gone when this ends."""
    result, given = _PROCESSES.Pipe(duplex=False)
    # The functions in a case are for no other process
    case = job.case.abbreviation, job.case.repetitions
    arguments = (given, job.pair, *case, job.directory, job.seed, job.realtime)
    process = _PROCESSES.Process(target=_work, args=arguments, daemon=True)
    _start(process)
    given.close()
    try:
        await _until_ended(process)
    except asyncio.CancelledError:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(_until_ended(process), _GRACE)
        process.kill()
        raise
    with result:
        names = (job.pair.client.name, job.pair.server.name)
        try:
            return Result(*names, job.case, *result.recv())
        except EOFError:
            reason = f"the process of the test case ended with exit code {process.exitcode}"
            return Result(*names, job.case, Status.FAILED, reason)


def _start(process: BaseProcess) -> None:
    """Start a process that takes no SIGINT yet: Ctrl-C is for the one who starts it, and who then sends SIGTERM."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _until_ended(process: BaseProcess) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


def _work(
    given: Connection, pair: Pair, abbreviation: str, repetitions: int, directory: Path, seed: int, realtime: bool
) -> None:
    """Run a case and give what is to be known of its result; give nothing when SIGTERM comes first."""
    signal.signal(signal.SIGINT, lambda *_: None)  # which the programs that it starts do not inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    case = replace(BY_ABBREVIATION[abbreviation], repetitions=repetitions)
    with suppress(asyncio.CancelledError):
        result = asyncio.run(_run_until_terminated(pair, case, directory, seed, realtime))
        given.send((result.status, result.reason, result.goodputs, result.duration_s))


async def _run_until_terminated(pair: Pair, case: Case, directory: Path, seed: int, realtime: bool) -> Result:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_case(pair, case, directory, seed, realtime=realtime)
