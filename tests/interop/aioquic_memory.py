"""Our endpoint and aioquic's connection on two ends of a link in memory, in virtual time."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, Final, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.connection import Connection
from stack.endpoint import Endpoint
from stack.errors import StreamReset
from stack.events import (
    ConnectionAccepted,
    ConnectionEnded,
    ConnectionEvent,
    HandshakeConfirmed,
    StreamReadable,
    StreamWritable,
)
from stack.observer import Address
from stack.tls.config import ClientTls, ServerTls
from stack.wire.header import destination_cid_of
from tests.support.peers import require

aioquic_connection = require("aioquic.quic.connection")
aioquic_configuration = require("aioquic.quic.configuration")
aioquic_events = require("aioquic.quic.events")
aioquic_packet = require("aioquic.quic.packet")
aioquic_buffer = require("aioquic.buffer")

CLIENT: Final = ("10.0.0.1", 50_000)
SERVER: Final = ("10.0.0.2", 4433)
MILLISECOND: Final = 1_000_000  # ns
DELAY: Final = 10 * MILLISECOND  # one way
SECOND: Final = 1_000_000_000  # ns
CID_LENGTH: Final = 8
MOST_STEPS_AT_ONCE: Final = 1000  # without time passing


class End(Protocol):
    """One end of the connection, as tests use it and the link drives it."""

    received: dict[int, bytearray]  # by stream
    finished: list[int]  # streams whose end arrived
    resets: dict[int, int]  # error code by stream that the other end reset
    ended: tuple[int, str] | None  # application error code and reason of the other end's close

    def open(self, unidirectional: bool = False) -> int: ...
    def send(self, stream_id: int, data: bytes) -> None: ...
    def close(self, code: int, reason: str, now: int) -> None: ...
    def transmit(self, now: int) -> list[tuple[bytes, Address]]: ...  # with the client's address, as in `receive`
    def receive(self, data: bytes, client: Address, now: int) -> None: ...
    def deadline(self) -> int | None: ...
    def timeout(self, now: int) -> None: ...


class Ours:
    """An endpoint with one connection; sends and reads everything as fast as it can."""

    def __init__(self, config: Config, now: int = 0) -> None:
        self.is_client = not config.accept
        self.endpoint = Endpoint(config, random.Random(1))
        self.events: list[ConnectionEvent] = []
        self.received: dict[int, bytearray] = {}
        self.finished: list[int] = []
        self.resets: dict[int, int] = {}
        self._accepted: Connection | None = None
        self._unsent: dict[int, memoryview] = {}
        if self.is_client:
            self._accepted = self.endpoint.connect(CLIENT, SERVER, now, "localhost")

    @property
    def connection(self) -> Connection:
        assert self._accepted is not None, "no client has connected"
        return self._accepted

    @property
    def ended(self) -> tuple[int, str] | None:
        for event in self.events:
            if isinstance(event, ConnectionEnded) and event.application and event.remote:
                return event.code, event.reason
        return None

    def event(self, kind: type) -> Any:
        """Return the only event of a kind."""
        (found,) = (event for event in self.events if isinstance(event, kind))
        return found

    def open(self, unidirectional: bool = False) -> int:
        stream_id = self.connection.open_stream(unidirectional)
        assert stream_id is not None
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        self._unsent[stream_id] = memoryview(data)
        self._write(stream_id)

    def close(self, code: int, reason: str, now: int) -> None:
        self.connection.close(now, code, reason)

    def transmit(self, now: int) -> list[tuple[bytes, Address]]:
        return [
            (transmit.payload, transmit.source if self.is_client else transmit.destination)
            for transmit in self.endpoint.transmit(now)
        ]

    def receive(self, data: bytes, client: Address, now: int) -> None:
        source, destination = (SERVER, client) if self.is_client else (client, SERVER)
        self.endpoint.receive(data, source, destination, 0, now)
        self._take_events()

    def deadline(self) -> int | None:
        return self.endpoint.deadline()

    def timeout(self, now: int) -> None:
        self.endpoint.timeout(now)
        self._take_events()

    def _take_events(self) -> None:
        for connection, event in self.endpoint.events():
            if isinstance(event, ConnectionAccepted):
                assert self._accepted is None
                self._accepted = connection
                continue
            self.events.append(event)
            if isinstance(event, StreamReadable):
                self._read(event.stream_id)
            elif isinstance(event, StreamWritable) and event.stream_id in self._unsent:
                self._write(event.stream_id)

    def _read(self, stream_id: int) -> None:
        try:
            data, end = self.connection.read(stream_id)
            while data and not end:
                self.received.setdefault(stream_id, bytearray()).extend(data)
                data, end = self.connection.read(stream_id)
        except StreamReset as reset:
            self.resets[stream_id] = reset.code
            return
        self.received.setdefault(stream_id, bytearray()).extend(data)
        if end:
            self.finished.append(stream_id)

    def _write(self, stream_id: int) -> None:
        rest = self._unsent.pop(stream_id)
        rest = rest[self.connection.write(stream_id, rest, end=True) :]
        if rest:
            self._unsent[stream_id] = rest


class Theirs:
    """aioquic's connection; its clock is in seconds. `address` is a client's, and may change."""

    def __init__(
        self, configuration: Any, retry: bool = False, tickets: dict[bytes, Any] | None = None, now: int = 0
    ) -> None:
        """`retry`: a server that validates its client's address first; `tickets` takes those issued or received."""
        self.address = CLIENT
        self._retry = retry
        self._answers: list[tuple[bytes, Address]] = []  # what was sent before there was a connection
        self.is_client = bool(configuration.is_client)
        self.events: list[Any] = []
        self.received: dict[int, bytearray] = {}
        self.finished: list[int] = []
        self.resets: dict[int, int] = {}
        self.ended: tuple[int, str] | None = None
        self._configuration = configuration
        self._tickets = {} if tickets is None else tickets
        self._quic: Any = None
        if self.is_client:
            self._quic = aioquic_connection.QuicConnection(
                configuration=configuration, session_ticket_handler=self._keep_ticket
            )
            self._quic.connect(SERVER, now=now / SECOND)

    def _keep_ticket(self, ticket: Any) -> None:
        self._tickets[ticket.ticket] = ticket

    @property
    def quic(self) -> Any:
        assert self._quic is not None, "no client has connected"
        return self._quic

    def event(self, kind: type) -> Any:
        """Return the only event of a kind."""
        (found,) = (event for event in self.events if isinstance(event, kind))
        return found

    def open(self, unidirectional: bool = False) -> int:
        stream_id: int = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self.quic.send_stream_data(stream_id, b"")
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        self.quic.send_stream_data(stream_id, data, end_stream=True)

    def close(self, code: int, reason: str, now: int) -> None:
        self.quic.close(error_code=code, reason_phrase=reason)

    def transmit(self, now: int) -> list[tuple[bytes, Address]]:
        answers, self._answers = self._answers, []
        if self._quic is not None:
            sent = self._quic.datagrams_to_send(now=now / SECOND)
            answers += [(data, self.address if self.is_client else tuple(to[:2])) for data, to in sent]
        return answers

    def receive(self, data: bytes, client: Address, now: int) -> None:
        if self.is_client and client != self.address:
            return  # it went to an address that is not the client's any more
        if self._quic is None and not self._accept(data, client):
            return
        self._quic.receive_datagram(data, SERVER if self.is_client else client, now=now / SECOND)
        self._take_events()

    def _accept(self, data: bytes, client: Address) -> bool:
        """Make a server's connection for its first Initial; false for anything else, or if the answer is a Retry."""
        header = aioquic_packet.pull_quic_header(aioquic_buffer.Buffer(data=data), host_cid_length=CID_LENGTH)
        if header.packet_type != aioquic_packet.QuicPacketType.INITIAL:
            return False
        original = destination_cid_of(data, CID_LENGTH)
        source = None
        if self._retry:
            if not header.token:
                source = bytes(range(CID_LENGTH))
                packet = aioquic_packet.encode_quic_retry(
                    version=header.version,
                    source_cid=source,
                    destination_cid=header.source_cid,
                    original_destination_cid=header.destination_cid,
                    retry_token=header.destination_cid,
                )
                self._answers.append((packet, client))
                return False
            original, source = header.token, header.destination_cid
        self._quic = aioquic_connection.QuicConnection(
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=source,
            session_ticket_handler=self._keep_ticket,
            session_ticket_fetcher=self._tickets.get,
        )
        return True

    def deadline(self) -> int | None:
        timer = None if self._quic is None else self._quic.get_timer()
        # A microsecond on top so that rounding never leaves the clock just before the timer
        return None if timer is None or math.isinf(timer) else math.ceil(timer * SECOND) + 1000

    def timeout(self, now: int) -> None:
        self.quic.handle_timer(now=now / SECOND)
        self._take_events()

    def _take_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, aioquic_events.StreamDataReceived):
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                if event.end_stream:
                    self.finished.append(event.stream_id)
            elif isinstance(event, aioquic_events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, aioquic_events.ConnectionTerminated):
                self.ended = (event.error_code, event.reason_phrase)


