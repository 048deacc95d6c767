"""`quicsim get`: files from servers of hq-interop or HTTP/3."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from quicsim import hq
from quicsim.commands.exits import BAD_INPUT, OK, Failure, connecting, errors, of_stream, of_writing
from quicsim.commands.http import H3_ALPN, H3_NO_ERROR, Fetch, h3_fetcher, require_h3
from quicsim.commands.options import (
    Ca,
    Insecure,
    KeyLogFile,
    Pcap,
    Pin,
    Qlog,
    Timeout,
    connection_options,
    recorded_net,
    version_name,
)
from quicsim.commands.sessions import SessionFile
from quicsim.connection import Connection
from quicsim.net import Net, together
from quicsim.outputs import OutputDirectory
from stack.errors import StreamReset
from stack.wire.versions import VERSION_1, VERSION_2

DEFAULT_PORT: Final = 443

OnBytes = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Target:
    """A file to fetch: its URL, the path to ask for and the name to write it under."""

    url: str
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of each connection beside its files; `options` are those of `Net.connect`."""

    h3: bool
    parallel: int
    migrate: bool
    key_update: bool
    versions: tuple[int, ...]
    sessions: SessionFile | None
    options: dict[str, Any]


def get(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="https://HOST[:PORT]/PATH", show_default=False)],
    out: Annotated[Path, typer.Option(help="Directory for the files.")] = Path(),
    h3: Annotated[bool, typer.Option("--h3", help="Speak HTTP/3 in place of hq-interop.")] = False,
    insecure: Insecure = False,
    ca: Ca = None,
    pin: Pin = None,
    parallel: Annotated[int, typer.Option(min=1, metavar="N", help="Files at a time of each server.")] = 4,
    session: Annotated[
        Path | None, typer.Option(help="File that keeps sessions, to resume them in the next run.", show_default=False)
    ] = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Move to another local port while files come.")] = False,
    key_update: Annotated[bool, typer.Option("--key-update", help="Update the keys while files come.")] = False,
    v2: Annotated[bool, typer.Option("--v2", help="Speak QUIC version 2 only.")] = False,
    timeout: Timeout = 30.0,
    qlog: Qlog = None,
    keylog: KeyLogFile = None,
    pcap: Pcap = None,
) -> None:
    """Fetch files from `quicsim serve` and other servers; each is written under the last part of its URL.

    Exit codes: 0 all is there; 1 failed otherwise; 2 wrong arguments; 3 unreachable or refused; 4 certificate not
    trusted; 5 no answer in time; 6 no such file, or reset; 7 disk full; 130 interrupted.
    """
    servers = _by_server(urls)
    if h3:
        require_h3()
    wishes = Wishes(
        h3,
        parallel,
        migrate,
        key_update,
        (VERSION_2,) if v2 else (VERSION_1, VERSION_2),
        None if session is None else SessionFile(session),
        connection_options(insecure, ca, pin, timeout) | patience(timeout),
    )
    directory = OutputDirectory(out)
    failures: list[Failure] = []
    with _progress_bar() as on_bytes, recorded_net("client", qlog, keylog, pcap) as net:
        net.run(_get_all, servers, wishes, directory, on_bytes, failures)
    if wishes.sessions is not None:
        wishes.sessions.save()
    for failure in failures:
        errors.print(f"quicsim: {failure}")
    raise typer.Exit(failures[0].code if failures else OK)


def patience(timeout: float) -> dict[str, Any]:
    """Return options of a connection that lasts through an outage of half of the idle timeout (s), and more.

    A client that receives has nothing to send, and the server's probes come ever more seldom. Its own probes begin with
    a PING in the silence, and what the server answers restarts both ends' timers.
    """
    return {"keep_alive_ms": max(round(timeout * 1000 / 3), 1)}


async def _get_all(
    net: Net,
    servers: dict[tuple[str, int], list[Target]],
    wishes: Wishes,
    out: OutputDirectory,
    on_bytes: OnBytes,
    failures: list[Failure],
) -> None:
    """Fetch from one server after the other; what goes wrong with one does not keep from the next."""
    for (host, port), targets in servers.items():
        try:
            await Download(net, host, port, targets, wishes, out, on_bytes, failures).run()
        except Failure as failure:
            failures.append(failure)


