"""`quicsim get` against servers on the loopback interface: files, exit codes and messages."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import quicsim
from links import Blackout, Delay, Element, Rate, TailDrop
from quicsim import Listener, Net, RealNet, Simulation, h3, hq
from quicsim.authority import CA_CERTIFICATE
from quicsim.cli import app
from quicsim.commands import exits
from quicsim.commands.get import Download, Target, Wishes, patience
from quicsim.files import Files
from quicsim.outputs import OutputDirectory
from quicsim.real.udp import UdpSocket
from stack.errors import CONNECTION_REFUSED, CRYPTO_ERROR, ConfigError, ConnectionClosed
from stack.tls.alerts import NO_APPLICATION_PROTOCOL, UNKNOWN_CA
from stack.wire.versions import VERSION_1
from tests.support.serving import authority, serving

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "big.bin").write_bytes(CONTENT)
    (directory / "sub").mkdir()
    (directory / "sub" / "small file").write_bytes(b"small")
    return directory


@pytest.fixture(scope="module")
def port(files: Path) -> Iterator[int]:
    async def serve(net: Net, listener: Listener) -> None:
        await hq.serve(net, listener, files, lambda served: None)

    with serving(serve, hq.ALPN, tickets=2, early_data=True) as port:
        yield port


def get(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["get", *map(str, arguments)])


def test_files_are_written_under_their_names(port: int, files: Path, tmp_path: Path) -> None:
    server = f"https://127.0.0.1:{port}"
    result = get(f"{server}/big.bin", f"{server}/sub/small%20file", "--pin", "test", "--out", tmp_path / "new" / "out")
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    assert f"127.0.0.1:{port}: 2 files, {len(CONTENT) + 5:,} bytes in " in result.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "out").iterdir()} == {
        "big.bin": CONTENT,
        "small file": b"small",
    }


@pytest.mark.parametrize(
    ("options", "traced"),
    [
        (["--migrate"], ['"path_response"']),
        (["--key-update"], ['"trigger":"local_update"']),
        (["--migrate", "--key-update", "--parallel", "1"], ['"path_response"', '"trigger":"local_update"']),
    ],
)
def test_files_survive_what_happens_meanwhile(port: int, tmp_path: Path, options: list[str], traced: list[str]) -> None:
    out, qlog = tmp_path / "out", tmp_path / "qlog"
    result = get(f"https://127.0.0.1:{port}/big.bin", "--insecure", "--out", out, "--qlog", qlog, *options)
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    assert (out / "big.bin").read_bytes() == CONTENT
    (trace,) = qlog.iterdir()
    assert all(text in trace.read_text() for text in traced)


def test_version_2_is_spoken_on_request(port: int, tmp_path: Path) -> None:
    result = get(f"https://127.0.0.1:{port}/big.bin", "--insecure", "--out", tmp_path, "--v2")
    assert result.exit_code == exits.OK
    assert "QUIC version 2" in result.stdout


def test_a_session_is_resumed_in_the_next_run(port: int, tmp_path: Path) -> None:
    arguments = (f"https://127.0.0.1:{port}/big.bin", "--pin", "test", "--out", tmp_path)
    runs = [get(*arguments, "--session", tmp_path / "sessions") for _ in range(3)]
    assert [run.exit_code for run in runs] == [exits.OK] * 3
    assert ["resumed with 0-RTT" in run.stdout for run in runs] == [False, True, True]
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o600
    other = get(*arguments, "--session", tmp_path / "sessions", "--v2")
    assert (other.exit_code, "resumed" in other.stdout) == (exits.OK, False)


def test_sessions_from_before_the_machine_was_started_are_not_used(port: int, tmp_path: Path) -> None:
    arguments = (f"https://127.0.0.1:{port}/big.bin", "--pin", "test", "--out", tmp_path)
    assert get(*arguments, "--session", tmp_path / "sessions").exit_code == exits.OK
    content = json.loads((tmp_path / "sessions").read_text())
    content["servers"][f"127.0.0.1:{port}"]["clock"] += 3600 * 10**9
    (tmp_path / "sessions").write_text(json.dumps(content))
    result = get(*arguments, "--session", tmp_path / "sessions")
    assert (result.exit_code, "resumed" in result.stdout) == (exits.OK, False)


def test_a_file_that_holds_no_sessions_is_refused(port: int, tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text('{"format": 2}')
    result = get(f"https://127.0.0.1:{port}/big.bin", "--insecure", "--session", tmp_path / "sessions")
    assert result.exit_code == exits.BAD_INPUT
    assert result.stderr == f"quicsim: {tmp_path / 'sessions'}: must be a file that --session has made, or none\n"


def test_what_happens_is_recorded(port: int, tmp_path: Path) -> None:
    recorded = {name: tmp_path / name for name in ("qlog", "keylog", "pcap")}
    options = [text for name, path in recorded.items() for text in (f"--{name}", str(path))]
    result = get(f"https://127.0.0.1:{port}/big.bin", "--insecure", "--out", tmp_path, *options)
    assert result.exit_code == exits.OK
    (trace,) = recorded["qlog"].iterdir()
    assert trace.name.endswith("_client.sqlog")
    assert '"packet_received"' in trace.read_text() or "quic:packet_received" in trace.read_text()
    labels = {line.split()[0] for line in recorded["keylog"].read_text().splitlines()}
    assert {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"} <= labels
    captured = recorded["pcap"].read_bytes()
    assert captured.startswith(b"\x0a\x0d\x0d\x0a")
    assert len(captured) > len(CONTENT)
    assert b"SERVER_TRAFFIC_SECRET_0" in captured


def test_a_missing_file_is_told_and_the_others_come(port: int, tmp_path: Path) -> None:
    server = f"https://127.0.0.1:{port}"
    result = get(f"{server}/none", f"{server}/big.bin", "--insecure", "--out", tmp_path)
    assert result.exit_code == exits.NOT_FOUND
    assert result.stderr == (
        f"quicsim: {server}/none: not there, or given up by the server: "
        "stream 0 was reset by the peer with application error 1\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["big.bin"]


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    closed = UdpSocket("127.0.0.1")
    closed.close()
    result = get(f"https://127.0.0.1:{closed.address[1]}/x", "--insecure", "--out", tmp_path)
    assert result.exit_code == exits.UNREACHABLE
    assert f"UDP port {closed.address[1]} of 127.0.0.1 (127.0.0.1): unreachable or closed" in result.stderr


def test_a_host_that_does_not_exist(tmp_path: Path) -> None:
    result = get("https://no.such.host.invalid/x", "--insecure", "--out", tmp_path)
    assert result.exit_code == exits.UNREACHABLE
    assert "no.such.host.invalid: " in result.stderr


def test_a_certificate_that_is_not_trusted(port: int, tmp_path: Path) -> None:
    root = authority(tmp_path) / CA_CERTIFICATE
    for trusted in (["--ca", root], ["--pin", root]):
        result = get(f"https://127.0.0.1:{port}/big.bin", "--out", tmp_path, *trusted)
        assert result.exit_code == exits.CERTIFICATE
        assert result.stderr.startswith(f"quicsim: 127.0.0.1:{port}: the certificate is not trusted: ")


@pytest.mark.parametrize("name", ["big.bin", "sub/small%20file"])
def test_a_disk_without_room(port: int, tmp_path: Path, name: str) -> None:
    path = tmp_path / name.rpartition("/")[2].replace("%20", " ")
    path.with_name(f".{path.name}.part").symlink_to("/dev/full")
    result = get(f"https://127.0.0.1:{port}/{name}", "--insecure", "--out", tmp_path)
    assert result.exit_code == exits.DISK_FULL
    assert result.stderr == f"quicsim: {path}: can't be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionClosed(CONNECTION_REFUSED, "no new connections now", remote=True), exits.UNREACHABLE),
        (ConnectionClosed(CRYPTO_ERROR + UNKNOWN_CA, "not the pinned one"), exits.CERTIFICATE),
        (ConnectionClosed(CRYPTO_ERROR + UNKNOWN_CA, "who are you?", remote=True), exits.FAILED),
        (ConnectionClosed(CRYPTO_ERROR + NO_APPLICATION_PROTOCOL, "", remote=True), exits.FAILED),
        (ConnectionClosed(CONNECTION_REFUSED, "an application's error 2", application=True, remote=True), exits.FAILED),
        (ConnectionClosed(0, "", application=True), exits.UNREACHABLE),
        (ConnectionClosed(0, "idle timeout", idle=True), exits.TIMEOUT),
        (ConfigError("session: must be …"), exits.BAD_INPUT),
        (OSError(113, "No route to host"), exits.UNREACHABLE),
    ],
)
def test_how_a_connection_fails_has_an_exit_code(error: Exception, code: int) -> None:
    with pytest.raises(exits.Failure) as failure, exits.connecting("bob:1"):
        raise error
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://localhost/x"], "http://localhost/x: must be a URL of the form https://HOST[:PORT]/PATH"),
        (["https://localhost:x/"], "https://localhost:x/: must be a URL of the form https://HOST[:PORT]/PATH"),
        (["https://localhost/a/.."], "https://localhost/a/..: its last part can't be the name of a file"),
        (
            ["https://localhost/a", "https://localhost/b/a"],
            "https://localhost/b/a: would be written to a, as https://localhost/a",
        ),
        (["https://localhost/", "--ca", "none.pem"], "none.pem can't be read: No such file or directory"),
        (["https://localhost/", "--pin", "test", "--insecure"], "--insecure, --ca, --pin: must be one of them at most"),
    ],
)
def test_arguments_that_can_not_be_used_are_told(arguments: list[str], message: str) -> None:
    result = get(*arguments)
    assert (result.exit_code, result.stderr) == (exits.BAD_INPUT, f"quicsim: {message}\n")


@pytest.mark.parametrize("command", [["get", "https://localhost/"], ["serve", "."]])
def test_http_3_without_its_extra_is_told(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("quicsim.h3")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pylsqpack", None)
    result = CliRunner().invoke(app, [*command, "--h3"])
    assert result.exit_code == exits.BAD_INPUT
    assert result.stderr == "quicsim: --h3: HTTP/3 needs pylsqpack: pip install 'quicsim[h3]'\n"


def test_files_come_over_http_3(files: Path, tmp_path: Path) -> None:
    async def serve(net: RealNet, listener: Listener) -> None:
        await h3.Server(net, h3.file_handler(net, Files(files), lambda served: None)).serve(listener)

    with serving(serve, h3.ALPN, tickets=2, early_data=True) as port:
        server = f"https://127.0.0.1:{port}"
        options = ("--h3", "--pin", "test", "--session", tmp_path / "sessions")
        first = get(f"{server}/big.bin", f"{server}/none", *options, "--out", tmp_path / "first")
        again = get(f"{server}/sub/small%20file", *options, "--out", tmp_path / "again")
    assert first.exit_code == exits.NOT_FOUND
    assert first.stderr == f"quicsim: {server}/none: the server answers 404 Not Found\n"
    assert {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()} == {"big.bin": CONTENT}
    assert (again.exit_code, "resumed with 0-RTT" in again.stdout) == (exits.OK, True)
    assert (tmp_path / "again" / "small file").read_bytes() == b"small"


@pytest.mark.parametrize("start_ms", [1000, 1520, 1910, 2040, 2170])
def test_a_download_lasts_through_an_outage_of_20_seconds(tmp_path: Path, start_ms: int) -> None:
    """With the command's idle timeout of 30 s; without PINGs of the client's all but the first of these fail."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x").write_bytes(CONTENT * 4)

    async def serve(net: Net) -> None:
        listener = await net.listen(443, quicsim.test_certificate(), alpn=(hq.ALPN,))
        await hq.serve(net, listener, tmp_path / "www", lambda served: None)

    async def client(net: Net) -> None:
        options = {"trust": quicsim.test_certificate(), "max_idle_timeout_ms": 30_000, **patience(30.0)}
        wishes = Wishes(False, 1, False, False, (VERSION_1,), None, options)
        target = Target("https://bob/x", "/x", "x")
        await Download(net, "bob", 443, [target], wishes, OutputDirectory(tmp_path / "out"), print, []).run()

    def elements() -> list[Element]:
        return [Rate("10Mbps"), TailDrop(packets=25), Delay("15ms"), Blackout(start_ms * 10**6, "20s")]

    sim = Simulation(seed=1)
    sim.link("alice", "bob", up=elements(), down=elements())
    sim.spawn("bob", serve)
    sim.run(sim.spawn("alice", client))
    assert (tmp_path / "out" / "x").read_bytes() == CONTENT * 4
    assert sim.now > 20 * 10**9


