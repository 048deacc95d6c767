"""`quicsim perf` and `quicsim ping` on the loopback interface."""

import base64
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import quicsim
from quicsim import Listener, Net, perf
from quicsim.authority import CA_CERTIFICATE
from quicsim.cli import app
from quicsim.commands import exits
from quicsim.real.udp import UdpSocket
from tests.support.serving import authority, serving


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    async def serve(net: Net, listener: Listener) -> None:
        await perf.serve(net, listener, lambda served: None)

    with serving(serve, perf.ALPN, **perf.TAKE_DATAGRAMS) as port:
        yield port


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def client(port: int, *arguments: object):
    return run("perf", "client", f"127.0.0.1:{port}", "--pin", "test", *arguments)


@pytest.mark.parametrize("mode", ["download", "upload"])
def test_bytes_are_measured(port: int, mode: str) -> None:
    result = client(port, "--mode", mode, "--bytes", 1_000_000, "--streams", 2, "--json")
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    figures = json.loads(result.stdout)
    assert (figures["mode"], figures["bytes"], figures["streams"]) == (mode, 1_000_000, 2)
    assert figures["bits_per_second"] == pytest.approx(8 * 1_000_000 / figures["seconds"])
    assert all(figures[name] > 0 for name in ("cpu_seconds", "handshake_ms", "packets_sent", "smoothed_rtt_ms"))


def test_a_line_is_printed_for_each_interval(port: int) -> None:
    result = client(port, "--time", 0.1, "--interval", 0.02)
    assert result.exit_code == exits.OK
    *lines, last = result.stdout.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(re.fullmatch(r" +0\.\d\d - +0\.\d\d s +[\d,]+ bytes +\d+\.\d\d Mbit/s", line) for line in lines)
    assert re.match(r"download: [\d,]+ bytes in 0\.\d+ s, \d+\.\d\d Mbit/s, CPU \d", last)


def test_many_connections_are_measured_together(port: int) -> None:
    options = ("--connections", 30, "--handshakes", 8, "--bytes", 20_000)
    figures = json.loads(client(port, *options, "--json").stdout)
    assert (figures["connections"], figures["bytes"]) == (30, 600_000)
    assert figures["connecting_seconds"] >= figures["handshake_ms"] / 1000 > 0
    assert figures["packets_received"] > 30 * 20_000 / 1500
    result = client(port, *options)
    assert result.exit_code == exits.OK
    assert re.search(r"^30 connections in \d+\.\d+ s\ndownload: 600,000 bytes in ", result.stdout, re.MULTILINE)


def test_more_connections_than_open_files_are_refused(port: int) -> None:
    result = client(port, "--connections", 10**9)
    assert result.exit_code == exits.BAD_INPUT
    assert re.fullmatch(r"quicsim: --connections 1000000000: must be \d+ at most \(ulimit -Hn\)\n", result.stderr)


def test_connections_that_can_not_be_had_are_told() -> None:
    closed = UdpSocket("127.0.0.1")
    closed.close()
    result = client(closed.address[1], "--connections", 3)
    assert result.exit_code == exits.UNREACHABLE
    assert f"UDP port {closed.address[1]} of 127.0.0.1" in result.stderr


@pytest.mark.parametrize("mode", ["requests", "datagrams"])
def test_latencies_are_measured(port: int, mode: str) -> None:
    figures = json.loads(client(port, "--mode", mode, "--count", 20, "--json").stdout)
    assert figures["sent"] == 20
    assert 1 < figures["answered"] <= 20
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    assert "20 answered, latency p50 " in client(port, "--mode", "requests", "--count", 20).stdout


def test_limits_that_do_not_fit_the_mode_are_refused(port: int) -> None:
    for arguments in (("--mode", "requests", "--bytes", 1), ("--mode", "upload", "--count", 1)):
        result = client(port, *arguments)
        assert result.exit_code == exits.BAD_INPUT
        assert "ends with --time, or with --bytes (streams) or --count (the others)" in result.stderr


