"""Our client for the test cases of the interop runner, on any net."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from quicsim import hq
from quicsim.connection import Connection
from quicsim.interop.cases import HQ
from quicsim.net import Net, Trust, together
from quicsim.outputs import OutputDirectory
from quicsim.stream import Stream
from stack.errors import VERSION_NEGOTIATION_ERROR, ConfigError, ConnectionClosed, QuicError
from stack.tls.schedule import CHACHA20_POLY1305_SHA256
from stack.wire.versions import VERSION_1, VERSION_2

# What each test case asks of the connection. Only "v2" is to leave version 1.
_V1: Final[dict[str, Any]] = {"versions": (VERSION_1,)}
# Large enough for the rig's round trip, and less than a file is long
_SMALL_WINDOWS: Final[dict[str, Any]] = {
    "initial_max_data": 384 << 10,
    "initial_max_stream_data_bidi_local": 128 << 10,
}
# A NAT that rebinds cuts off a client that only receives, and has nothing to acknowledge: it must be the one that sends
_WATCHFUL: Final[dict[str, Any]] = {"keep_alive_ms": 500}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "handshake": _V1,
    "transfer": _V1 | _SMALL_WINDOWS | _WATCHFUL,
    "multiplexing": _V1,
    "chacha20": _V1 | {"suites": (CHACHA20_POLY1305_SHA256,)},
    "retry": _V1,
    "resumption": _V1,
    "zerortt": _V1 | {"early_data": True},
    "http3": _V1,
    "multiconnect": _V1,
    "keyupdate": _V1,
    "ecn": _V1,
    "ipv6": _V1,
    # Some servers go by the client's preference
    "v2": {"versions": (VERSION_2, VERSION_1), "original_version": VERSION_1},
    "rebind-port": _V1,
    "rebind-addr": _V1,
    "connectionmigration": _V1,
}
TESTCASES: Final = frozenset(OPTIONS)

DEFAULT_PORT: Final = 443

Fetch = Callable[[str, Callable[[bytes], object]], Coroutine[Any, Any, int]]
"""Fetches a path and hands over what comes."""

_PARALLEL: Final = 256  # requests at a time; the server's limit of streams may hold back more
_ATTEMPTS: Final = 5  # at a connection
_TICKET_CHECKS: Final = 50
_TICKET_INTERVAL: Final = "100ms"


class TransferFailed(Exception):
    """Not all files came; the message says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """A file to fetch: the server's name, the path to ask for and the name of the file."""

    host: str
    port: int
    path: str
    name: str


def parse_request(url: str) -> Request:
    """Return what a URL asks for. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    name = parts.path.rpartition("/")[2] if host else ""
    if not host or parts.scheme != "https" or not name or name in (".", ".."):
        raise ConfigError(f"request {url!r}: must be a URL of the form https://HOST[:PORT]/NAME")
    return Request(host, port or DEFAULT_PORT, parts.path, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Fetches `requests` from `host` (by default where their URLs point) into `out`, as `testcase` asks for.

    `options` go to `Net.connect`.
    """

    testcase: str
    requests: tuple[Request, ...]
    out: OutputDirectory
    trust: Trust
    protocol: str = HQ
    host: str | None = None
    port: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    async def run(self, net: Net) -> None:
        """Fetch everything. Raises TransferFailed."""
        try:
            match self.testcase:
                case "multiconnect":
                    for request in self.requests:
                        await self._connection(net, [request])
                case "resumption" | "zerortt":
                    session = await self._first_connection(net, [self.requests[0]])
                    await self._connection(net, self.requests[1:], session=session)
                case _:
                    await self._connection(net, self.requests)
        except (QuicError, OSError) as error:
            raise TransferFailed(str(error)) from error

    async def _first_connection(self, net: Net, requests: list[Request]) -> bytes:
        """Fetch, and return a session to resume."""
        conn = await self._connect(net)
        sessions: list[bytes] = []
        try:
            net.spawn(_collect_sessions, conn, sessions)
            await self._fetch_all(net, conn, requests)
            for _ in range(_TICKET_CHECKS):
                if sessions:
                    return sessions[-1]
                await net.sleep(_TICKET_INTERVAL)
            raise TransferFailed("the server gave no session to resume")
        finally:
            conn.close()

    async def _connection(self, net: Net, requests: Sequence[Request], **more: Any) -> None:
        """Fetch some files over a connection of their own."""
        conn = await self._connect(net, **more)
        try:
            await self._fetch_all(net, conn, requests)
        finally:
            conn.close()

    async def _connect(self, net: Net, **more: Any) -> Connection:
        """Connect, again if it is said that the server speaks no version of ours.

        Nothing protects Version Negotiation packets, and a datagram whose version was damaged on the way leads to one.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._attempt(net, **more)
            except ConnectionClosed as error:
                if error.code != VERSION_NEGOTIATION_ERROR:
                    raise
        return await self._attempt(net, **more)

    async def _attempt(self, net: Net, **more: Any) -> Connection:
        first = self.requests[0]
        return await net.connect(
            self.host or first.host,
            self.port or first.port,
            trust=self.trust,
            alpn=(self.protocol,),
            server_name=first.host,
            **OPTIONS[self.testcase] | self.options | more,
        )

    async def _fetch_all(self, net: Net, conn: Connection, requests: Sequence[Request]) -> None:
        if self.testcase == "zerortt" and self.protocol == HQ:
            await self._fetch_gathered(net, conn, requests)
            return
        fetch = _hq_fetcher(conn) if self.protocol == HQ else _h3_fetcher(net, conn, self.requests[0])
        left = iter(requests)
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [partial(self._work, fetch, left)]
        jobs *= min(_PARALLEL, len(requests))
        if self.testcase == "keyupdate":
            jobs.append(conn.update_keys)
        await together(net, *jobs)

    async def _fetch_gathered(self, net: Net, conn: Connection, requests: Sequence[Request]) -> None:
        """Make all requests in as few packets as they take: before the handshake is complete, there is not room for
        many.
        """
        with conn.gathered():
            streams = [await hq.request(conn, request.path) for request in requests]
        pairs = zip(requests, streams, strict=True)
        await together(net, *(partial(self._receive, request, stream) for request, stream in pairs))

    async def _receive(self, request: Request, stream: Stream) -> None:
        with self.out.binary(request.name) as file:
            await hq.receive(stream, file.write)

    async def _work(self, fetch: Fetch, left: Iterator[Request]) -> None:
        """Fetch files as long as there are some."""
        for request in left:
            with self.out.binary(request.name) as file:
                await fetch(request.path, file.write)


def _hq_fetcher(conn: Connection) -> Fetch:
    return partial(hq.fetch, conn)


def _h3_fetcher(net: Net, conn: Connection, first: Request) -> Fetch:
    from quicsim import h3  # an extra, which only this needs

    client = h3.Client(net, conn, first.host if first.port == DEFAULT_PORT else f"{first.host}:{first.port}")

    async def fetch(path: str, write: Callable[[bytes], object]) -> int:
        response, size = await h3.fetch(client, path, write)
        if response.status != h3.OK:
            raise TransferFailed(f"{path}: the server answers {response.phrase}")
        return size

    return fetch


async def _collect_sessions(net: Net, conn: Connection, sessions: list[bytes]) -> None:
    try:
        while True:
            sessions.append(await conn.session())
    except ConnectionClosed:
        return
