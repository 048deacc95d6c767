"""Applications to put load on a connection: bulk transfer, echo, request and response, datagrams.

Each is a server and a client coroutine. Servers run until their net stops; what a client returns says what it measured.
Content is pseudo-random but fixed, so that both ends know what must arrive.
"""

import hashlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from quicsim.connection import Connection
from quicsim.net import Net, Trust
from quicsim.stream import IncompleteReadError, Stream
from stack.errors import DatagramError, QuicError
from stack.tls.certificates import Credentials

DEFAULT_PORT: Final = 4433
BLOCK: Final = 65_536  # bytes

_DOWNLOAD: Final = 0
_UPLOAD: Final = 1
_HEADER_SIZE: Final = 9  # direction, size
_SECOND: Final = 10**9  # ns
_NUMBER_SIZE: Final = 8  # bytes of a datagram, and fewest of one
_TAKE_DATAGRAMS: Final = {"max_datagram_frame_size": 65_535}  # rfc9221:3:5


@dataclass(frozen=True, slots=True)
class TransferResult:
    """One transfer as its client saw it. `verified`: the SHA-256 of what arrived is that of what was sent."""

    size: int  # bytes
    handshake_ns: int
    duration_ns: int  # from the request to the last byte, or for an upload to the server's answer
    sha256: str
    verified: bool

    @property
    def goodput(self) -> float:
        """Application bits per second, without the handshake."""
        return 8 * self.size * _SECOND / self.duration_ns if self.duration_ns else 0.0


@dataclass(frozen=True, slots=True)
class RequestsResult:
    """A series of requests as their client saw them; a latency is from the request to its whole response."""

    handshake_ns: int
    duration_ns: int
    latencies_ns: tuple[int, ...]
    verified: bool


@dataclass(frozen=True, slots=True)
class DatagramsResult:
    """Datagrams as their client saw them; a latency, from sending to the echo, for each of `sent` that came back.

    `lost` counts those that the client's stack thinks lost on the way to the server, or gave up before.
    """

    handshake_ns: int
    duration_ns: int
    sent: int
    lost: int
    latencies_ns: tuple[int, ...]
    verified: bool  # what came back was sent, and nothing came twice


Result = TransferResult | RequestsResult | DatagramsResult


@dataclass(frozen=True, slots=True)
class Application:
    """A server and its client. Called as `server(net, credentials, port=…, **options)` and
    `client(net, host, trust=…, port=…, **parameters, **options)`; the options are those of `Net.listen` and
    `Net.connect`.
    """

    server: Callable[..., Coroutine[Any, Any, None]]
    client: Callable[..., Coroutine[Any, Any, Result]]


def content(size: int) -> Iterator[bytes]:
    """Yield `size` bytes that look random, in blocks of 64 KiB, each of which differs from the others."""
    for number, offset in enumerate(range(0, size, BLOCK)):
        yield (number.to_bytes(8) + _noise())[: min(BLOCK, size - offset)]


def content_sha256(size: int) -> str:
    """Return the SHA-256, in hexadecimal, of what `content(size)` yields."""
    digest = hashlib.sha256()
    for block in content(size):
        digest.update(block)
    return digest.hexdigest()


async def bulk_server(net: Net, credentials: Credentials, *, port: int = DEFAULT_PORT, **options: Any) -> None:
    """Serve `bulk_client`: send or take as much as each stream asks for."""
    await _serve(net, credentials, port, options, _bulk_stream)


async def bulk_client(
    net: Net,
    host: str,
    *,
    trust: Trust,
    size: int = 10 << 20,
    upload: bool = False,
    port: int = DEFAULT_PORT,
    **options: Any,
) -> TransferResult:
    """Download `size` bytes on one stream, or with `upload` send them, and check their SHA-256."""
    conn, started_at, ready_at = await _connect(net, host, port, trust, options)
    stream = await conn.open_stream()
    direction = _UPLOAD if upload else _DOWNLOAD
    await stream.write(direction.to_bytes(1) + size.to_bytes(8), end=not upload)
    if upload:
        await _send(stream, size)
        sha256 = (await stream.read_all()).hex()
    else:
        sha256 = await _receive(stream)
    ended_at = net.now
    conn.close()
    return TransferResult(size, ready_at - started_at, ended_at - ready_at, sha256, sha256 == content_sha256(size))


