"""Processes that are killed or stopped while files go from one to the other: exit codes, messages, and what is left."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quicsim.commands import exits
from tests.support.programs import HOST, QUICSIM, ROOT, free_port, running

# How long the network is down, and the client's idle timeout (s); `make outage` has the command's own and 20 s
OUTAGES = [(20, 30)] if os.environ.get("QUICSIM_OUTAGE") == "1" else [(3, 6)]
SIZE = 300_000_000  # bytes: more than comes before the test acts


@pytest.fixture
def www(tmp_path: Path) -> Path:
    directory = tmp_path / "www"
    directory.mkdir()
    with (directory / "big.bin").open("wb") as file:
        file.truncate(SIZE)
    (directory / "small.bin").write_bytes(b"small")
    return directory


class Server:
    """Our server, as a process of its own."""

    def __init__(self, www: Path) -> None:
        self.port = free_port()
        self.log = www.parent / "serve.log"
        command = (*QUICSIM, "serve", www, "--h3", "--host", HOST, "--port", self.port)
        self.running = running(command, self.port, self.log)

    def url(self, name: str) -> str:
        return f"https://{HOST}:{self.port}/{name}"

    def told(self, pattern: str) -> None:
        """Wait until the server has printed it."""
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.log.read_text()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def server(www: Path) -> Server:
    return Server(www)


@pytest.fixture
def process(server: Server) -> Iterator["subprocess.Popen[bytes]"]:
    with server.running as process:
        yield process


@contextmanager
def outage(server: Server, start: str, duration: str) -> Iterator[str]:
    """A relay to the server through which nothing passes for a time; give the URL of its root."""
    port = free_port()
    link = f"rate=10Mbps, taildrop(packets=25), delay=5ms, blackout({start}, {duration})"
    command = (*QUICSIM, "relay", f"{HOST}:{server.port}", "--listen", f"{HOST}:{port}", "--both", link)
    with running(command, port, server.log.with_name("relay.log")):
        yield f"https://{HOST}:{port}"


def start_get(url: str, out: Path, *options: object) -> "subprocess.Popen[str]":
    command = [*QUICSIM, "get", url, "--pin", "test", "--out", str(out), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for_data(client: "subprocess.Popen[str]", part: Path) -> None:
    """Wait until some of the file is there."""
    while client.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)


def test_a_server_that_is_killed(server: Server, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    out = tmp_path / "out"
    client = start_get(server.url("big.bin"), out, "--timeout", 3)
    wait_for_data(client, out / ".big.bin.part")
    process.kill()
    _, err = client.communicate(timeout=60)
    assert client.returncode == exits.TIMEOUT
    assert err == (
        f"quicsim: {HOST}:{server.port}: no answer: connection given up: idle timeout, "
        "nothing came from the peer for too long\n"
    )
    assert list(out.iterdir()) == []


def test_a_client_that_is_killed(server: Server, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    out = tmp_path / "out"
    client = start_get(server.url("big.bin"), out, "--timeout", 3)
    wait_for_data(client, out / ".big.bin.part")
    client.kill()
    client.communicate()
    assert [path.name for path in out.iterdir()] == [".big.bin.part"]
    server.told(r"GET '/big\.bin': connection given up: idle timeout")
    again = start_get(server.url("small.bin"), out)
    again.communicate(timeout=60)
    assert again.returncode == exits.OK
    assert (out / "small.bin").read_bytes() == b"small"
    assert process.poll() is None


def test_a_server_that_says_nothing_for_a_while(
    server: Server, process: "subprocess.Popen[bytes]", www: Path, tmp_path: Path
) -> None:
    os.truncate(www / "big.bin", 30_000_000)
    out = tmp_path / "out"
    client = start_get(server.url("big.bin"), out)
    wait_for_data(client, out / ".big.bin.part")
    process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    assert client.poll() is None, (client.communicate(), server.log.read_text())
    process.send_signal(signal.SIGCONT)
    _, err = client.communicate(timeout=60)
    assert (client.returncode, err) == (exits.OK, "")
    assert (out / "big.bin").read_bytes() == bytes(30_000_000)


@pytest.mark.parametrize(("seconds", "timeout"), OUTAGES)
def test_a_network_that_is_down_for_less_than_the_timeout(
    server: Server, process: "subprocess.Popen[bytes]", www: Path, tmp_path: Path, seconds: int, timeout: int
) -> None:
    content = random.Random(1).randbytes(3_000_000)
    (www / "big.bin").write_bytes(content)
    out = tmp_path / "out"
    with outage(server, "1s", f"{seconds}s") as url:
        started_at = time.monotonic()
        client = start_get(f"{url}/big.bin", out, "--timeout", timeout)
        _, err = client.communicate(timeout=seconds + timeout + 60)
        lasted = time.monotonic() - started_at
    assert (client.returncode, err) == (exits.OK, "")
    assert lasted > seconds
    assert [path.name for path in out.iterdir()] == ["big.bin"]
    assert (out / "big.bin").read_bytes() == content


def test_a_network_that_is_down_for_longer_than_the_timeout(
    server: Server, process: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with outage(server, "1s", "60s") as url:
        client = start_get(f"{url}/big.bin", out, "--timeout", 2)
        _, err = client.communicate(timeout=60)
    assert client.returncode == exits.TIMEOUT
    assert err == (
        f"quicsim: {url.removeprefix('https://')}: no answer: connection given up: idle timeout, "
        "nothing came from the peer for too long\n"
    )
    assert list(out.iterdir()) == []


def test_a_client_that_is_interrupted(server: Server, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """It ends at once, tells the server, and leaves nothing of the file."""
    out = tmp_path / "out"
    client = start_get(server.url("big.bin"), out)
    wait_for_data(client, out / ".big.bin.part")
    client.send_signal(signal.SIGINT)
    started_at = time.monotonic()
    _, err = client.communicate(timeout=60)
    assert (client.returncode, err) == (exits.INTERRUPTED, "quicsim: interrupted\n")
    assert list(out.iterdir()) == []
    server.told(r"GET '/big\.bin': connection closed")
    assert time.monotonic() - started_at < 10  # far from the idle timeout
    assert process.poll() is None


def test_a_server_that_is_interrupted_twice(server: Server, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """The first time it lets responses over HTTP/3 end, the second time it does not."""
    out = tmp_path / "out"
    client = start_get(server.url("big.bin"), out, "--h3")
    wait_for_data(client, out / ".big.bin.part")
    client.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    server.told(r"finishing 1 requests; Ctrl-C again gives them up")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == exits.OK
    client.send_signal(signal.SIGCONT)
    _, err = client.communicate(timeout=60)
    assert client.returncode in (exits.FAILED, exits.NOT_FOUND)
    assert err
    assert list(out.iterdir()) == []
