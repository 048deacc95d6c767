"""The agent as another process, on the loopback interface."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import quicsim
from quicsim import Net, RealNet
from quicsim.agent.consumer import Handshakes
from quicsim.agent.factory import AgentTls
from quicsim.agent.watchers import LoopWatcher
from quicsim.authority import CA_CERTIFICATE, CERTIFICATE, KEY
from quicsim.certificates import load_authorities, load_credentials
from quicsim.cli import app
from quicsim.commands.exits import BAD_INPUT, FAILED
from stack.errors import ConnectionClosed
from tests.support.serving import authority

ROOT = Path(__file__).parents[3]
SIZE = 100_000

CONFIG = f"""
[[certificate]]
cert = 1
privkey = 2
cert_file = "{CERTIFICATE}"
key_file = "{KEY}"

[[psk]]
serial = 7
identity = "alice"
key = "{bytes(range(32)).hex()}"

[[trust]]
roots = "{CA_CERTIFICATE}"
"""


class Process:
    """`quicsim agent`, running."""

    def __init__(self, directory: Path) -> None:
        self.pem = directory if (directory / KEY).exists() else authority(directory)
        self.path = directory / "agent"
        (self.pem / "agent.toml").write_text(CONFIG)
        arguments = ("--socket", self.path, "--config", self.pem / "agent.toml")
        self.process = subprocess.Popen(
            (sys.executable, "-m", "quicsim", "agent", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"waiting for consumers at {self.path}; Ctrl-C ends it\n"

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """End it; return its exit code and what else it said."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    try:
        yield running
    finally:
        running.end(signal.SIGKILL)


@contextlib.contextmanager
def handshakes(process: Process) -> Iterator[Handshakes]:
    made = Handshakes.connect(process.path, LoopWatcher(asyncio.get_running_loop()))
    try:
        yield made
    finally:
        made.close()


async def send(net: Net, listener: quicsim.Listener) -> None:
    conn = await listener.accept()
    stream = await conn.accept_stream()
    size = int.from_bytes(await stream.read_all())
    await stream.write(bytes(size), end=True)


async def fetch(net: Net, port: int, **options: Any) -> int:
    conn = await net.connect("127.0.0.1", port, **options)
    stream = await conn.open_stream()
    await stream.write(SIZE.to_bytes(8), end=True)
    received = len(await stream.read_all())
    conn.close()
    return received


@pytest.mark.parametrize("sides", ["client", "server", "both", "both, with a key"])
def test_the_agent_does_the_handshake_and_files_go_over_the_connection(process: Process, sides: str) -> None:
    async def main(net: RealNet) -> int:
        with handshakes(process) as service:
            key = "key" in sides
            own = load_credentials(process.pem / CERTIFICATE, process.pem / KEY)
            listener = (
                await net.listen(0, own, host="127.0.0.1")
                if sides == "client"
                else await net.listen(0, None, host="127.0.0.1", tls=AgentTls(service, auth="psk" if key else "x509"))
            )
            net.spawn(send, listener)
            if sides == "server":
                roots = load_authorities(process.pem / CA_CERTIFICATE, datetime(2025, 1, 1, tzinfo=UTC))
                return await fetch(net, listener.address[1], trust=roots)
            tls = AgentTls(service, auth="psk", my_peerids=(7,)) if key else AgentTls(service)
            return await fetch(net, listener.address[1], trust=None, tls=tls)

    assert RealNet().run(main) == SIZE
    assert process.end() == (0, "closed\n", "")


def test_a_resumed_connection_sends_before_the_handshake(process: Process) -> None:
    async def main(net: RealNet) -> list[bool]:
        accepted = []
        with handshakes(process) as service:
            listener = await net.listen(0, None, host="127.0.0.1", tls=AgentTls(service, early_data=True))
            session = None
            for _ in range(2):
                net.spawn(send, listener)
                tls = AgentTls(service, session=session, receive_session_ticket=60, early_data=True)
                conn = await net.connect("127.0.0.1", listener.address[1], trust=None, tls=tls)
                assert (conn.handshake is None) == (session is not None)  # usable before the handshake is complete
                stream = await conn.open_stream()
                await stream.write(SIZE.to_bytes(8), end=True)
                assert len(await stream.read_all()) == SIZE
                assert conn.handshake is not None
                accepted.append(conn.handshake.early_data_accepted)
                session = session or await conn.session()
                conn.close()
        return accepted

    assert RealNet().run(main) == [False, True]


