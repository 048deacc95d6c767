"""A pair of hosts in simulation, one of which speaks HTTP/3 properly and the other as the test wants."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pylsqpack

import quicsim
from links import Delay, Element
from quicsim import Connection, Net, Simulation, Stream, h3
from quicsim.h3 import wire
from stack.wire.varint import encode_varint

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"bob"), (b":path", b"/")]
SETTINGS = wire.encode_settings({})


def run(
    server: Callable[[Net, Connection], Coroutine[Any, Any, Any]],
    client: Callable[[Net, Connection], Coroutine[Any, Any, Any]],
    path: Callable[[], Iterable[Element]] = lambda: [Delay("5ms")],
    **options: Any,
) -> Any:
    """Return what `client` returns, on a connection whose other end `server` has."""

    async def listen(net: Net) -> None:
        listener = await net.listen(443, quicsim.test_certificate(), alpn=(h3.ALPN,))
        while True:
            net.spawn(server, await listener.accept())

    async def connect(net: Net) -> Any:
        conn = await net.connect("bob", 443, trust=quicsim.test_certificate(), alpn=(h3.ALPN,), **options)
        return await client(net, conn)

    sim = Simulation(seed=5)
    sim.link("alice", "bob", up=path(), down=path())
    sim.spawn("bob", listen)
    return sim.run(sim.spawn("alice", connect))


def serving(handler: h3.Handler) -> Callable[[Net, Connection], Coroutine[Any, Any, None]]:
    """A server of ours that answers with `handler`."""

    async def serve(net: Net, conn: Connection) -> None:
        h3.Server(net, handler).take(conn)

    return serve


def requesting(
    use: Callable[[Net, h3.Client], Coroutine[Any, Any, Any]],
) -> Callable[[Net, Connection], Coroutine[Any, Any, Any]]:
    """A client of ours that does `use`."""

    async def request(net: Net, conn: Connection) -> Any:
        return await use(net, h3.Client(net, conn, "bob"))

    return request


async def echo(request: h3.Request) -> None:
    """Send back what the request says."""
    content = b""
    while block := await request.read():
        content += block
    line = f"{request.method} {request.path} {request.field(':authority')} ".encode()
    await request.respond(200, [("content-type", "text/plain")], content=line + content)


def headers(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A HEADERS frame that needs no table but the static one."""
    return wire.encode_frame(wire.HEADERS, pylsqpack.Encoder().encode(0, fields)[1] or b"\0\0")


async def open_stream(conn: Connection, kind: int, data: bytes = b"") -> Stream:
    """Open a unidirectional stream of a type."""
    stream = await conn.open_stream(unidirectional=True)
    await stream.write(encode_varint(kind) + data)
    return stream


async def send(conn: Connection, data: bytes, end: bool = True) -> Stream:
    """Open a bidirectional stream with `data`."""
    stream = await conn.open_stream()
    await stream.write(data, end=end)
    return stream


async def closed(conn: Connection) -> str:
    """The error that the peer closes the connection with, by name."""
    ended = await conn.wait_closed()
    assert ended.remote
    assert ended.application
    return h3.code_name(ended.code)
