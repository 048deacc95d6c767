"""The endpoint of aioquic, and of qh3, which has the same interface: `python -P` this file with the package's name.

It imports nothing of quicsim, to start quickly. Clients trust any certificate: what is tested is QUIC.
"""

import asyncio
import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_MAX_DATA: Final = 1 << 20  # bytes: windows that files outgrow
_MAX_STREAM_DATA: Final = 1 << 18
_MAX_DATAGRAM: Final = 65_535
_AT_A_TIME: Final = 100  # requests
_KEY_UPDATE_AT: Final = 1 << 16  # bytes that a client has received
_IDLE_TIMEOUT: Final = 60.0  # seconds
_LIMIT_INTERVAL: Final = 0.01  # seconds until a request is tried again for which the server allows no stream


@dataclass(frozen=True, slots=True)
class Job:
    """What the contract's environment asks for; see `quicsim.interop.peers.peer`."""

    is_client: bool
    testcase: str
    host: str
    port: int
    is_h3: bool
    requests: tuple[str, ...]
    www: Path
    downloads: Path
    certs: Path
    keylog: Path

    @classmethod
    def from_environment(cls) -> "Job":
        """Read the environment. Raises KeyError for what is missing."""
        env = os.environ
        return cls(
            is_client=env["ROLE"] == "client",
            testcase=env["TESTCASE"],
            host=env["HOST"],
            port=int(env["PORT"]),
            is_h3=env["PROTOCOL"] == "h3",
            requests=tuple(env["REQUESTS"].split()),
            www=Path(env["WWW"]),
            downloads=Path(env["DOWNLOADS"]),
            certs=Path(env["CERTS"]),
            keylog=Path(env["SSLKEYLOGFILE"]),
        )

    def content(self, path: str) -> bytes | None:
        """Return the file that a request's path names; None if there is none below WWW."""
        wanted = self.www.joinpath(unquote(path).lstrip("/")).resolve()
        return wanted.read_bytes() if wanted.is_relative_to(self.www.resolve()) and wanted.is_file() else None

    def save(self, url: str, content: bytes) -> None:
        """Write what a client got for a URL."""
        (self.downloads / Path(urlsplit(url).path).name).write_bytes(content)


class Library:
    """The parts of a package that are used here."""

    def __init__(self, package: str) -> None:
        def part(name: str) -> Any:
            return import_module(f"{package}.{name}")

        self.asyncio = part("asyncio")
        self.configuration = part("quic.configuration")
        self.events = part("quic.events")
        self.h3 = part("h3.connection")
        self.h3_events = part("h3.events")
        self.tls = part("tls")
        self.versions = part("quic.packet").QuicProtocolVersion

    def configured(self, job: Job) -> Any:
        """Return the configuration for a test case."""
        made = self.configuration.QuicConfiguration(
            is_client=job.is_client,
            alpn_protocols=["h3" if job.is_h3 else "hq-interop"],
            max_data=_MAX_DATA,
            max_stream_data=_MAX_STREAM_DATA,
            idle_timeout=_IDLE_TIMEOUT,
            max_datagram_frame_size=_MAX_DATAGRAM if job.is_h3 else None,  # their HTTP/3 announces datagrams
            secrets_log_file=job.keylog.open("a", buffering=1),
        )
        first = self.versions.VERSION_1
        made.supported_versions = [first]
        if job.testcase == "v2":
            made.supported_versions = [self.versions.VERSION_2, first]
            made.original_version = first
        if job.testcase == "chacha20":
            made.cipher_suites = [self.tls.CipherSuite.CHACHA20_POLY1305_SHA256]
        if job.is_client:
            made.verify_mode = ssl.CERT_NONE
        else:
            made.load_cert_chain(str(job.certs / "cert.pem"), str(job.certs / "priv.key"))
        return made

    def protocol(self, job: Job) -> Any:
        """Return what makes the protocol of a connection."""
        base: Any = self.asyncio.QuicConnectionProtocol

        class Protocol(base):  # type: ignore[misc]  # the package is chosen at run time
            def __init__(inner, *arguments: Any, **named: Any) -> None:  # noqa: N805
                super().__init__(*arguments, **named)
                inner.files = (Client if job.is_client else Server)(job, self, inner._quic, inner.transmit)

            def quic_event_received(inner, event: Any) -> None:  # noqa: N805
                inner.files.take(event)

        return Protocol


