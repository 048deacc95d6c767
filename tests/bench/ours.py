"""quicsim's stack under the workload. Its client pins the server's certificate and verifies its signature."""

from random import Random
from time import process_time
from typing import Any

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.connection import Connection
from stack.crypto.packet_protection import TLS_AES_128_GCM_SHA256
from stack.endpoint import Endpoint
from stack.events import HandshakeCompleted, NewSession, StreamReadable, StreamWritable
from stack.tls.config import ClientTls, ServerTls
from tests.bench.workload import (
    CHUNK,
    DATA_DATAGRAM,
    DATAGRAM_SIZE,
    MAX_DATA,
    MAX_STREAM_DATA,
    TURN_NS,
    UNDELIVERED,
    Download,
)

CLIENT = ("10.0.0.1", 50_000)
SERVER = ("10.0.0.2", 4433)
SUITES = (TLS_AES_128_GCM_SHA256,)
RANDOM = Random(1)  # whose making is not to be measured with each handshake

TICKET_KEY = bytes(32)


def _config(is_client: bool, **tls: Any) -> Config:
    factory = ClientTls if is_client else ServerTls
    return Config(
        tls=factory(test_certificate(), suites=SUITES, **tls),
        accept=not is_client,
        initial_max_data=MAX_DATA,
        initial_max_stream_data_bidi_local=MAX_STREAM_DATA,
        initial_max_stream_data_bidi_remote=MAX_STREAM_DATA,
        send_buffer=UNDELIVERED,
        max_send_buffer=UNDELIVERED,
        max_data_window=MAX_DATA,
        max_stream_data_window=MAX_STREAM_DATA,
        datagram_size=DATAGRAM_SIZE,
    )


class _Pair:
    """A client, a server and their virtual clock in nanoseconds."""

    def __init__(self, client: Config, server: Config, now: int = 0) -> None:
        self.now = now
        self.client = Endpoint(client, RANDOM)
        self.server = Endpoint(server, RANDOM)
        self.connection = self.client.connect(CLIENT, SERVER, self.now, "localhost")

    def to_server(self) -> int:
        """Deliver the client's flight and return its number of datagrams."""
        flight = self.client.transmit(self.now)
        for payload, source, destination, ecn in flight:
            self.server.receive(payload, source, destination, ecn, self.now)
        return len(flight)

    def to_client(self) -> list[int]:
        """Deliver the server's flight and return its sizes."""
        flight = self.server.transmit(self.now)
        for payload, source, destination, ecn in flight:
            self.client.receive(payload, source, destination, ecn, self.now)
        return [len(transmit.payload) for transmit in flight]

    def advance(self, moved: bool) -> None:
        """Let a turn pass, or when nothing moved the time until the next timer, which then fires."""
        if moved:
            self.now += TURN_NS
            return
        timers = [(at, end) for end in (self.client, self.server) if (at := end.deadline()) is not None]
        self.now = max(self.now, min(at for at, _ in timers))
        for at, end in timers:
            if at <= self.now:
                end.timeout(self.now)

    def handshake(self, resumed: bool = False) -> None:
        """Exchange flights until both ends have completed the handshake."""
        completed = 0
        while completed < 2:
            moved = self.to_server() + len(self.to_client())
            for end in (self.client, self.server):
                for _, event in end.events():
                    if isinstance(event, HandshakeCompleted):
                        completed += 1
                        if event.resumed != resumed:
                            raise RuntimeError(f"quicsim: a handshake with resumed = {event.resumed}")
            self.advance(moved > 0)

    def session(self) -> bytes:
        """Exchange flights until the client has got a session."""
        while True:
            moved = self.to_server() + len(self.to_client())
            for _, event in self.client.events():
                if isinstance(event, NewSession):
                    return event.session
            self.advance(moved > 0)


def _drain(connection: Connection, stream_id: int) -> tuple[int, bool]:
    """Read until there is nothing more; return the number of bytes and whether the stream has ended."""
    length = 0
    while True:
        data, end = connection.read(stream_id)
        length += len(data)
        if end or not data:
            return length, end


class _Source:
    """The server's application on one stream: writes until the send buffer is full or `size` are written."""

    def __init__(self, connection: Connection, stream_id: int, size: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.size = size
        self.written = 0

    def feed(self) -> None:
        while self.written < self.size:
            chunk = CHUNK[: self.size - self.written]
            last = self.written + len(chunk) == self.size
            taken = self.connection.write(self.stream_id, chunk, end=last)
            self.written += taken
            if taken < len(chunk):
                return


class Ours:
    """The stack's Endpoint, driven without sockets."""

    name = "quicsim"

    def __init__(self) -> None:
        self._client = _config(is_client=True)
        self._server = _config(is_client=False)

    def handshakes(self, count: int, resumed: bool = False) -> float:
        """See `Stack`."""
        clients, server, now = self._resumption(count) if resumed else ([self._client] * count, self._server, 0)
        start = process_time()
        for client in clients:
            _Pair(client, server, now).handshake(resumed)
        return process_time() - start

    def _resumption(self, count: int) -> tuple[list[Config], Config, int]:
        """Clients with a session, since each offers it once; a server that knows it; and when to start."""
        first = _Pair(self._client, _config(is_client=False, tickets=1, ticket_key=TICKET_KEY))
        session = first.session()
        clients = [_config(is_client=True, session=session) for _ in range(count)]
        return clients, _config(is_client=False, ticket_key=TICKET_KEY), first.now + TURN_NS

    def download(self, streams: int, size: int) -> Download:
        """See `Stack`."""
        pair = _Pair(self._client, self._server)
        pair.handshake()
        start = process_time()
        delivered: dict[int, int] = {}
        for _ in range(streams):
            stream_id = pair.connection.open_stream()
            if stream_id is None:
                raise RuntimeError(f"{streams} streams are more than the server allows")
            pair.connection.write(stream_id, b"get", end=True)
            delivered[stream_id] = 0
        sources: dict[int, _Source] = {}
        datagrams = finished = 0
        while finished < streams:
            moved = pair.to_server()
            self._serve(pair.server, sources, size)
            flight = pair.to_client()
            datagrams += sum(length >= DATA_DATAGRAM for length in flight)
            for _, event in pair.client.events():
                if isinstance(event, StreamReadable):
                    length, end = _drain(pair.connection, event.stream_id)
                    delivered[event.stream_id] += length
                    finished += end
            pair.advance(moved + len(flight) > 0)
        seconds = process_time() - start
        if any(length != size for length in delivered.values()):
            raise RuntimeError(f"quicsim delivered {delivered} instead of {size} bytes on each stream")
        return Download(datagrams, seconds)

    def _serve(self, server: Endpoint, sources: dict[int, _Source], size: int) -> None:
        for connection, event in server.events():
            if isinstance(event, StreamReadable) and _drain(connection, event.stream_id)[1]:
                sources[event.stream_id] = _Source(connection, event.stream_id, size)
                sources[event.stream_id].feed()
            elif isinstance(event, StreamWritable):
                sources[event.stream_id].feed()
