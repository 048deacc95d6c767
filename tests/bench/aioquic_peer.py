"""aioquic under the workload. Its client does not verify the certificate: it has no way to pin one."""

import ssl
from dataclasses import replace
from time import process_time

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, StreamDataReceived
from aioquic.tls import CipherSuite, SessionTicket
from cryptography import x509

from quicsim.certificates import test_certificate
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
TURN = TURN_NS / 1e9


def configuration(is_client: bool) -> QuicConfiguration:
    """What either end is configured to, as near to ours as can be."""
    made = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=["quicsim"],
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256],
        max_data=MAX_DATA,
        max_stream_data=MAX_STREAM_DATA,
        max_datagram_size=DATAGRAM_SIZE,
    )
    if is_client:
        made.server_name = "localhost"
        made.verify_mode = ssl.CERT_NONE
    else:
        credentials = test_certificate()
        made.certificate = x509.load_der_x509_certificate(credentials.certificates[0])
        made.private_key = credentials.private_key
    return made


class _Pair:
    """A client, a server and their virtual clock in seconds.

    `known` are the tickets that the server knows, by their bytes; those `issued` go to both ends' lists.
    """

    def __init__(
        self,
        client: QuicConfiguration,
        server: QuicConfiguration,
        known: dict[bytes, SessionTicket] | None = None,
        issued: tuple[list[SessionTicket], list[SessionTicket]] | None = None,
    ) -> None:
        self.now = 1000.0
        of_client, of_server = (None, None) if issued is None else (issued[0].append, issued[1].append)
        self.client = QuicConnection(configuration=client, session_ticket_handler=of_client)
        self.server = QuicConnection(
            configuration=server,
            original_destination_connection_id=self.client.original_destination_connection_id,
            session_ticket_fetcher=None if known is None else known.get,
            session_ticket_handler=of_server,
        )
        self.client.connect(SERVER, now=self.now)

    def to_server(self) -> int:
        """Deliver the client's flight and return its number of datagrams."""
        flight = self.client.datagrams_to_send(now=self.now)
        for data, _ in flight:
            self.server.receive_datagram(data, CLIENT, now=self.now)
        return len(flight)

    def to_client(self) -> list[int]:
        """Deliver the server's flight and return its sizes."""
        flight = self.server.datagrams_to_send(now=self.now)
        for data, _ in flight:
            self.client.receive_datagram(data, SERVER, now=self.now)
        return [len(data) for data, _ in flight]

    def advance(self, moved: bool) -> None:
        """Let a turn pass, or when nothing moved the time until the next timer, which then fires."""
        if moved:
            self.now += TURN
            return
        timers = [(at, end) for end in (self.client, self.server) if (at := end.get_timer()) is not None]
        self.now = max(self.now, min(at for at, _ in timers))
        for at, end in timers:
            if at <= self.now:
                end.handle_timer(now=self.now)

    def handshake(self, resumed: bool = False) -> None:
        """Exchange flights until both ends have completed the handshake."""
        completed = 0
        while completed < 2:
            moved = self.to_server() + len(self.to_client())
            for end in (self.client, self.server):
                while (event := end.next_event()) is not None:
                    if isinstance(event, HandshakeCompleted):
                        completed += 1
                        if event.session_resumed != resumed:
                            raise RuntimeError(f"aioquic: a handshake with session_resumed = {event.session_resumed}")
            self.advance(moved > 0)


class _Source:
    """The server's application on one stream: keeps UNDELIVERED bytes under way until `size` are written."""

    def __init__(self, server: QuicConnection, stream_id: int, size: int) -> None:
        self.server = server
        self.stream_id = stream_id
        self.size = size
        self.written = 0

    def feed(self, delivered: int) -> None:
        while self.written < self.size and self.written - delivered < UNDELIVERED:
            chunk = CHUNK[: self.size - self.written]
            self.written += len(chunk)
            self.server.send_stream_data(self.stream_id, chunk, end_stream=self.written == self.size)


class Aioquic:
    """aioquic's QuicConnection, driven without sockets."""

    name = "aioquic"

    def __init__(self) -> None:
        self._client = configuration(is_client=True)
        self._server = configuration(is_client=False)

    def handshakes(self, count: int, resumed: bool = False) -> float:
        """See `Stack`."""
        client, known = self._resumption() if resumed else (self._client, None)
        start = process_time()
        for _ in range(count):
            _Pair(client, self._server, known).handshake(resumed)
        return process_time() - start

    def _resumption(self) -> tuple[QuicConfiguration, dict[bytes, SessionTicket]]:
        """A client with a session, and the tickets of a server that knows it."""
        of_client: list[SessionTicket] = []
        of_server: list[SessionTicket] = []
        pair = _Pair(self._client, self._server, issued=(of_client, of_server))
        pair.handshake()
        while not of_client:
            pair.advance(pair.to_server() + len(pair.to_client()) > 0)
        client = configuration(is_client=True)
        client.session_ticket = replace(of_client[0], max_early_data_size=None)  # or it would always offer 0-RTT
        return client, {ticket.ticket: ticket for ticket in of_server}

    def download(self, streams: int, size: int) -> Download:
        """See `Stack`."""
        pair = _Pair(self._client, self._server)
        pair.handshake()
        start = process_time()
        delivered: dict[int, int] = {}
        for _ in range(streams):
            stream_id = pair.client.get_next_available_stream_id()
            pair.client.send_stream_data(stream_id, b"get", end_stream=True)
            delivered[stream_id] = 0
        sources: dict[int, _Source] = {}
        datagrams = finished = 0
        while finished < streams:
            moved = pair.to_server()
            while (event := pair.server.next_event()) is not None:
                if isinstance(event, StreamDataReceived) and event.end_stream:
                    sources[event.stream_id] = _Source(pair.server, event.stream_id, size)
                    sources[event.stream_id].feed(0)
            flight = pair.to_client()
            datagrams += sum(length >= DATA_DATAGRAM for length in flight)
            while (event := pair.client.next_event()) is not None:
                if isinstance(event, StreamDataReceived):
                    delivered[event.stream_id] += len(event.data)
                    finished += event.end_stream
                    sources[event.stream_id].feed(delivered[event.stream_id])
            pair.advance(moved + len(flight) > 0)
        seconds = process_time() - start
        if any(length != size for length in delivered.values()):
            raise RuntimeError(f"aioquic delivered {delivered} instead of {size} bytes on each stream")
        return Download(datagrams, seconds)