def test_a_congestion_controller_may_be_chosen(port: int) -> None:
    for name in ("cubic", "bbr"):
        result = client(port, "--mode", "upload", "--bytes", 100_000, "--congestion", name, "--json")
        assert (result.exit_code, json.loads(result.stdout)["bytes"]) == (exits.OK, 100_000)
    result = client(port, "--congestion", "vegas")
    assert result.exit_code == exits.BAD_INPUT
    assert "--congestion 'vegas': must be one of bbr, cubic, " in result.stderr


def test_the_server_tells_what_it_did() -> None:
    command = [sys.executable, "-m", "quicsim", "perf", "server", "--port", "0", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    try:
        assert server.stdout is not None
        port = int(re.fullmatch(r"measuring on UDP port (\d+); .*\n", server.stdout.readline())[1])
        assert client(port, "--bytes", 100_000).exit_code == exits.OK
        line = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        out, _ = server.communicate(timeout=10)
    finally:
        server.kill()
        server.communicate()
    assert re.fullmatch(r"127\.0\.0\.1:\d+: \d\.\d+ s, received 8 bytes, sent 100,000 bytes, CPU \d\.\d+ s\n", line)
    assert (server.returncode, out) == (0, "closed\n")


def pin_of(certificate: bytes) -> str:
    """As openssl computes it."""
    command = ["openssl", "x509", "-inform", "der", "-pubkey", "-noout"]
    key = subprocess.run(command, input=certificate, capture_output=True, check=True)
    der = base64.b64decode(b"".join(key.stdout.splitlines()[1:-1]))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def rows(output: str) -> dict[str, str]:
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in output.splitlines())


def test_a_ping_shows_who_answers(port: int) -> None:
    result = run("ping", f"127.0.0.1:{port}", "--pin", "test")
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    shown = rows(result.stdout)
    assert shown["address"] == f"127.0.0.1, UDP port {port}"
    assert re.fullmatch(r"\d+\.\d\d ms", shown["handshake"])
    assert re.fullmatch(r"\d+\.\d\d ms, least \d+\.\d\d ms", shown["round trip"])
    assert (shown["QUIC version"], shown["protocol"], shown["trusted"]) == ("1", "perf", "yes")
    assert shown["certificate"] == "CN=localhost"
    assert shown["names"] == "localhost, quicsim.test, 127.0.0.1, ::1"
    assert shown["valid"] == "2020-01-01 to 2120-01-01"
    assert shown["key"] == "ECDSA, secp256r1"
    assert shown["key's pin"] == pin_of(quicsim.test_certificate().certificates[0])
    assert shown["SHA-256"] == "e38f137683e72a76ac54a18e30208fbfa3ce4b1bab911f31753ddb67a851d0bf"
    assert rows(run("ping", f"127.0.0.1:{port}", "--v2").stdout)["QUIC version"] == "2"


def test_a_ping_tells_why_the_certificate_is_not_trusted(port: int, tmp_path: Path) -> None:
    result = run("ping", f"127.0.0.1:{port}", "--ca", authority(tmp_path) / CA_CERTIFICATE)
    assert result.exit_code == exits.OK
    assert rows(result.stdout)["trusted"] == "no: the certificate was not issued by a known authority"


def test_a_ping_that_fails_tells_why(port: int) -> None:
    result = run("ping", f"127.0.0.1:{port}", "--alpn", "other")
    assert result.exit_code == exits.FAILED
    assert "CRYPTO_ERROR(0x78)" in result.stderr
    closed = UdpSocket("127.0.0.1")
    closed.close()
    assert run("ping", f"127.0.0.1:{closed.address[1]}").exit_code == exits.UNREACHABLE
    for address in ("127.0.0.1:x", ":1", "[::1]:70000"):
        result = run("ping", address)
        assert result.exit_code == exits.BAD_INPUT
        assert result.stderr == f"quicsim: {address}: must be HOST:PORT, such as localhost:4433 or [::1]:4433\n"