async def echo_server(net: Net, credentials: Credentials, *, port: int = DEFAULT_PORT, **options: Any) -> None:
    """Send back whatever comes on a stream."""
    await _serve(net, credentials, port, options, _echo_stream)


async def echo_client(
    net: Net, host: str, *, trust: Trust, size: int = 65_536, port: int = DEFAULT_PORT, **options: Any
) -> TransferResult:
    """Send `size` bytes on one stream and check that they come back."""
    conn, started_at, ready_at = await _connect(net, host, port, trust, options)
    stream = await conn.open_stream()
    sending = net.spawn(_send_beside, stream, size)
    sha256 = await _receive(stream)
    await sending
    ended_at = net.now
    conn.close()
    return TransferResult(size, ready_at - started_at, ended_at - ready_at, sha256, sha256 == content_sha256(size))


async def requests_server(net: Net, credentials: Credentials, *, port: int = DEFAULT_PORT, **options: Any) -> None:
    """Serve `requests_client`: answer each stream with as many bytes as it asks for."""
    await _serve(net, credentials, port, options, _requests_stream)


async def requests_client(
    net: Net,
    host: str,
    *,
    trust: Trust,
    count: int = 100,
    request_size: int = 100,
    response_size: int = 1_000,
    interval: int | str = 0,
    port: int = DEFAULT_PORT,
    **options: Any,
) -> RequestsResult:
    """Make `count` requests one after the other, each on a stream of its own, with a pause of `interval` between them.

    Sizes are in bytes (a request has at least 9), the interval is in ns or text such as "10ms".
    """
    conn, started_at, ready_at = await _connect(net, host, port, trust, options)
    request = (bytes(1) + response_size.to_bytes(8)).ljust(request_size, b"\0")
    expected = content_sha256(response_size)
    latencies: list[int] = []
    verified = True
    for number in range(count):
        if number and interval:
            await net.sleep(interval)
        asked_at = net.now
        stream = await conn.open_stream()
        await stream.write(request, end=True)
        sha256 = await _receive(stream)
        latencies.append(net.now - asked_at)
        verified = verified and sha256 == expected
    ended_at = net.now
    conn.close()
    return RequestsResult(ready_at - started_at, ended_at - ready_at, tuple(latencies), verified)


async def datagrams_server(net: Net, credentials: Credentials, *, port: int = DEFAULT_PORT, **options: Any) -> None:
    """Send back every datagram."""
    listener = await net.listen(port, credentials, **_TAKE_DATAGRAMS | options)
    while True:
        net.spawn(_echo_datagrams, await listener.accept())


async def datagrams_client(
    net: Net,
    host: str,
    *,
    trust: Trust,
    count: int = 100,
    size: int = 1_000,
    interval: int | str = "20ms",
    wait: int | str = "1s",
    port: int = DEFAULT_PORT,
    **options: Any,
) -> DatagramsResult:
    """Send `count` datagrams of `size` bytes, at least 8, one every `interval`, and see which come back.

    After the last one, `wait` for what is still under way. Times are in ns or text such as "10ms". Raises DatagramError
    when the server takes none, or none so large.
    """
    conn, started_at, ready_at = await _connect(net, host, port, trust, _TAKE_DATAGRAMS | options)
    if max(size, _NUMBER_SIZE) > conn.max_datagram_payload:
        raise DatagramError(f"datagrams of {size} bytes: {host} and the path take at most {conn.max_datagram_payload}")
    sent_at: list[int] = []
    latencies: dict[int, int] = {}
    receiving = net.spawn(_receive_echoes, conn, size, sent_at, latencies)
    for number in range(count):
        if number and interval:
            await net.sleep(interval)
        sent_at.append(net.now)
        conn.send_datagram(_datagram(number, size))
    ended_at = net.now
    await net.sleep(wait)
    conn.close()
    verified = await receiving
    lost = conn.stats.datagram_frames_lost + conn.stats.datagram_frames_dropped
    return DatagramsResult(ready_at - started_at, ended_at - ready_at, count, lost, tuple(latencies.values()), verified)