def test_no_answer_ends_with_a_timeout(tmp_path: Path) -> None:
    failures: list[exits.Failure] = []

    async def client(net: Net) -> None:
        options = {"trust": quicsim.test_certificate(), "max_idle_timeout_ms": 5_000}
        wishes = Wishes(False, 1, False, False, (VERSION_1,), None, options)
        target = Target("https://bob/x", "/x", "x")
        with pytest.raises(exits.Failure) as failure:
            await Download(net, "bob", 443, [target], wishes, OutputDirectory(tmp_path), print, failures).run()
        failures.append(failure.value)

    sim = Simulation(seed=1)
    sim.link("alice", "bob", up=[], down=[])
    sim.run(sim.spawn("alice", client))
    assert [(failure.code, str(failure)) for failure in failures] == [
        (
            exits.TIMEOUT,
            "bob:443: no answer: connection given up: idle timeout, nothing came from the peer for too long",
        )
    ]


def test_a_server_that_has_gone_since_the_session_is_unreachable(port: int, tmp_path: Path) -> None:
    url, sessions = f"https://127.0.0.1:{port}/big.bin", tmp_path / "sessions"
    assert get(url, "--pin", "test", "--session", sessions, "--out", tmp_path).exit_code == exits.OK
    closed = UdpSocket("127.0.0.1")
    closed.close()
    other = sessions.read_text().replace(f":{port}", f":{closed.address[1]}")
    sessions.write_text(other)
    result = get(f"https://127.0.0.1:{closed.address[1]}/x", "--pin", "test", "--session", sessions, "--out", tmp_path)
    assert result.exit_code == exits.UNREACHABLE
    assert result.stderr == f"quicsim: 127.0.0.1:{closed.address[1]}: unreachable or closed\n"


