"""Both stacks over UDP on the loopback interface: client and server on one asyncio event loop, in one thread."""

import asyncio
from functools import partial
from time import perf_counter
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived

import quicsim
from quicsim import Net, RealNet
from tests.bench.aioquic_peer import configuration
from tests.bench.workload import CHUNK, DATAGRAM_SIZE, MAX_DATA, MAX_STREAM_DATA, UNDELIVERED

HOST = "127.0.0.1"
OPTIONS: dict[str, Any] = {
    "datagram_size": DATAGRAM_SIZE,
    "initial_max_data": MAX_DATA,
    "initial_max_stream_data_bidi_local": MAX_STREAM_DATA,
    "initial_max_stream_data_bidi_remote": MAX_STREAM_DATA,
}


class RealOurs:
    """This stack on a `RealNet`."""

    name = "quicsim"

    def download(self, size: int) -> float:
        """Fetch `size` bytes on one stream; return bytes per second, without the handshake."""
        return RealNet().run(_download, size)


async def _download(net: Net, size: int) -> float:
    listener = await net.listen(0, quicsim.test_certificate(), **OPTIONS)
    net.spawn(_answer, listener, size)
    trust = quicsim.test_certificate()
    conn = await net.connect(HOST, listener.address[1], trust=trust, server_name="localhost", **OPTIONS)
    start = perf_counter()
    stream = await conn.open_stream()
    await stream.write(b"get", end=True)
    received = 0
    while data := await stream.read(UNDELIVERED):
        received += len(data)
    seconds = perf_counter() - start
    conn.close()
    if received != size:
        raise RuntimeError(f"quicsim delivered {received} instead of {size} bytes")
    return size / seconds


async def _answer(net: Net, listener: quicsim.Listener, size: int) -> None:
    conn = await listener.accept()
    stream = await conn.accept_stream()
    await stream.read_all()
    for written in range(0, size, len(CHUNK)):
        await stream.write(CHUNK[: size - written])
    await stream.finish()


class RealAioquic:
    """aioquic's own asyncio client and server."""

    name = "aioquic"

    def download(self, size: int) -> float:
        """See `RealOurs`."""
        return asyncio.run(_aioquic_download(configuration(is_client=True), configuration(is_client=False), size))


async def _aioquic_download(client: QuicConfiguration, server: QuicConfiguration, size: int) -> float:
    transfer = _Transfer(size)
    running = await serve(HOST, 0, configuration=server, create_protocol=partial(_Server, transfer))
    port = running._transport.get_extra_info("sockname")[1]
    async with connect(HOST, port, configuration=client, create_protocol=partial(_Client, transfer)) as conn:
        start = perf_counter()
        conn._quic.send_stream_data(conn._quic.get_next_available_stream_id(), b"get", end_stream=True)
        conn.transmit()
        await transfer.ended
        seconds = perf_counter() - start
    running.close()
    if transfer.received != size:
        raise RuntimeError(f"aioquic delivered {transfer.received} instead of {size} bytes")
    return size / seconds


class _Transfer:
    """What the two ends share: aioquic has no backpressure, so the server writes on as the client gets on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.written = 0
        self.received = 0
        self.stream_id: int | None = None
        self.server: QuicConnectionProtocol | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed(self) -> None:
        """Keep UNDELIVERED bytes under way."""
        if self.server is None or self.written == self.size or self.written - self.received >= UNDELIVERED:
            return
        while self.written < self.size and self.written - self.received < UNDELIVERED:
            chunk = CHUNK[: self.size - self.written]
            self.written += len(chunk)
            self.server._quic.send_stream_data(self.stream_id, chunk, end_stream=self.written == self.size)
        self.server.transmit()


class _Client(QuicConnectionProtocol):
    """Counts what comes."""

    def __init__(self, transfer: _Transfer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transfer = transfer

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic reports."""
        if isinstance(event, StreamDataReceived):
            transfer = self._transfer
            transfer.received += len(event.data)
            if event.end_stream:
                transfer.ended.set_result(None)
            elif transfer.written - transfer.received < UNDELIVERED // 2:
                transfer.feed()


class _Server(QuicConnectionProtocol):
    """Answers the request."""

    def __init__(self, transfer: _Transfer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._transfer = transfer

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic reports."""
        if isinstance(event, StreamDataReceived) and event.end_stream:
            self._transfer.server = self
            self._transfer.stream_id = event.stream_id
            self._transfer.feed()
