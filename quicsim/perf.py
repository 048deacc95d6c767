"""Throughput and latency of a connection (ALPN "perf", after draft-banks-quic-performance).

The first 8 bytes of a client's stream say how many bytes it wants in return, what follows is thrown away; the answer
comes once the client has ended the stream. Datagrams are sent back.
"""

import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final, Protocol

from quicsim.connection import Connection, Listener
from quicsim.net import Net, together
from quicsim.stream import IncompleteReadError, Stream
from stack.errors import QuicError
from stack.observer import Address

ALPN: Final = "perf"
DEFAULT_PORT: Final = 4433
TAKE_DATAGRAMS: Final[dict[str, Any]] = {"max_datagram_frame_size": 65_535}  # rfc9221:3:5
NS_PER_S: Final = 10**9

_BLOCK: Final = bytes(262_144)  # what is written, and at most read, at a time
_ENDLESS: Final = (1 << 62) - 1  # bytes; more than any stream can carry in the time of a measurement
_HEADER: Final = 8  # bytes of a size
_NUMBER: Final = 8  # bytes of a datagram that hold its number
_STOPPED: Final = 0  # application error code of what is ended on purpose


class Mode(StrEnum):
    """What is measured."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    REQUESTS = "requests"
    DATAGRAMS = "datagrams"


@dataclass(frozen=True, slots=True)
class Load:
    """What a client does: for `duration_ns`, or until `size` bytes, or `count` requests or datagrams, are done.

    `streams` at a time; requests and responses have the sizes given, and datagrams, one every `interval_ns`, too.
    """

    mode: Mode = Mode.DOWNLOAD
    duration_ns: int = 10 * NS_PER_S
    size: int | None = None
    count: int | None = None
    streams: int = 1
    request_size: int = 100
    response_size: int = 1_000
    datagram_size: int = 1_000
    interval_ns: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """A connection as the server saw it, in bytes of streams."""

    client: Address
    received: int
    sent: int
    duration_ns: int


@dataclass(slots=True)
class Measurement:
    """What a client has counted so far: bytes of streams or datagrams, round trips and their latencies."""

    handshake_ns: int = 0
    duration_ns: int = 0
    size: int = 0
    sent: int = 0  # requests or datagrams
    latencies_ns: list[int] = field(default_factory=list)
    done: bool = False

    @property
    def bits_per_second(self) -> float:
        """Application bits per second, without the handshake."""
        return 8 * self.size * NS_PER_S / self.duration_ns if self.duration_ns else 0.0


class Progress(Protocol):
    """How far a measurement is."""

    @property
    def size(self) -> int:
        """Bytes so far."""
        ...

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        ...


@dataclass(slots=True)
class Sum:
    """The measurements of several connections as one, which lasts as long as the longest."""

    parts: list[Measurement]

    @property
    def size(self) -> int:
        """Bytes so far, of all."""
        return sum(part.size for part in self.parts)

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return all(part.done for part in self.parts)

    def total(self) -> Measurement:
        """Return what all have counted together; the handshake's time is the mean."""
        parts = self.parts
        total = Measurement(
            handshake_ns=sum(part.handshake_ns for part in parts) // len(parts),
            duration_ns=max(part.duration_ns for part in parts),
            size=self.size,
            sent=sum(part.sent for part in parts),
            done=self.done,
        )
        for part in parts:
            total.latencies_ns += part.latencies_ns
        return total


async def serve(net: Net, listener: Listener, on_served: Callable[[Served], object]) -> None:
    """Do as clients ask, for ever; `on_served` is told of every connection that has ended."""
    while True:
        net.spawn(_serve_connection, await listener.accept(), on_served)


async def connect_all(
    net: Net, connect: Callable[[], Coroutine[Any, Any, Connection]], measurements: list[Measurement], at_a_time: int
) -> list[Connection]:
    """Make a connection for each of `measurements`, with no more than `at_a_time` handshakes at once.

    Raises what `connect` raises, once no handshake is under way any more.
    """
    waiting = measurements[::-1]
    connections: list[Connection] = []

    async def work() -> None:
        while waiting:
            measurement = waiting.pop()
            started_at = net.now
            connection = await connect()
            connections.append(connection)
            await connection.established()
            measurement.handshake_ns = net.now - started_at

    try:
        await together(net, *[work] * min(at_a_time, len(measurements)))
    except BaseException:
        for connection in connections:
            connection.close()
        raise
    return connections


async def measure(net: Net, conn: Connection, load: Load, measurement: Measurement) -> None:
    """Put `load` on a connection. Raises QuicError."""
    started_at = net.now
    try:
        if load.mode is Mode.DATAGRAMS:
            await _datagrams(net, conn, load, measurement)
        else:
            await _streams(net, conn, load, measurement)
    finally:
        measurement.duration_ns = net.now - started_at
        measurement.done = True


