"""`quicsim serve`: what it refuses, and that Ctrl-C ends it cleanly."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim.authority import CA_CERTIFICATE, CERTIFICATE, KEY
from quicsim.cli import app
from quicsim.commands import exits
from quicsim.real.udp import UdpSocket
from tests.support.serving import authority

ROOT = Path(__file__).parents[3]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_server_serves_until_it_is_told_to_end(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("hello")
    pem = authority(tmp_path)
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "quicsim", "serve", tmp_path / "files", "--port", "0", "--retry", "always"),
            *("--host", "127.0.0.1", "--cert", pem / CERTIFICATE, "--key", pem / KEY, "--qlog", tmp_path / "qlog"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        serving = server.stdout.readline()
        assert serving.startswith(f"serving {tmp_path / 'files'} on UDP port ")
        port = serving.split()[5]
        got = run("get", f"https://127.0.0.1:{port}/a.txt", "--ca", pem / CA_CERTIFICATE, "--out", tmp_path)
        assert (got.exit_code, got.stderr) == (exits.OK, "")
        assert "GET '/a.txt': 5 bytes" in server.stdout.readline()
        server.send_signal(end)
        out, err = server.communicate(timeout=10)
    finally:
        server.kill()
        server.communicate()
    assert (server.returncode, out, err) == (0, "closed\n", "")
    assert (tmp_path / "a.txt").read_text() == "hello"
    (trace,) = (tmp_path / "qlog").iterdir()
    assert trace.name.endswith("_server.sqlog")


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    taken = UdpSocket("127.0.0.1")
    result = run("serve", tmp_path, "--host", "127.0.0.1", "--port", taken.address[1])
    taken.close()
    assert result.exit_code == exits.FAILED
    assert f"quicsim: UDP port {taken.address[1]} of 127.0.0.1: Address already in use\n" in result.stderr


def test_what_can_not_be_served_is_told(tmp_path: Path) -> None:
    pem = authority(tmp_path)
    cert, key = pem / CERTIFICATE, pem / KEY
    none = tmp_path / "none"
    other = tmp_path / "other.pem"
    other.write_text("nothing\n")
    for arguments, message in (
        ([none], f"{none}: must be a directory that can be read"),
        ([cert], f"{cert}: must be a directory that can be read"),
        ([tmp_path, "--cert", cert], "--cert and --key: must be given both, or neither"),
        ([tmp_path, "--cert", none, "--key", key], f"{none} can't be read: No such file or directory"),
        ([tmp_path, "--cert", other, "--key", key], f"{other} holds no PEM certificates: "),
        ([tmp_path, "--cert", cert, "--key", other], f"{other} holds no usable PEM private key: "),
    ):
        result = run("serve", *arguments)
        assert result.exit_code == exits.BAD_INPUT
        assert result.stderr.startswith(f"quicsim: {message}")
        assert len(result.stderr.splitlines()) == 1
