"""Programs of others, and our commands as processes, beside a test on the loopback interface."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from quicsim.real.udp import UdpSocket
from tests.support.peers import missing

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
QUICSIM = (sys.executable, "-m", "quicsim")


def program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or with QUICSIM_NO_SKIP=1 fails."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or missing(name, "is not installed")


def free_port() -> int:
    """A UDP port that nobody has now, nor gets by chance: clients are given those of the ephemeral range."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        if not _taken(port):
            return port


@contextlib.contextmanager
def running(
    command: tuple[object, ...], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server, from when it has its port; at the end it is gone. What it prints goes to `log`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not _taken(port):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _taken(port: int) -> bool:
    try:
        UdpSocket(HOST, port).close()
    except OSError:
        return True
    return False


def output(command: tuple[object, ...], timeout: float = 60, **environment: str) -> str:
    """Run a program to its end and return what it prints."""
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    ).stdout
