"""HTTP/3 with other implementations, over UDP: browsers and clients at our server, our client at their servers."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from typer.testing import CliRunner

from quicsim.authority import CA_CERTIFICATE, CERTIFICATE, KEY
from quicsim.cli import app
from quicsim.commands import exits
from quicsim.interop.peers import H3
from tests.support.endpoints import Exchange, installed
from tests.support.programs import HOST, QUICSIM, free_port, output, program, running
from tests.support.serving import authority

CONTENT = bytes(range(256)) * 2_000
PAGE = '<p id="x">as it came</p><script src="/script.js"></script>'
SCRIPT = 'document.getElementById("x").textContent = "the script ran"'


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("pem"), "localhost", HOST)


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("www")
    (directory / "file.bin").write_bytes(CONTENT)
    (directory / "index.html").write_text(PAGE)
    (directory / "script.js").write_text(SCRIPT)
    return directory


@pytest.fixture(scope="module")
def port(www: Path, pem: Path) -> Iterator[int]:
    """Our server, as a command."""
    port = free_port()
    command = (*QUICSIM, "serve", www, "--h3", "--host", HOST, "--port", port)
    with running((*command, "--cert", pem / CERTIFICATE, "--key", pem / KEY), port, pem / "serve.log"):
        yield port


@pytest.mark.peer("chromium")
def test_chromium_loads_a_page_and_its_script(port: int, pem: Path, tmp_path: Path) -> None:
    key = load_pem_x509_certificate((pem / CERTIFICATE).read_bytes()).public_key()
    spki = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    usual = "headless no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update"
    command = [
        program("chromium"),
        *(f"--{option}" for option in (*usual.split(), "disable-sync", "disable-extensions", "enable-quic")),
        f"--user-data-dir={tmp_path}",
        f"--origin-to-force-quic-on=localhost:{port}",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(spki).decode()}",
        f"--host-resolver-rules=MAP localhost {HOST}",
        "--dump-dom",
        f"https://localhost:{port}/index.html",
    ]
    assert "the script ran" in output(tuple(command))
    assert "GET '/script.js': 59 bytes" in (pem / "serve.log").read_text()


@pytest.mark.peer("ngtcp2")
def test_the_client_of_ngtcp2_downloads(port: int, tmp_path: Path) -> None:
    options = ("--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close", f"--download={tmp_path}")
    output((program("gtlsclient"), *options, HOST, port, f"https://localhost:{port}/file.bin"))
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.peer("aioquic")
def test_the_client_of_aioquic_downloads(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, 1000, 300_000, protocol=H3)
    port, certs = free_port(), tmp_path / "certs"
    command = (*QUICSIM, "serve", tmp_path / "www", "--h3", "--host", HOST, "--port", port)
    with running((*command, "--cert", certs / CERTIFICATE, "--key", certs / "priv.key"), port, tmp_path / "serve.log"):
        assert exchange.fetch(installed("aioquic"), "http3", port) == 0
    assert exchange.fetched


def get(url: str, root: Path, out: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["get", "--h3", url, "--ca", str(root), "--out", str(out)])
    return result.exit_code, result.stderr


@pytest.mark.peer("ngtcp2")
def test_we_download_from_the_server_of_ngtcp2(www: Path, pem: Path, tmp_path: Path) -> None:
    port = free_port()
    command = (program("gtlsserver"), "--quiet", "-d", www, HOST, port, pem / KEY, pem / CERTIFICATE)
    with running(command, port, tmp_path / "log"):
        assert get(f"https://localhost:{port}/file.bin", pem / CA_CERTIFICATE, tmp_path) == (exits.OK, "")
        assert (tmp_path / "file.bin").read_bytes() == CONTENT
        code, message = get(f"https://localhost:{port}/none", pem / CA_CERTIFICATE, tmp_path)
    assert code == exits.NOT_FOUND
    assert message == f"quicsim: https://localhost:{port}/none: the server answers 404 Not Found\n"


CADDYFILE = """{{
    admin off
    auto_https off
    default_sni localhost
    servers {{
        protocols h1 h2 h3
    }}
}}
https://localhost:{port} {{
    bind {host}
    tls {cert} {key}
    root * {www}
    file_server
}}
"""


@pytest.mark.peer("caddy")
def test_we_download_from_caddy(www: Path, pem: Path, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "Caddyfile"
    cert, key = pem / CERTIFICATE, pem / KEY
    config.write_text(CADDYFILE.format(port=port, host=HOST, cert=cert, key=key, www=www))
    command = (program("caddy"), "run", "--config", config, "--adapter", "caddyfile")
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(tmp_path))
    with running(command, port, tmp_path / "log", homes):
        assert get(f"https://localhost:{port}/file.bin", pem / CA_CERTIFICATE, tmp_path) == (exits.OK, "")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.peer("aioquic")
def test_we_download_from_the_server_of_aioquic(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, 300_000, protocol=H3)
    with exchange.serving(installed("aioquic"), "http3") as port:
        url = f"https://localhost:{port}/file0.bin"
        assert get(url, tmp_path / "certs" / CA_CERTIFICATE, tmp_path / "downloads") == (exits.OK, "")
    assert exchange.fetched