Drop = Callable[[bool, int, bytes], bool]  # (sent by the client, number of the datagram in its direction, data)


@dataclass
class Link:
    """Carries datagrams between a client and a server, `DELAY` each way, unless `drop` says otherwise."""

    client: End
    server: End
    drop: Drop = lambda by_client, index, data: False
    now: int = 0
    destinations: dict[bool, list[bytes]] = field(default_factory=lambda: {True: [], False: []})  # connection IDs
    _flying: list[tuple[int, int, bool, bytes, Address]] = field(default_factory=list)
    _idle_steps: int = 0

    def run(self, until: Callable[[], bool], limit: int = 120 * SECOND) -> None:
        """Let time pass until `until()`; fails when nothing more happens, or not within `limit` ns."""
        end = self.now + limit
        while not until():
            assert self._step(end), f"not reached within {limit / SECOND:g} s, now {self.now / SECOND:g} s"

    def settle(self, duration: int) -> None:
        """Let `duration` ns pass."""
        end = self.now + duration
        while self._step(end):
            pass
        self.now = end

    def _step(self, end: int) -> bool:
        """Go to the next moment at which something happens; false if there is none until `end`."""
        self._pick_up(self.client, True)
        self._pick_up(self.server, False)
        timers = [(at, node) for node in (self.client, self.server) if (at := node.deadline()) is not None]
        times = [at for at, _ in timers] + [arrival[0] for arrival in self._flying[:1]]
        if not times or min(times) > end:
            return False
        self._idle_steps = 0 if min(times) > self.now else self._idle_steps + 1
        assert self._idle_steps < MOST_STEPS_AT_ONCE, f"spinning at {self.now} ns"
        self.now = max(self.now, min(times))
        for at, node in timers:
            if at <= self.now:
                node.timeout(self.now)
        while self._flying and self._flying[0][0] <= self.now:
            _, _, by_client, data, address = heappop(self._flying)
            (self.server if by_client else self.client).receive(data, address, self.now)
        return True

    def _pick_up(self, node: End, by_client: bool) -> None:
        sent = self.destinations[by_client]
        for data, address in node.transmit(self.now):
            destination = destination_cid_of(data, CID_LENGTH)
            assert destination is not None
            if not self.drop(by_client, len(sent), data):
                order = len(self.destinations[True]) + len(self.destinations[False])
                heappush(self._flying, (self.now + DELAY, order, by_client, data, address))
            sent.append(destination)


