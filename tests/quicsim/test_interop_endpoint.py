"""Our endpoint of the interop runner's contract: what it takes from the environment, and its exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from quicsim.interop import client, server
from quicsim.interop.cases import BY_ABBREVIATION, CASES
from quicsim.interop.endpoint import FAILED, UNSUPPORTED, Contract, main
from quicsim.interop.material import make_certificates
from quicsim.interop.peers.peer import CERTIFICATE, KEY, ROOT
from stack.errors import ConfigError
from tests.support.programs import free_port


def test_without_more_the_directories_are_the_runners() -> None:
    contract = Contract.of(
        {"ROLE": "client", "TESTCASE": "http3", "REQUESTS": "https://server4:443/a https://server4:443/b"}
    )
    assert (contract.www, contract.downloads, contract.certs) == (Path("/www"), Path("/downloads"), Path("/certs"))
    assert contract.requests == ("https://server4:443/a", "https://server4:443/b")
    assert (contract.protocol, contract.host, contract.port) == ("h3", None, None)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "ROLE = ''"),
        ({"ROLE": "server"}, "TESTCASE"),
        ({"ROLE": "server", "TESTCASE": "retry", "PORT": "x"}, "PORT = 'x'"),
        ({"ROLE": "server", "TESTCASE": "retry", "PROTOCOL": "h4"}, "PROTOCOL = 'h4'"),
    ],
)
def test_what_can_not_be_used_is_said(
    environment: dict[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=reason):
        Contract.of(environment)
    assert main(environment) == FAILED
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("role", ["client", "server"])
def test_an_unknown_test_case_ends_with_127(role: str) -> None:
    assert main({"ROLE": role, "TESTCASE": "juggling", "REQUESTS": "https://a/b"}) == UNSUPPORTED == 127


@pytest.mark.parametrize("requests", ["", "http://localhost/a", "https://localhost/", "https://localhost/.."])
def test_requests_must_be_urls(requests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"ROLE": "client", "TESTCASE": "handshake", "REQUESTS": requests}) == FAILED
    assert "must be" in capsys.readouterr().err


def test_all_cases_of_the_table_are_there() -> None:
    assert {case.client for case in CASES} <= client.TESTCASES
    assert {case.server for case in CASES} <= server.TESTCASES


def directories(path: Path) -> dict[str, str]:
    """Make what the runner gives, with one file in WWW; return the environment for it."""
    files = make_certificates(BY_ABBREVIATION["H"], Random(1)).files()
    names = {"www": "WWW", "downloads": "DOWNLOADS", "certs": "CERTS", "qlog": "QLOGDIR"}
    for name in names:
        (path / name).mkdir()
    for old, new in (("ca.pem", ROOT), ("cert.pem", CERTIFICATE), ("key.pem", KEY)):
        (path / "certs" / new).write_bytes(files[old])
    (path / "www" / "file").write_bytes(bytes(range(256)) * 40)
    environment = {variable: str(path / name) for name, variable in names.items()}
    return {**os.environ, **environment, "HOST": "127.0.0.1", "PORT": str(free_port())}


def test_client_and_server_do_what_their_environment_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "quicsim.interop.endpoint"]
    common = directories(tmp_path) | {"TESTCASE": "retry"}
    with subprocess.Popen(
        command, env=common | {"ROLE": "server", "SSLKEYLOGFILE": str(tmp_path / "s.log")}
    ) as serving:
        try:
            environment = common | {
                "ROLE": "client",
                "REQUESTS": "https://server4:443/file",
                "SSLKEYLOGFILE": str(tmp_path / "c.log"),
            }
            for _ in range(100):
                done = subprocess.run(command, env=environment, check=False, timeout=60)
                if done.returncode == 0:
                    break
                time.sleep(0.2)
            assert done.returncode == 0
            missing = environment | {"REQUESTS": "https://server4:443/other"}
            assert subprocess.run(command, env=missing, check=False, timeout=60).returncode == FAILED
        finally:
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(20) == 0
    assert (tmp_path / "downloads" / "file").read_bytes() == (tmp_path / "www" / "file").read_bytes()
    assert not (tmp_path / "downloads" / "other").exists()
    assert set((tmp_path / "c.log").read_text().split("\n")) & set((tmp_path / "s.log").read_text().split("\n")) - {""}
    assert any((tmp_path / "qlog").iterdir())