class Files:
    """Requests on one connection, over HTTP/0.9 or HTTP/3."""

    def __init__(self, job: Job, library: Library, quic: Any, transmit: Any) -> None:
        self.job = job
        self.quic = quic
        self.transmit = transmit
        self.h3: Any = None
        self._transmit_at: asyncio.Handle | None = None
        self._library = library

    def start_h3(self) -> None:
        """Speak HTTP/3 from now on if that is the protocol."""
        if self.h3 is None and self.job.is_h3:
            self.h3 = self._library.h3.H3Connection(self.quic)

    def transmit_soon(self) -> None:
        """Send what there is to send, once all that is to do now is done."""
        if self._transmit_at is None:
            self._transmit_at = asyncio.get_running_loop().call_soon(self._transmit)

    def _transmit(self) -> None:
        self._transmit_at = None
        self.transmit()

    def take(self, event: Any) -> None:
        """Take an event of the connection."""
        events = self._library.events
        if isinstance(event, events.ProtocolNegotiated):
            self.start_h3()
        elif isinstance(event, events.ConnectionTerminated):
            self.ended(f"closed with error {event.error_code}: {event.reason_phrase}")
        elif isinstance(event, events.StreamReset):
            self.ended(f"stream {event.stream_id} was reset with error {event.error_code}")
        elif self.h3 is None and isinstance(event, events.StreamDataReceived):
            self.data(event.stream_id, event.data, event.end_stream)
        if self.h3 is None:
            return
        for each in self.h3.handle_event(event):
            if isinstance(each, self._library.h3_events.HeadersReceived):
                self.headers(each.stream_id, dict(each.headers))
                self.data(each.stream_id, b"", each.stream_ended)
            elif isinstance(each, self._library.h3_events.DataReceived):
                self.data(each.stream_id, each.data, each.stream_ended)

    def headers(self, stream_id: int, headers: dict[bytes, bytes]) -> None:
        """Take the header fields of a request or a response."""

    def data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Take what comes on a stream."""

    def ended(self, reason: str) -> None:
        """Nothing more will come."""


class Client(Files):
    """Fetches files."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._received: dict[int, bytearray] = {}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._total = 0
        self._update_keys = self.job.testcase == "keyupdate"

    async def fetch(self, urls: tuple[str, ...]) -> None:
        """Fetch URLs, many at a time. Raises RuntimeError when one does not come."""
        self.start_h3()
        left = iter(urls)
        await asyncio.gather(*(self._fetch_some(left) for _ in urls[:_AT_A_TIME]))

    async def _fetch_some(self, urls: Iterator[str]) -> None:
        for url in urls:
            stream_id = await self._request(url)
            self.transmit_soon()
            await self._waiting[stream_id]
            self.job.save(url, bytes(self._received.pop(stream_id)))

    async def _request(self, url: str) -> int:
        """Request a URL as soon as the server allows another stream; return the stream's ID."""
        stream_id: int = self.quic.get_next_available_stream_id()
        self._received[stream_id] = bytearray()
        self._waiting[stream_id] = asyncio.get_running_loop().create_future()
        while True:
            try:
                self._send(stream_id, url)
                return stream_id
            except ValueError:  # qh3 refuses beyond the server's limit what aioquic keeps for later
                await asyncio.sleep(_LIMIT_INTERVAL)

    def _send(self, stream_id: int, url: str) -> None:
        parts = urlsplit(url)
        if self.h3 is None:
            self.quic.send_stream_data(stream_id, f"GET {parts.path}\r\n".encode(), end_stream=True)
        else:
            fields = {":method": "GET", ":scheme": "https", ":authority": parts.netloc, ":path": parts.path}
            headers = [(name.encode(), value.encode()) for name, value in fields.items()]
            self.h3.send_headers(stream_id, headers, end_stream=True)

    def headers(self, stream_id: int, headers: dict[bytes, bytes]) -> None:
        if headers.get(b":status") != b"200":
            self.ended(f"status {headers.get(b':status')!r}")

    def data(self, stream_id: int, data: bytes, end: bool) -> None:
        if stream_id not in self._received:
            return
        self._received[stream_id] += data
        self._total += len(data)
        if self._update_keys and self._total >= _KEY_UPDATE_AT:
            self._update_keys = False
            self.quic.request_key_update()
        if end and not self._waiting[stream_id].done():
            self._waiting[stream_id].set_result(None)

    def ended(self, reason: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeError(reason))