@dataclass(frozen=True)
class Pair:
    """Both implementations, linked; `client` and `server` are the same two by role."""

    ours: Ours
    theirs: Theirs
    link: Link

    @property
    def client(self) -> End:
        return self.link.client

    @property
    def server(self) -> End:
        return self.link.server

    def run(self, until: Callable[[], bool]) -> None:
        self.link.run(until)

    def handshake(self) -> None:
        """Run until both ends have completed the handshake and ours has it confirmed."""
        self.run(lambda: self.established())

    def established(self) -> bool:
        completed = any(isinstance(event, aioquic_events.HandshakeCompleted) for event in self.theirs.events)
        confirmed = any(isinstance(event, HandshakeConfirmed) for event in self.ours.events)
        return completed and confirmed


def make_pair(
    ours: str,
    *,
    drop: Drop | None = None,
    tls: dict[str, Any] | ServerTls | None = None,
    config: dict[str, Any] | None = None,
    aioquic: dict[str, Any] | None = None,
    their_retry: bool = False,
    tickets: dict[bytes, Any] | None = None,
    now: int = 0,
) -> Pair:
    """Return a linked pair in which our endpoint is the "client" or the "server".

    `tls` (or the factory itself), `config` and `aioquic` are arguments of our TLS factory, of our Config and of
    QuicConfiguration; `their_retry` makes aioquic's server ask for a token first; `tickets` takes its session tickets;
    `now` is the time when the client starts, for sessions that began before.
    """
    we_connect = ours == "client"
    credentials = test_certificate()
    factory: ClientTls | ServerTls
    if isinstance(tls, ServerTls):
        factory = tls
    elif we_connect:
        factory = ClientTls(trust=credentials, **(tls or {}))
    else:
        factory = ServerTls(credentials=credentials, **(tls or {}))
    endpoint = Ours(Config(tls=factory, accept=not we_connect, connection_id_length=CID_LENGTH, **(config or {})), now)
    settings = {"alpn_protocols": ["quicsim"], **(aioquic or {})}
    configuration = aioquic_configuration.QuicConfiguration(is_client=not we_connect, **settings)
    certificate = x509.load_der_x509_certificate(credentials.certificates[0])
    if we_connect:
        configuration.certificate = certificate
        configuration.private_key = credentials.private_key
    else:
        configuration.server_name = "localhost"
        configuration.load_verify_locations(cadata=certificate.public_bytes(Encoding.PEM))
    theirs = Theirs(configuration, their_retry, tickets, now)
    link = Link(*((endpoint, theirs) if we_connect else (theirs, endpoint)), now=now)
    if drop is not None:
        link.drop = drop
    return Pair(endpoint, theirs, link)


# What tests share

both_roles = pytest.mark.parametrize("ours", ["client", "server"])


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def digest(data: bytes | bytearray) -> str:
    return sha256(data).hexdigest()


def seeded_loss(rate: float, seed: int) -> Drop:
    """Lose this share of the datagrams, chosen at random."""
    rng = random.Random(seed)
    return lambda by_client, index, data: rng.random() < rate


def exchange(pair: Pair, size: int) -> None:
    """Move `size` bytes each way on one bidirectional stream that the client opens."""
    stream_id = pair.client.open()
    up, down = content(size, 1), content(size, 2)
    pair.client.send(stream_id, up)
    pair.run(lambda: stream_id in pair.server.received)
    pair.server.send(stream_id, down)
    pair.run(lambda: stream_id in pair.server.finished and stream_id in pair.client.finished)
    assert digest(pair.server.received[stream_id]) == digest(up)
    assert digest(pair.client.received[stream_id]) == digest(down)
