"""Discrete events on an int clock in nanoseconds: a thin layer over `simpy.Environment`.

Packets are callbacks; processes are for applications, and resume only through futures. Three ways of SimPy's
are kept away from everyone else: a run until T includes what happens at T, a failure is never rebuilt as
`type(e)(*e.args)` but reaches its receiver as it is, with its traceback, and timers are left to run out
instead of being cancelled.
"""

import gc
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush, heapreplace
from typing import Any, Final, Generic, TypeVar

import simpy
from simpy.events import NORMAL, Event

T = TypeVar("T")

_FOREVER: Final = 1 << 100  # ns
_COLLECT_AFTER: Final = 50_000  # objects; Python's own 700 let it look through all of a large network again and again


class DeadlockError(RuntimeError):
    """Nothing is left to happen, and the awaited task is not done."""


class Future(Generic[T]):
    """A value that will be there later; `what` tells people which. The first result or exception stays."""

    def __init__(self, event: Event, what: str) -> None:
        self.what: Final = what
        self.awaited = False
        self.event = event
        self._done = False
        self._result: T | None = None
        self._exception: BaseException | None = None

    def done(self) -> bool:
        """Tell whether there is a result or an exception."""
        return self._done

    def set_result(self, result: T) -> None:
        """Resume whoever waits, with `result`."""
        if not self._done:
            self._done = True
            self._result = result
            self.event.succeed()

    def set_exception(self, exception: BaseException) -> None:
        """Resume whoever waits, raising `exception` there."""
        if not self._done:
            self._done = True
            self._exception = exception
            self.event.succeed()

    def result(self) -> T:
        """Return the result or raise the exception; raises RuntimeError while there is neither."""
        if not self._done:
            raise RuntimeError(f"{self.what}: not done yet")
        if self._exception is not None:
            raise self._exception
        return self._result  # type: ignore[return-value]  # set together with _done

    def __await__(self) -> Generator["Future[T]", None, T]:
        self.awaited = True
        if not self._done:
            yield self
        return self.result()


class Task(Future[T]):
    """A running application; await it for what it returns. `waiting_for` says what it waits for now."""

    waiting_for: str = "its turn"