def test_many_handshakes_at_once(process: Process) -> None:
    async def main(net: RealNet) -> list[int]:
        with handshakes(process) as service:
            listener = await net.listen(0, None, host="127.0.0.1", tls=AgentTls(service))
            port = listener.address[1]
            for _ in range(12):
                net.spawn(send, listener)
            jobs = [net.spawn(fetch, port, trust=None, tls=AgentTls(service)) for _ in range(12)]
            return [await job for job in jobs]

    assert RealNet().run(main) == [SIZE] * 12


def test_a_certificate_that_the_agent_does_not_trust_closes_the_connection(process: Process) -> None:
    async def main(net: RealNet) -> None:
        with handshakes(process) as service:
            listener = await net.listen(0, quicsim.test_certificate(), host="127.0.0.1")
            await fetch(net, listener.address[1], trust=None, tls=AgentTls(service))

    with pytest.raises(ConnectionClosed, match="not issued by a known authority") as closed:
        RealNet().run(main)
    assert closed.value.code == 0x100 | 48
    code, _, err = process.end(signal.SIGTERM)
    assert code == 0
    assert err == "quicsim: request 1: EACCES: the certificate was not issued by a known authority\n"


def connect_to_nobody(process: Process, meanwhile: Callable[[], object], **options: Any) -> ConnectionClosed:
    """Connect with the agent to a port where nobody answers; return how that ended."""

    async def main(net: RealNet) -> None:
        with handshakes(process) as service:
            silent = quicsim.real.udp.UdpSocket("127.0.0.1")
            try:
                job = net.spawn(try_it, silent.address[1], AgentTls(service, **options))
                await net.sleep("50ms")
                meanwhile()
                raise await job
            finally:
                silent.close()

    async def try_it(net: Net, port: int, tls: AgentTls) -> ConnectionClosed:
        with pytest.raises(ConnectionClosed) as closed:
            await net.connect("127.0.0.1", port, trust=None, tls=tls)
        return closed.value

    with pytest.raises(ConnectionClosed) as closed:
        RealNet().run(main)
    return closed.value


def test_an_agent_that_is_killed_ends_the_handshake(process: Process) -> None:
    error = connect_to_nobody(process, process.process.kill)
    assert error.code == 0x100 | 80
    assert "handshake agent: it has gone" in error.reason


def test_the_agent_gives_up_when_the_time_is_over(process: Process) -> None:
    error = connect_to_nobody(process, lambda: None, timeout_ms=100)
    assert error.reason == "handshake agent: not complete within 100 ms (ETIMEDOUT)"


def test_another_agent_at_the_same_place_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    first = Process(tmp_path)
    arguments = ["agent", "--socket", str(first.path), "--config", str(first.pem / "agent.toml")]
    second = CliRunner().invoke(app, arguments)
    assert second.exit_code == FAILED
    assert "Address already in use" in second.output
    first.end(signal.SIGKILL)
    assert first.path.exists()
    again = Process(tmp_path)
    assert again.end()[0] == 0
    assert not first.path.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[psk]]\nserial = 1", "psk[0]: must have identity, key"),
        ('[[psk]]\nserial = "1"', "psk[0].serial = '1': must be of type int"),
        ('[[psk]]\nserial = 1\nidentity = "a"\nkey = "00"', "psk[0]: key has 1 bytes: must have 16 or more"),
        ('[[psk]]\nserial = 1\nidentity = "a"\nkey = "0"', "psk[0]: key: must be hexadecimal digits"),
        ("[[psk]]\ncolour = 1", "psk[0].colour: must be one of serial, identity, key, hash"),
        ("[[trust]]\nkeyring = 1", "trust[0]: must have either roots or pinned"),
        ('[[trust]]\nroots = "nowhere.pem"', "nowhere.pem can't be read"),
        ('[policy]\ngroups = ["x448"]', "policy.groups: must be one or more of x25519, p256, p384"),
        ("[policy]\nkey_shares = 4", "policy.key_shares = 4: must be from 1 to the 3 groups"),
        ("[[policy]]\nkey_shares = 1", "policy: must be a table"),
        ("[trust]\nkeyring = 1", "trust: must be [[certificate]], [[psk]], [[trust]] or [policy]"),
        ("colour", "is not TOML"),
    ],
)
def test_a_configuration_that_can_not_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    result = CliRunner().invoke(
        app, ["agent", "--socket", str(tmp_path / "agent"), "--config", str(tmp_path / "agent.toml")]
    )
    assert result.exit_code == BAD_INPUT
    assert reason in result.output