class Download:
    """The files of one server, over one connection. Files that fail are added to `failures`, the others go on."""

    def __init__(
        self,
        net: Net,
        host: str,
        port: int,
        targets: list[Target],
        wishes: Wishes,
        out: OutputDirectory,
        on_bytes: OnBytes,
        failures: list[Failure],
    ) -> None:
        self._net = net
        self._host = host
        self._port = port
        self._server = f"{host}:{port}"
        # A session belongs to an application protocol too
        self._session_name = f"{self._server} h3" if wishes.h3 else self._server
        self._left = targets[::-1]
        self._wishes = wishes
        self._out = out
        self._on_bytes = on_bytes
        self._failures = failures
        self._files = 0
        self._bytes = 0

    async def run(self) -> None:
        """Connect, fetch everything and close. Raises Failure when the connection can't be had or ends early."""
        started_at = self._net.now
        with connecting(self._server):
            conn = await self._connect()
            try:
                self._net.spawn(self._keep_sessions, conn)
                self._net.spawn(self._keep_tokens, conn)
                workers = [partial(self._work, self._fetcher(conn))] * min(self._wishes.parallel, len(self._left))
                await together(self._net, *workers, *self._extras(conn))
            finally:
                conn.close(H3_NO_ERROR if self._wishes.h3 else 0)
        self._report(conn, self._net.now - started_at)

    def _report(self, conn: Connection, duration_ns: int) -> None:
        how = f"version {version_name(conn.version)}"
        if conn.handshake is not None and conn.handshake.resumed:
            how += ", resumed with 0-RTT" if conn.handshake.early_data_accepted else ", resumed"
        print(f"{self._server}: {self._files} files, {self._bytes:,} bytes in {duration_ns / 1e9:.3f} s; QUIC {how}")

    async def _connect(self) -> Connection:
        wishes = self._wishes
        options = dict(wishes.options)
        if wishes.sessions is not None:
            options["early_data"] = True  # a GET may be repeated by whoever has recorded it
            options["session"] = wishes.sessions.take(self._session_name, wishes.versions[0])
            options["token"] = wishes.sessions.take_token(self._server, wishes.versions[0])
        alpn = H3_ALPN if wishes.h3 else hq.ALPN
        return await self._net.connect(self._host, self._port, alpn=(alpn,), versions=wishes.versions, **options)

    def _fetcher(self, conn: Connection) -> Fetch:
        """Return what fetches files over a connection."""
        if self._wishes.h3:
            return h3_fetcher(self._net, conn, self._host, self._port)

        async def fetch(url: str, path: str, write: Callable[[bytes], object]) -> int:
            try:
                return await hq.fetch(conn, path, write)
            except StreamReset as error:
                raise of_stream(url, error) from None

        return fetch

    def _extras(self, conn: Connection) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What else is to be done meanwhile."""
        if self._wishes.migrate:
            yield lambda: conn.migrate(conn.path.local[0])
        if self._wishes.key_update:
            yield conn.update_keys

    async def _keep_sessions(self, net: Net, conn: Connection) -> None:
        while self._wishes.sessions is not None:
            session = await conn.session()
            self._wishes.sessions.put(self._session_name, conn.version, session)

    async def _keep_tokens(self, net: Net, conn: Connection) -> None:
        while self._wishes.sessions is not None:
            self._wishes.sessions.put_token(self._server, await conn.token())

    async def _work(self, fetch: Fetch) -> None:
        """Fetch files as long as there are some."""
        while self._left:
            target = self._left.pop()
            try:
                await self._fetch(fetch, target)
            except Failure as failure:
                self._failures.append(failure)

    async def _fetch(self, fetch: Fetch, target: Target) -> None:
        path = self._out.path / target.name
        try:
            with self._out.binary(target.name) as file:

                def write(data: bytes) -> None:
                    file.write(data)
                    self._on_bytes(len(data))

                size = await fetch(target.url, target.path, write)
        except OSError as error:
            raise of_writing(path, error) from None
        self._files += 1
        self._bytes += size


def _by_server(urls: list[str]) -> dict[tuple[str, int], list[Target]]:
    """Sort what is to be fetched by server. Raises Failure."""
    servers: dict[tuple[str, int], list[Target]] = {}
    names: dict[str, str] = {}
    for url in urls:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme != "https" or not url.isascii() or not url.isprintable() or " " in url:
            raise Failure(BAD_INPUT, f"{url}: must be a URL of the form https://HOST[:PORT]/PATH")
        name = unquote(parts.path).rpartition("/")[2] or "index.html"
        if name in (".", "..") or not name.isprintable() or len(name.encode()) > 240:
            raise Failure(BAD_INPUT, f"{url}: its last part can't be the name of a file")
        if name in names:
            raise Failure(BAD_INPUT, f"{url}: would be written to {name}, as {names[name]}")
        names[name] = url
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        servers.setdefault((host, port or DEFAULT_PORT), []).append(Target(url, path, name))
    return servers


@contextlib.contextmanager
def _progress_bar() -> Iterator[OnBytes]:
    """Show on a terminal what has come so far; give what is to be told of it. How much will come nobody says."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("received", total=None)
        yield lambda size: bar.advance(task, size)