class Server(Files):
    """Gives files."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._requests: dict[int, bytes] = {}

    def headers(self, stream_id: int, headers: dict[bytes, bytes]) -> None:
        content = self.job.content(headers[b":path"].decode())
        status = b"404" if content is None else b"200"
        self.h3.send_headers(stream_id, [(b":status", status)])
        self.h3.send_data(stream_id, content or b"", end_stream=True)
        self.transmit_soon()

    def data(self, stream_id: int, data: bytes, end: bool) -> None:
        if self.h3 is not None or stream_id % 4 != 0:
            return
        request = self._requests.get(stream_id, b"") + data
        self._requests[stream_id] = request
        if end:
            content = self.job.content(request.decode().removeprefix("GET ").rstrip())
            if content is None:
                self.quic.reset_stream(stream_id, 1)
            else:
                self.quic.send_stream_data(stream_id, content, end_stream=True)
            del self._requests[stream_id]
            self.transmit_soon()


async def serve(job: Job, library: Library) -> None:
    """Serve for ever."""
    tickets: dict[bytes, Any] = {}
    await library.asyncio.serve(
        job.host,
        job.port,
        configuration=library.configured(job),
        create_protocol=library.protocol(job),
        session_ticket_fetcher=tickets.get,
        session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
        retry=job.testcase == "retry",
    )
    await asyncio.Event().wait()


async def fetch(job: Job, library: Library) -> None:
    """Fetch all that is requested, on as many connections as the test case asks for."""
    requests = job.requests
    if job.testcase == "multiconnect":
        for url in requests:
            await _connect(job, library, (url,))
    elif job.testcase in ("resumption", "zerortt"):
        ticket = await _connect(job, library, requests[:1])
        if ticket is None:
            raise RuntimeError("no session ticket came")
        await _connect(job, library, requests[1:], ticket, early=job.testcase == "zerortt")
    else:
        await _connect(job, library, requests)


async def _connect(job: Job, library: Library, urls: tuple[str, ...], ticket: Any = None, early: bool = False) -> Any:
    """Fetch URLs on a connection; return a session ticket that came meanwhile."""
    configuration = library.configured(job)
    configuration.server_name = urlsplit(urls[0]).hostname
    configuration.session_ticket = ticket
    tickets: list[Any] = []
    async with library.asyncio.connect(
        job.host,
        job.port,
        configuration=configuration,
        create_protocol=library.protocol(job),
        session_ticket_handler=tickets.append,
        wait_connected=not early,
    ) as protocol:
        # Once connected, neither library would tell
        connected = asyncio.ensure_future(protocol.wait_connected()) if early else None
        await protocol.files.fetch(urls)
        if connected is not None:
            await connected
    return tickets[-1] if tickets else None


def main() -> None:
    """Run an endpoint of the package that the command line names."""
    job, library = Job.from_environment(), Library(sys.argv[1])
    try:
        asyncio.run((fetch if job.is_client else serve)(job, library))
    except (OSError, RuntimeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
