"""Endpoints of the interop runner's contract as processes on loopback, and what they exchange."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from quicsim.authority import issue, write_files
from quicsim.interop.peers import HQ, PEERS, Command, Peer, Role, Setting
from quicsim.real.udp import UdpSocket
from tests.support.peers import NO_SKIP

HOST = "127.0.0.1"


def installed(name: str) -> Peer:
    """Return a peer; without it the test is skipped, or with QUICSIM_NO_SKIP=1 fails."""
    peer = PEERS[name]
    missing = peer.missing()
    if missing is not None:
        message = f"needs {missing}"
        if os.environ.get(NO_SKIP) == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return peer


class Exchange:
    """The directories of a server and a client, below `directory`, and the files to fetch."""

    def __init__(self, directory: Path, *sizes: int, protocol: str = HQ, host: str = HOST) -> None:
        self.directory = directory
        self.protocol = protocol
        self.host = host
        for name in ("www", "downloads", "certs", "server", "client"):
            (directory / name).mkdir()
        rng = Random(7)
        issued = issue(["localhost", "server4", HOST, "::1"], datetime(2026, 1, 1, tzinfo=UTC), rng, days=3000)
        write_files(directory / "certs", issued.files())
        (directory / "certs" / "key.pem").rename(directory / "certs" / "priv.key")
        self.files = {f"file{number}.bin": rng.randbytes(size) for number, size in enumerate(sizes)}
        for name, content in self.files.items():
            (directory / "www" / name).write_bytes(content)

    def setting(self, role: Role, port: int) -> Setting:
        """The setting of an endpoint that listens at or sends to `port`."""
        at = self.directory
        return Setting(
            host=self.host,
            port=port,
            www=at / "www",
            downloads=at / "downloads",
            certs=at / "certs",
            logs=at / role.value,
            keylog=at / f"{role.value}.keys",
            protocol=self.protocol,
            requests=tuple(f"https://localhost:{port}/{name}" for name in self.files) if role is Role.CLIENT else (),
        )

    @contextlib.contextmanager
    def serving(self, server: Peer, testcase: str) -> Iterator[int]:
        """Run a server and give its port; at its end it is gone."""
        probe = UdpSocket(self.host)
        port = probe.address[1]
        probe.close()
        with self._process(server.command(Role.SERVER, testcase, self.setting(Role.SERVER, port)), "server") as process:
            self._wait_for(process, port)
            yield port

    def fetch(self, client: Peer, testcase: str, port: int, timeout: float = 60) -> int:
        """Run a client and return its exit code."""
        with self._process(client.command(Role.CLIENT, testcase, self.setting(Role.CLIENT, port)), "client") as process:
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"the client is not done: {self.log('client')}") from None

    @contextlib.contextmanager
    def _process(self, command: Command, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program, with all that it starts, until the end."""
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_for(self, server: "subprocess.Popen[bytes]", port: int) -> None:
        """Wait until the server's port is taken."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                UdpSocket(self.host, port).close()
            except OSError:
                return
            assert server.poll() is None, self.log("server")
            time.sleep(0.05)
        raise AssertionError(f"the server does not listen: {self.log('server')}")

    @property
    def fetched(self) -> bool:
        """Whether every file has come as it is."""
        downloads = self.directory / "downloads"
        return all(
            (downloads / name).is_file() and (downloads / name).read_bytes() == content
            for name, content in self.files.items()
        )

    def log(self, role: str) -> str:
        """The last that an endpoint printed."""
        return (self.directory / f"{role}.log").read_text(errors="replace")[-2000:]