class Engine:
    """The clock and what will happen; what is for the same time happens in the order it was scheduled.

    `now` is the time in ns since the start, which only `run` and `catch_up` change.
    """

    def __init__(self) -> None:
        self.now = 0
        self._environment: Final = simpy.Environment()
        # SimPy's own queue and counter. Its entries are (time, priority, count, event); a call has callback, arguments
        # and None in the place of the event, which saves making one for each datagram; one in a lane has callback,
        # argument and lane.
        self._queue: Final[list[Any]] = self._environment._queue
        self._count: Final = self._environment._eid
        self._tasks: dict[Task[Any], None] = {}  # the running ones, in order of their start

    def schedule(self, at: int, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback(*arguments)` at `at` (ns). Raises ValueError when that is past."""
        if at < self.now:
            raise ValueError(f"can't schedule for {at} ns: it is {self.now} ns already")
        heappush(self._queue, (at, NORMAL, next(self._count), callback, arguments, None))

    def lane(self, callback: Callable[[T, int], object]) -> Callable[[T, int], None]:
        """Return what schedules `callback(argument, at)`, given these two, at times that hardly ever decrease.

        Such are the arrivals over a link. What happens when is the same as by `schedule`, but of all that wait in order
        only the first is in the queue, so that this stays short where thousands of datagrams are under way.
        """
        waiting: deque[Any] = deque()  # entries in order; the first is also in the queue
        append, queue, count = waiting.append, self._queue, self._count
        last = 0  # time of the last that waits, or of one that did

        def schedule(argument: T, at: int) -> None:
            nonlocal last
            if at < last:
                self.schedule(at, callback, argument, at)
                return
            last = at
            entry = (at, NORMAL, next(count), callback, argument, waiting)
            if not waiting:
                if at < self.now:
                    raise ValueError(f"can't schedule for {at} ns: it is {self.now} ns already")
                heappush(queue, entry)
            append(entry)

        return schedule

    def future(self, what: str) -> Future[Any]:
        """Return a future that processes of this engine can await."""
        return Future(self._environment.event(), what)

    def start(self, application: Callable[[], Coroutine[Any, Any, T]], name: str) -> Task[T]:
        """Run a coroutine, made when its turn comes: a run may end before.

        When it fails and nobody awaits its task, the run stops with its exception.
        """
        task: Task[T] = Task(self._environment.event(), name)
        self._tasks[task] = None
        self._environment.process(self._drive(application, task))
        return task

    def run(self, task: Task[T] | None = None, until: int | None = None) -> T | None:
        """Let things happen until `task` is done, or up to the time `until` (inclusive), or until no more do.

        Returns the task's result, or raises its exception. Raises DeadlockError when nothing is left to
        happen although the task is not done, and TimeoutError when it is not done at `until`.
        """
        if until is not None and until < self.now:
            raise ValueError(f"can't run until {until} ns: it is {self.now} ns already")
        if task is not None:
            task.awaited = True
        with _collecting_rarely():
            self._run(task, _FOREVER if until is None else until)
        if task is not None and task.done():
            return task.result()
        stuck = None if task is None else self._stuck(task, until)
        if until is not None:
            self.now = self._environment._now = until  # before which nothing is left to happen
        if stuck is not None:
            raise stuck
        return None

    @property
    def next_at(self) -> int | None:
        """When the next thing is to happen (ns); None when nothing is."""
        return self._queue[0][0] if self._queue else None

    def catch_up(self, until: int) -> None:
        """Let happen what is due at `until`, or was; the clock stays at the last of it.

        For who has a clock of their own, such as the real one, which may tell later what came before.
        """
        self._run(None, until)

    def _run(self, task: Task[Any] | None, until: int) -> None:
        """Let things happen until a task is done, or up to a time, or until nothing is left."""
        environment, queue = self._environment, self._queue
        step = environment.step
        if task is not None and task.done():
            return
        while queue:
            entry = queue[0]
            now = entry[0]
            if now > until:
                return
            self.now = environment._now = now
            try:
                waiting = entry[5]
            except IndexError:
                step()  # of a process, without which no task gets done
                if task is not None and task.done():
                    return
                continue
            if waiting is None:
                heappop(queue)
                entry[3](*entry[4])
            else:
                waiting.popleft()
                if waiting:
                    heapreplace(queue, waiting[0])
                else:
                    heappop(queue)
                entry[3](entry[4], now)

    def _stuck(self, task: Task[Any], until: int | None) -> Exception:
        if until is not None and self._environment.peek() != float("inf"):
            return TimeoutError(f"{task.what} is not done at {until} ns: waits for {task.waiting_for}")
        waiting = "; ".join(f"{other.what} waits for {other.waiting_for}" for other in self._tasks)
        return DeadlockError(f"nothing is left to happen at {self.now} ns, but {waiting}")

    def _drive(
        self, application: Callable[[], Coroutine[Any, Any, T]], task: Task[T]
    ) -> Generator[Event, object, None]:
        try:
            coroutine = application()
            while True:
                future = coroutine.send(None)
                if not isinstance(future, Future):
                    coroutine.close()
                    raise TypeError(f"{task.what} awaits {future!r}: must be something that its net gave")
                task.waiting_for = future.what
                yield future.event
        except StopIteration as stop:
            task.set_result(stop.value)
        except Exception as exception:
            task.set_exception(exception)
            self.schedule(self.now, self._fail, task)
        finally:
            del self._tasks[task]

    def _fail(self, task: Task[Any]) -> None:
        """Stop the run because of a failed task, unless somebody sees to it."""
        if not task.awaited:
            task.result()


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Let the search for garbage in cycles wait: a run makes hardly any, and much else that would be searched."""
    most, *others = gc.get_threshold()
    gc.set_threshold(max(most, _COLLECT_AFTER) if most else 0, *others)
    try:
        yield
    finally:
        gc.set_threshold(most, *others)