def test_a_server_that_closes_midway_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    async def hang_up(net: Net, listener: Listener) -> None:
        conn = await listener.accept()
        for _ in range(2):
            stream = await conn.accept_stream()
            await stream.write(CONTENT)
        await net.sleep("50ms")
        conn.close(7, "that will do")

    with serving(hang_up, hq.ALPN) as port:
        server = f"https://127.0.0.1:{port}"
        result = get(f"{server}/a", f"{server}/b", "--pin", "test", "--out", tmp_path, "--migrate")
    assert result.exit_code == exits.FAILED
    assert result.stderr == (
        f"quicsim: 127.0.0.1:{port}: connection closed by the peer with application error 7: that will do\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    async def stall(net: Net, listener: Listener) -> None:
        conn = await listener.accept()
        await (await conn.accept_stream()).write(CONTENT)
        await conn.wait_closed()

    with serving(stall, hq.ALPN) as port:
        arguments = ["get", f"https://127.0.0.1:{port}/a", "--pin", "test", "--out", str(tmp_path)]
        command = [sys.executable, "-m", "quicsim", *arguments]
        client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        part = tmp_path / ".a.part"
        while client.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        _, err = client.communicate(timeout=10)
    assert (client.returncode, err) == (exits.INTERRUPTED, "quicsim: interrupted\n")
    assert list(tmp_path.iterdir()) == []
