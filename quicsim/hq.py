"""HTTP/0.9 on QUIC streams (ALPN "hq-interop"), the protocol that implementations of QUIC test each other with.

A client opens a stream per file and sends "GET /path" and the stream's end; the answer is the file's bytes and the end.
There is no status: where there is no such file, this server resets the stream.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from quicsim.connection import Connection, Listener
from quicsim.files import BLOCK, Files, NoSuchFile, Served
from quicsim.net import Net
from quicsim.stream import Stream
from stack.errors import QuicError

ALPN: Final = "hq-interop"
NOT_FOUND: Final = 1  # application error codes with which this server resets a stream
BAD_REQUEST: Final = 2
READ_FAILED: Final = 3

MAX_REQUEST: Final = 4_096  # bytes of a request that are looked at


class BadRequest(Exception):
    """What came is no request; the message says what would be one."""


async def serve(net: Net, listener: Listener, root: Path, on_served: Callable[[Served], object]) -> None:
    """Give clients the regular files below `root`, for ever. `on_served` is told of every request that has ended."""
    files = Files(root)
    while True:
        net.spawn(serve_connection, await listener.accept(), files, on_served)


async def fetch(conn: Connection, path: str, write: Callable[[bytes], object]) -> int:
    """Request `path`, hand `write` what comes, and return how many bytes that was.

    Raises StreamReset when the server has no such file, ConnectionClosed, and what `write` raises.
    """
    return await receive(await request(conn, path), write)


async def request(conn: Connection, path: str) -> Stream:
    """Request `path` and return the stream that the answer comes on. Raises ConnectionClosed."""
    stream = await conn.open_stream()
    await stream.write(f"GET {path}\r\n".encode(), end=True)
    return stream


async def receive(stream: Stream, write: Callable[[bytes], object]) -> int:
    """Hand `write` what comes on a stream, and return how many bytes that was; raises what `fetch` does."""
    size = 0
    while data := await stream.read(BLOCK):
        size += len(data)
        try:
            write(data)
        except BaseException:
            stream.stop()
            raise
    return size


async def serve_connection(net: Net, conn: Connection, files: Files, on_served: Callable[[Served], object]) -> None:
    """Answer the requests of one connection until it ends."""
    try:
        while True:
            net.spawn(_serve_stream, conn, await conn.accept_stream(), files, on_served)
    except QuicError:
        return  # the connection has ended


async def _serve_stream(
    net: Net, conn: Connection, stream: Stream, files: Files, on_served: Callable[[Served], object]
) -> None:
    """Answer one request, and say what came of it."""
    started_at, client = net.now, conn.path.remote
    path, size, failure = "", 0, ""
    try:
        if stream.unidirectional:
            stream.stop(BAD_REQUEST)
            return
        path = await _request(stream)
        with files.open(path) as file:
            block = file.read(BLOCK)
            while block:
                following = file.read(BLOCK)
                await stream.write(block, end=not following)  # the end goes with the last bytes
                size += len(block)
                block = following
        if not size:
            await stream.finish()
    except BadRequest as error:
        failure = str(error)
        _reset(stream, BAD_REQUEST)
    except NoSuchFile as error:
        failure = str(error)
        _reset(stream, NOT_FOUND)
    except OSError as error:
        failure = f"can't be read: {error.strerror}"
        _reset(stream, READ_FAILED)
    except QuicError as error:
        failure = str(error)
    on_served(Served(client, "GET", path, size, net.now - started_at, failure))
    await _drain(stream)


async def _request(stream: Stream) -> str:
    """Return the path that the client asks for. Raises BadRequest."""
    line = b""
    while b"\n" not in line and len(line) < MAX_REQUEST and (data := await stream.read(MAX_REQUEST - len(line))):
        line += data
    method, _, path = line.partition(b"\n")[0].rstrip(b"\r").partition(b" ")
    if method != b"GET" or not path.startswith(b"/"):
        raise BadRequest(f"not a request of the form GET /path: {line[:40]!r}")
    return path.decode(errors="replace")


def _reset(stream: Stream, code: int) -> None:
    try:
        stream.reset(code)
    except QuicError:
        return  # the connection has ended meanwhile


async def _drain(stream: Stream) -> None:
    """Read to the end of what the client sends, so that the stream is over."""
    try:
        while await stream.read(BLOCK):
            pass
    except QuicError:
        return  # it was reset, or the connection has ended
