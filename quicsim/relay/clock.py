"""What is to happen when, and how an event loop keeps to it exactly enough."""

import asyncio
import ctypes
import heapq
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK_CLOEXEC: Final = 0o2004000
_TFD_TIMER_ABSTIME: Final = 1
_NS_PER_S: Final = 10**9


class Timeline:
    """Calls for set times (ns); those for the same time happen in the order they were scheduled."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._numbers = count()

    def schedule(self, at: int, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback(*arguments)` once it is `at`; at the next occasion when that is past."""
        heapq.heappush(self._calls, (at, next(self._numbers), callback, arguments))

    @property
    def next_at(self) -> int | None:
        """When the next call is due; None when there is none."""
        return self._calls[0][0] if self._calls else None

    def run(self, now: int) -> None:
        """Make all calls that are due at `now`, in order."""
        calls = self._calls
        while calls and calls[0][0] <= now:
            _, _, callback, arguments = heapq.heappop(calls)
            callback(*arguments)


class WakeUp:
    """Calls `callback()` at a time of `time.monotonic_ns`, by a timer of the kernel where there is one (Linux).

    The event loop's own timers, which it uses elsewhere or without `kernel_timer`, are late by up to a millisecond.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object], *, kernel_timer: bool = True
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._at: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._timer = _open_timer() if kernel_timer else None
        if self._timer is not None:
            loop.add_reader(self._timer, self._on_timer)

    def set(self, at: int | None) -> None:
        """Call at `at`, or never; what was set before is void."""
        if at == self._at:
            return
        self._at = at
        if self._timer is not None:
            _set_timer(self._timer, at)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        if at is not None:
            self._handle = self._loop.call_later(max(at - time.monotonic_ns(), 0) / _NS_PER_S, self._on_time)

    def _on_timer(self) -> None:
        assert self._timer is not None
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._on_time()

    def _on_time(self) -> None:
        at, self._at = self._at, None
        if at is not None and time.monotonic_ns() < at:
            self.set(at)  # the event loop rounds
        else:
            self._callback()

    def close(self) -> None:
        """Never call again."""
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = None


def run_first() -> None:
    """Let the system prefer this process, but not its children, to all ordinary ones.

    So a relay keeps its times on a busy machine too. Raises OSError where that is not allowed.
    """
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


@contextmanager
def running_first() -> Iterator[None]:
    """As `run_first`, until the block has ended."""
    run_first()
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


_LIBC: Final = ctypes.CDLL(None)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _open_timer() -> int | None:
    """Return the file descriptor of a new timer of the kernel (timerfd); None where it has none."""
    if not hasattr(_LIBC, "timerfd_create"):
        return None
    timer: int = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
    return timer if timer >= 0 else None


def _set_timer(timer: int, at: int | None) -> None:
    # Zero would stop the timer, and is past anyway
    seconds, nanoseconds = divmod(max(at, 1), _NS_PER_S) if at is not None else (0, 0)
    value = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
    if _LIBC.timerfd_settime(timer, _TFD_TIMER_ABSTIME, ctypes.byref(value), None) != 0:
        raise OSError("the kernel's timer can't be set")
