"""Files over HTTP/3, in simulation: what a server gives, what it tells, and what it keeps to itself."""

import os
from pathlib import Path

import pytest

from quicsim import Net, h3
from quicsim.files import Files, Served
from tests.quicsim.h3.exchange import requesting, run

CONTENT = bytes(range(256)) * 2_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to serve, with a file beside it that must stay private."""
    (tmp_path / "private").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "file.bin").write_bytes(CONTENT)
    (root / "empty.txt").write_bytes(b"")
    (root / "index.html").write_bytes(b"<p>first")
    (root / "sub" / "é.tar.gz").write_bytes(b"deep")
    os.mkfifo(root / "pipe")
    return root


def ask(root: Path, *requests: tuple[str, str], served: list[Served] | None = None) -> list[tuple]:
    """Return status, type, length and content of the answer to each (method, path)."""

    async def server(net: Net, conn) -> None:
        told = [] if served is None else served
        h3.Server(net, h3.file_handler(net, Files(root), told.append)).take(conn)

    async def use(net: Net, client: h3.Client) -> list[tuple]:
        answers = []
        for method, path in requests:
            response = await client.request(method, path)
            fields = (response.field("content-type"), response.field("content-length"))
            answers.append((response.status, *fields, await response.read_all()))
        return answers

    return run(server, requesting(use))


def test_files_come_with_type_and_length(root: Path) -> None:
    served: list[Served] = []
    paths = ["/file.bin", "/empty.txt", "/", "/index.html?query", "/sub/%C3%A9.tar.gz"]
    assert ask(root, *[("GET", path) for path in paths], served=served) == [
        (200, "application/octet-stream", str(len(CONTENT)), CONTENT),
        (200, "text/plain; charset=utf-8", "0", b""),
        (200, "text/html; charset=utf-8", "8", b"<p>first"),
        (200, "text/html; charset=utf-8", "8", b"<p>first"),
        (200, "application/octet-stream", "4", b"deep"),
    ]
    assert [(each.method, each.path, each.size, each.failure) for each in served[:2]] == [
        ("GET", "/file.bin", len(CONTENT), ""),
        ("GET", "/empty.txt", 0, ""),
    ]


def test_head_tells_about_a_file_without_its_content(root: Path) -> None:
    assert ask(root, ("HEAD", "/file.bin"), ("HEAD", "/none")) == [
        (200, "application/octet-stream", str(len(CONTENT)), b""),
        (404, "text/plain; charset=utf-8", "14", b""),
    ]


@pytest.mark.parametrize("path", ["/none", "/sub", "/sub/", "/../private", "/%2e%2e/private", "/pipe", "/a%00b", "*"])
def test_what_is_no_file_below_the_directory_is_not_found(root: Path, path: str) -> None:
    (answer,) = ask(root, ("GET", path))
    assert answer == (404, "text/plain; charset=utf-8", "14", b"404 Not Found\n")


def test_other_methods_are_not_allowed(root: Path) -> None:
    served: list[Served] = []
    answers = ask(root, ("POST", "/file.bin"), ("DELETE", "/file.bin"), served=served)
    assert [answer[0] for answer in answers] == [405, 405]
    assert (root / "file.bin").exists()
    assert served[0].failure == "405 Method Not Allowed"


def test_a_file_that_shrinks_is_given_up(root: Path) -> None:
    class Shrinking(Files):
        def open(self, path: str):
            file = super().open(path)
            file.seek(10)
            return file

    async def server(net: Net, conn) -> None:
        h3.Server(net, h3.file_handler(net, Shrinking(root), served.append)).take(conn)

    async def use(net: Net, client: h3.Client) -> None:
        with pytest.raises(Exception, match="was reset"):
            await h3.fetch(client, "/file.bin", lambda data: None)

    served: list[Served] = []
    run(server, requesting(use))
    assert served[0].failure == "the file has become shorter"


def test_a_writer_that_fails_cancels_the_request(root: Path) -> None:
    async def server(net: Net, conn) -> None:
        h3.Server(net, h3.file_handler(net, Files(root), lambda served: None)).take(conn)

    def full(data: bytes) -> None:
        raise OSError("no room")

    async def use(net: Net, client: h3.Client) -> tuple[int, bytes]:
        with pytest.raises(OSError, match="no room"):
            await h3.fetch(client, "/file.bin", full)
        blocks: list[bytes] = []
        response, size = await h3.fetch(client, "/index.html", blocks.append)
        missing, none = await h3.fetch(client, "/none", full)
        assert (response.status, size, missing.status, none) == (200, 8, 404, 0)
        return b"".join(blocks)

    assert run(server, requesting(use)) == b"<p>first"
