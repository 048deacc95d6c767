"""What tshark says of captures that the commands make on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim import Listener, RealNet, h3, hq
from quicsim.cli import app
from quicsim.commands import exits
from quicsim.files import Files
from tests.support.serving import serving
from tests.support.tshark import check, dissect, tshark, values

CONTENT = bytes(range(256)) * 1_000
RETRY = "3"  # type of a long header's packet


@pytest.fixture(params=[hq.ALPN, h3.ALPN])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "file.bin").write_bytes(CONTENT)

    async def serve(net: RealNet, listener: Listener) -> None:
        if request.param == h3.ALPN:
            await h3.Server(net, h3.file_handler(net, Files(tmp_path), lambda served: None)).serve(listener)
        else:
            await hq.serve(net, listener, tmp_path, lambda served: None)

    with serving(serve, request.param) as port:
        yield request.param, port


@pytest.mark.peer("tshark")
def test_a_capture_is_decrypted_and_nothing_is_malformed(server: tuple[str, int], tmp_path: Path) -> None:
    alpn, port = server
    capture, out = tmp_path / "capture.pcapng", tmp_path / "out"
    url = f"https://127.0.0.1:{port}/file.bin"
    options = ["--pin", "test", "--out", str(out), "--pcap", str(capture), "--key-update"]
    result = CliRunner().invoke(app, ["get", url, *options, *(["--h3"] if alpn == h3.ALPN else [])])
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    frames = check(capture, remarks=None, port=port)  # it may remark on what was sent twice
    assert {"6", "30"} <= set(values(frames, "quic.frame_type"))  # CRYPTO, HANDSHAKE_DONE
    assert len(frames) > len(CONTENT) / 65_535
    if alpn == h3.ALPN:
        shown = tshark(capture, "-Y", "http3", "-T", "fields", "-e", "http3.frame_type", port=port)
        assert {"1", "4"} <= {kind for line in shown for kind in line.split(",")}  # HEADERS, SETTINGS


@pytest.mark.peer("tshark")
@pytest.mark.requirement("rfc9000:8.1.3:9", "rfc9000:8.1.3:16")
def test_a_token_of_the_last_run_spares_the_next_one_a_retry(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"small")

    async def serve(net: RealNet, listener: Listener) -> None:
        await hq.serve(net, listener, tmp_path, lambda served: None)

    retries: list[int] = []
    with serving(serve, hq.ALPN, new_token=True, retry="always") as port:
        for run in range(3):
            capture, url = tmp_path / f"run{run}.pcapng", f"https://127.0.0.1:{port}/file.bin"
            files = ["--out", str(tmp_path / "out"), "--session", str(tmp_path / "sessions"), "--pcap", str(capture)]
            result = CliRunner().invoke(app, ["get", url, "--pin", "test", *files])
            assert (result.exit_code, result.stderr) == (exits.OK, "")
            retries.append(values(dissect(capture, port), "quic.long.packet_type").count(RETRY))
    assert retries == [1, 0, 0]
