"""Files over hq-interop, in simulation: what a server gives, and what it keeps to itself."""

import os
from pathlib import Path

import pytest

import quicsim
from links import Blackout, Delay, Loss, Rate, TailDrop
from quicsim import Connection, Net, Simulation, hq
from stack.errors import StreamReset

CONTENT = bytes(range(256)) * 2_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to serve, with a file beside it that must stay private."""
    (tmp_path / "private").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub dir").mkdir(parents=True)
    (root / "file").write_bytes(CONTENT)
    (root / "empty").write_bytes(b"")
    (root / "sub dir" / "é").write_bytes(b"deep")
    (root / "inside").symlink_to("file")
    (root / "outside").symlink_to("../private")
    os.mkfifo(root / "pipe")
    return root


def talk(root: Path, client, served: list[hq.Served] | None = None):
    """Run `client(net, conn)` against a server of `root`."""

    async def server(net: Net) -> None:
        listener = await net.listen(443, quicsim.test_certificate(), alpn=(hq.ALPN,))
        await hq.serve(net, listener, root, (served if served is not None else []).append)

    async def connected(net: Net):
        conn = await net.connect("bob", 443, trust=quicsim.test_certificate(), alpn=(hq.ALPN,))
        result = await client(net, conn)
        conn.close()
        return result

    sim = Simulation(seed=3)
    path = [Rate("50Mbps"), TailDrop(100_000), Delay("5ms"), Loss(0.01)]
    sim.link("alice", "bob", up=path, down=[Rate("50Mbps"), TailDrop(100_000), Delay("5ms"), Loss(0.01)])
    sim.spawn("bob", server)
    return sim.run(sim.spawn("alice", connected))


async def get(conn: Connection, path: str) -> bytes:
    blocks: list[bytes] = []
    size = await hq.fetch(conn, path, blocks.append)
    assert size == sum(map(len, blocks))
    return b"".join(blocks)


def test_files_come_as_they_are(root: Path) -> None:
    async def client(net: Net, conn: Connection) -> list[bytes]:
        return [await get(conn, path) for path in ("/file", "/empty", "/sub%20dir/%C3%A9", "//file", "/inside")]

    served: list[hq.Served] = []
    assert talk(root, client, served) == [CONTENT, b"", b"deep", CONTENT, CONTENT]
    assert [(each.path, each.size, each.failure) for each in served[:2]] == [
        ("/file", len(CONTENT), ""),
        ("/empty", 0, ""),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/",
        "/sub%20dir",
        "/../private",
        "/sub%20dir/../../private",
        "/%2e%2e/private",
        "/..%2fprivate",
        "/outside",
        "/pipe",
        "/file/..",
        "/a%00b",
        "/" + "x" * 3_000,
    ],
)
def test_what_is_no_file_below_the_directory_is_not_given(root: Path, path: str) -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        with pytest.raises(StreamReset) as refused:
            await get(conn, path)
        assert refused.value.code == hq.NOT_FOUND
        return await get(conn, "/sub%20dir/%C3%A9")  # the connection goes on

    assert talk(root, client) == b"deep"


def test_the_file_beside_the_directory_is_reached_by_an_absolute_path_neither(root: Path) -> None:
    async def client(net: Net, conn: Connection) -> int:
        with pytest.raises(StreamReset) as refused:
            await get(conn, f"/{root.parent / 'private'}")
        return refused.value.code

    assert talk(root, client) == hq.NOT_FOUND


@pytest.mark.parametrize("request_line", [b"", b"POST /file\r\n", b"GET file\r\n", b"\n", b"\xff" * 10_000])
def test_other_requests_are_refused(root: Path, request_line: bytes) -> None:
    async def client(net: Net, conn: Connection) -> int:
        stream = await conn.open_stream()
        await stream.write(request_line, end=True)
        with pytest.raises(StreamReset) as refused:
            await stream.read_all()
        return refused.value.code

    assert talk(root, client) == hq.BAD_REQUEST


def test_an_answer_does_not_wait_for_the_end_of_the_request(root: Path) -> None:
    async def client(net: Net, conn: Connection) -> bytes:
        stream = await conn.open_stream()
        await stream.write(b"GET /file\r\n")
        return await stream.read_all()

    assert talk(root, client) == CONTENT


def test_a_reader_that_fails_stops_the_stream(root: Path) -> None:
    def full(data: bytes) -> None:
        raise OSError("no room")

    async def client(net: Net, conn: Connection) -> bytes:
        with pytest.raises(OSError, match="no room"):
            await hq.fetch(conn, "/file", full)
        await net.sleep("1s")
        return await get(conn, "/empty")

    served: list[hq.Served] = []
    assert talk(root, client, served) == b""
    assert served[0].path == "/file"


def test_a_network_that_is_down_for_20_s_delays_a_file_and_no_more(root: Path) -> None:
    """Probes find the way back, twice as late as the outage was long at most, for each waits twice as long as the last.

    Until then the connection lasts: its idle timeout is no less than three probe timeouts (RFC 9000 section 10.1).
    """

    async def server(net: Net) -> None:
        listener = await net.listen(443, quicsim.test_certificate(), alpn=(hq.ALPN,))
        await hq.serve(net, listener, root, lambda served: None)

    async def client(net: Net) -> tuple[bytes, int]:
        conn = await net.connect("bob", 443, trust=quicsim.test_certificate(), alpn=(hq.ALPN,))
        content = await get(conn, "/file")
        return content, net.now

    sim = Simulation(seed=3)
    up, down = ([Rate("10Mbps"), TailDrop(100_000), Delay("5ms"), Blackout("200ms", "20s")] for _ in range(2))
    sim.link("alice", "bob", up=up, down=down)
    sim.spawn("bob", server)
    content, now = sim.run(sim.spawn("alice", client))
    assert content == CONTENT
    assert 20.2e9 < now < 2 * 20.2e9