async def intervals(
    net: Net, measurement: Progress, interval_ns: int, on_interval: Callable[[int, int, int], object]
) -> None:
    """Tell `on_interval` how many bytes came or went in each interval: its start and end in ns, and the bytes."""
    started_at, counted, since = net.now, measurement.size, 0
    while True:
        await net.sleep(interval_ns)
        if measurement.done:
            return
        until = net.now - started_at
        on_interval(since, until, measurement.size - counted)
        since, counted = until, measurement.size


# The client


async def _streams(net: Net, conn: Connection, load: Load, measurement: Measurement) -> None:
    work: dict[Mode, Callable[..., Coroutine[Any, Any, None]]] = {
        Mode.DOWNLOAD: _download,
        Mode.UPLOAD: _upload,
        Mode.REQUESTS: _requests,
    }
    shares = itertools.count()
    ends_at = net.now + load.duration_ns
    await together(
        net, *(partial(work[load.mode], net, conn, load, ends_at, measurement, shares) for _ in range(load.streams))
    )


def _share(load: Load, number: int) -> int | None:
    """The bytes of the `number`-th of the streams; None without a limit."""
    if load.size is None:
        return None
    return load.size // load.streams + (number < load.size % load.streams)


async def _download(
    net: Net, conn: Connection, load: Load, ends_at: int, measurement: Measurement, shares: "itertools.count[int]"
) -> None:
    share = _share(load, next(shares))
    stream = await conn.open_stream()
    await stream.write((_ENDLESS if share is None else share).to_bytes(_HEADER), end=True)
    while data := await stream.read(len(_BLOCK)):
        measurement.size += len(data)
        if share is None and net.now >= ends_at:
            stream.stop(_STOPPED)
            return


async def _upload(
    net: Net, conn: Connection, load: Load, ends_at: int, measurement: Measurement, shares: "itertools.count[int]"
) -> None:
    left = _share(load, next(shares))
    stream = await conn.open_stream()
    await stream.write(bytes(_HEADER))
    while net.now < ends_at if left is None else left:
        block = _BLOCK if left is None or left >= len(_BLOCK) else _BLOCK[:left]
        await stream.write(block)
        measurement.size += len(block)
        left = None if left is None else left - len(block)
    await stream.finish()
    await stream.read_all()  # the server ends the stream when it has everything


async def _requests(
    net: Net, conn: Connection, load: Load, ends_at: int, measurement: Measurement, shares: "itertools.count[int]"
) -> None:
    request = load.response_size.to_bytes(_HEADER).ljust(load.request_size, b"\0")
    while net.now < ends_at if load.count is None else measurement.sent < load.count:
        measurement.sent += 1
        asked_at = net.now
        stream = await conn.open_stream()
        await stream.write(request, end=True)
        size = len(await stream.read_all())
        measurement.latencies_ns.append(net.now - asked_at)
        measurement.size += size


async def _datagrams(net: Net, conn: Connection, load: Load, measurement: Measurement) -> None:
    sent_at: dict[int, int] = {}
    net.spawn(_take_echoes, conn, sent_at, measurement)
    padding = bytes(max(load.datagram_size - _NUMBER, 0))
    started_at = net.now
    while net.now < started_at + load.duration_ns if load.count is None else measurement.sent < load.count:
        number = measurement.sent
        sent_at[number] = net.now
        conn.send_datagram(number.to_bytes(_NUMBER) + padding)
        measurement.sent += 1
        await net.sleep(max(started_at + measurement.sent * load.interval_ns - net.now, 0))
    await net.sleep(max(3 * conn.path.rtt.smoothed_rtt_ns, load.interval_ns))  # for what is still under way


async def _take_echoes(net: Net, conn: Connection, sent_at: dict[int, int], measurement: Measurement) -> None:
    try:
        while True:
            data = await conn.receive_datagram()
            at = sent_at.pop(int.from_bytes(data[:_NUMBER]), None)
            if at is not None:
                measurement.latencies_ns.append(net.now - at)
                measurement.size += len(data)
    except QuicError:
        return  # the connection has ended


# The server


async def _serve_connection(net: Net, conn: Connection, on_served: Callable[[Served], object]) -> None:
    started_at, client = net.now, conn.path.remote
    net.spawn(_echo, conn)
    try:
        while True:
            net.spawn(_serve_stream, await conn.accept_stream())
    except QuicError:
        stats = conn.stats
        sent = stats.stream_bytes_sent - stats.stream_bytes_retransmitted
        on_served(Served(client, stats.stream_bytes_received, sent, net.now - started_at))


async def _serve_stream(net: Net, stream: Stream) -> None:
    try:
        left = int.from_bytes(await stream.read_exactly(_HEADER))
        while await stream.read(len(_BLOCK)):
            pass
        if stream.unidirectional:
            return
        while left > len(_BLOCK):
            await stream.write(_BLOCK)
            left -= len(_BLOCK)
        await stream.write(_BLOCK[:left], end=True)
    except (QuicError, IncompleteReadError):
        return  # the client has what it wanted, or has gone


async def _echo(net: Net, conn: Connection) -> None:
    try:
        while True:
            conn.send_datagram(await conn.receive_datagram())
    except QuicError:
        return  # the connection has ended, or the client takes no datagrams
