"""The agent as a process of its own: its listening socket, its clock, its loop."""

import contextlib
import os
import socket
import stat
import time
from pathlib import Path
from typing import Final, Self

from quicsim.agent.agent import Agent, Log
from quicsim.agent.keys import Keys
from quicsim.agent.watchers import PollWatcher
from quicsim.real.randomness import SystemRandomness

NS_PER_MS: Final = 1_000_000
BACKLOG: Final = 16


class Worker:
    """Serves the consumers that connect to the SEQPACKET socket at `path`, which only this user may do.

    A socket there that nobody listens at is replaced. Raises OSError if there is anything else.
    """

    def __init__(self, path: Path, keys: Keys, log: Log) -> None:
        self._path = path
        self._watcher = PollWatcher()
        self.agent = Agent(keys, self._watcher, SystemRandomness(), time.monotonic_ns, log)
        _remove_stale(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            before = os.umask(0o177)
            try:
                self._listener.bind(str(path))
            finally:
                os.umask(before)
            self._listener.listen(BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._watcher.watch(self._listener, self._accept, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> None:
        """Serve for ever."""
        while True:
            self.step(None)

    def step(self, longest_ms: float | None) -> None:
        """Do what is due now, after waiting for it for at most so long; None: as long as it takes."""
        deadline = self.agent.deadline()
        if deadline is not None:
            left_ms = max(deadline - time.monotonic_ns(), 0) / NS_PER_MS + 1
            longest_ms = left_ms if longest_ms is None else min(left_ms, longest_ms)
        self._watcher.run(longest_ms)
        self.agent.timeout()

    def close(self) -> None:
        """Leave the consumers and remove the socket."""
        self.agent.close()
        self._watcher.forget(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            control, _ = self._listener.accept()
            self.agent.attach(control)


def _remove_stale(path: Path) -> None:
    """Remove a socket that a former agent has left behind."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return  # bind will say that the address is in use
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