APPLICATIONS: Final[dict[str, Application]] = {
    "bulk": Application(bulk_server, bulk_client),
    "echo": Application(echo_server, echo_client),
    "requests": Application(requests_server, requests_client),
    "datagrams": Application(datagrams_server, datagrams_client),
}


@cache
def _noise() -> bytes:
    return hashlib.shake_128(b"quicsim content").digest(BLOCK - 8)


async def _connect(
    net: Net, host: str, port: int, trust: Trust, options: dict[str, Any]
) -> tuple[Connection, int, int]:
    """Return a connection, when it was asked for and when it was there."""
    started_at = net.now
    conn = await net.connect(host, port, trust=trust, **options)
    return conn, started_at, net.now


async def _send(stream: Stream, size: int) -> None:
    """Write the content of this size and end the stream."""
    for block in content(size):
        await stream.write(block)
    await stream.finish()


async def _send_beside(net: Net, stream: Stream, size: int) -> None:
    await _send(stream, size)


async def _receive(stream: Stream) -> str:
    """Read to the end of the stream; return the SHA-256 of what came, in hexadecimal."""
    digest = hashlib.sha256()
    try:
        while True:
            digest.update(await stream.read_exactly(BLOCK))
    except IncompleteReadError as end:
        digest.update(end.partial)
    return digest.hexdigest()


async def _serve(
    net: Net,
    credentials: Credentials,
    port: int,
    options: dict[str, Any],
    handle: Callable[[Stream], Coroutine[Any, Any, None]],
) -> None:
    """Accept connections for ever, and run `handle` for each of their streams."""
    listener = await net.listen(port, credentials, **options)
    while True:
        net.spawn(_accept_streams, await listener.accept(), handle)


async def _accept_streams(net: Net, conn: Connection, handle: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
    try:
        while True:
            net.spawn(_until_gone, await conn.accept_stream(), handle)
    except QuicError:
        return  # the connection has ended


async def _until_gone(net: Net, stream: Stream, handle: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
    try:
        await handle(stream)
    except (QuicError, IncompleteReadError):
        return  # the client has left in the middle; it knows why


async def _bulk_stream(stream: Stream) -> None:
    header = await stream.read_exactly(_HEADER_SIZE)
    if header[0] == _UPLOAD:
        sha256 = await _receive(stream)
        await stream.write(bytes.fromhex(sha256), end=True)
    else:
        await _send(stream, int.from_bytes(header[1:]))


async def _echo_stream(stream: Stream) -> None:
    while data := await stream.read(BLOCK):
        await stream.write(data)
    await stream.finish()


async def _requests_stream(stream: Stream) -> None:
    request = await stream.read_all()
    await _send(stream, int.from_bytes(request[1:_HEADER_SIZE]))


def _datagram(number: int, size: int) -> bytes:
    return (number.to_bytes(_NUMBER_SIZE) + _noise())[: max(size, _NUMBER_SIZE)]


async def _echo_datagrams(net: Net, conn: Connection) -> None:
    try:
        while True:
            conn.send_datagram(await conn.receive_datagram())
    except QuicError:
        return  # the connection has ended, or the client takes no datagrams


async def _receive_echoes(net: Net, conn: Connection, size: int, sent_at: list[int], latencies: dict[int, int]) -> bool:
    """Note the latency of each datagram by its number until the connection ends; tell whether all were as sent."""
    verified = True
    try:
        while True:
            data = await conn.receive_datagram()
            number = int.from_bytes(data[:_NUMBER_SIZE])
            if number >= len(sent_at) or number in latencies or data != _datagram(number, size):
                verified = False
            else:
                latencies[number] = net.now - sent_at[number]
    except QuicError:
        return verified
