"""A connection and a listener as an application sees them, whichever net they are on."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from quicsim.futures import Future, Inbox, NewFuture, fail_all
from quicsim.stream import Stream
from stack import events
from stack.errors import ConnectionClosed, MigrationError
from stack.limits import MAX_UNREAD_DATAGRAMS
from stack.streams.send import DEFAULT_URGENCY

if TYPE_CHECKING:
    from stack import connection as stack
    from stack.observer import Address
    from stack.path.path import Path
    from stack.stats import ConnectionStats


class Runner(Protocol):
    """What runs the stack that a connection belongs to."""

    @property
    def now(self) -> int:
        """The time in ns."""
        ...

    def new_future(self, what: str) -> Future[Any]:
        """Return a future of the net's; `what` tells people what it stands for."""
        ...

    def flush(self) -> None:
        """Send what the stack wants to send, and tell what happened."""

    def bind(self, address: str) -> "Address":
        """Receive at another of the host's IP addresses too; returns it with a port. Raises ValueError, OSError."""
        ...


class Connection:
    """One QUIC connection. Its waiting calls raise ConnectionClosed when it ends.

    `handshake` says what was negotiated, once `established` has returned; `ended` how it ended, once it has.
    `on_datagram_fate` is called with what became of each datagram sent, until the connection ends.
    """

    def __init__(self, connection: "stack.Connection", runner: Runner) -> None:
        self.new_future: Final = runner.new_future
        self.flush = runner.flush
        self.handshake: events.HandshakeCompleted | None = None
        self.ended: events.ConnectionEnded | None = None
        self._connection = connection
        self._runner = runner
        self._streams: dict[int, Stream] = {}
        self._incoming: Inbox[Stream] = Inbox(runner.new_future, "a stream of the peer's")
        # rfc9221:5.3:1 what the application does not take in time
        self._datagrams: Inbox[bytes] = Inbox(runner.new_future, "a datagram", MAX_UNREAD_DATAGRAMS)
        self._tokens: Inbox[events.NewToken] = Inbox(runner.new_future, "a token for the next connection")
        self._sessions: Inbox[bytes] = Inbox(runner.new_future, "a session to resume")
        self.on_datagram_fate: Callable[[events.DatagramAcked | events.DatagramLost], object] | None = None
        self._waiting: list[Future[None]] = []  # for the handshake, or for one more stream
        self._waiting_ended: list[Future[None]] = []

    @property
    def alpn(self) -> str | None:
        """The application protocol that ALPN chose."""
        return self._connection.alpn

    @property
    def version(self) -> int:
        """The QUIC version that is spoken."""
        return self._connection.version.number

    @property
    def peer_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER, leaf first; empty when it sent none."""
        return self.handshake.peer_certificates if self.handshake else ()

    @property
    def stats(self) -> "ConnectionStats":
        """The stack's counters."""
        return self._connection.stats

    @property
    def path(self) -> "Path":
        """The path in use: addresses, round-trip time, congestion window."""
        return self._connection.path

    async def established(self) -> "Connection":
        """Return the connection once its handshake is complete; raises ConnectionClosed when it fails."""
        while self.handshake is None:
            await self._wait("the handshake")
        return self

    async def usable(self) -> "Connection":
        """Return the connection once it can send, in 0-RTT if possible; raises ConnectionClosed when it can't."""
        while not self._connection.can_send:
            await self._wait("the handshake")
        return self

    async def confirmed(self) -> None:
        """Wait until the handshake is confirmed (RFC 9001 section 4.1.2)."""
        while not self._connection.handshake_confirmed:
            await self._wait("the handshake to be confirmed")

    async def open_stream(self, unidirectional: bool = False) -> Stream:
        """Open a stream, waiting for the peer to allow one more if need be."""
        while (stream_id := self._connection.open_stream(unidirectional)) is None:
            await self._wait("the peer to allow one more stream")
        return self._add(stream_id)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """What is written in a `with` block goes at its end, in as few packets as it takes, and not write by write."""
        self.flush = lambda: None
        try:
            yield
        finally:
            self.flush = self._runner.flush
            self.flush()

    async def accept_stream(self) -> Stream:
        """Return the next stream that the peer opened."""
        return await self._incoming.get()

    async def session(self) -> bytes:
        """Return the next session that the server allows to resume: option `session` of one connection to it."""
        return await self._sessions.get()

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return `length` bytes that nobody but the two ends of this connection can have (RFC 8446 section 7.5).

        Raises QuicError before the handshake is complete, and for a label or length that can't be; ConnectionClosed.
        """
        return self._connection.export_keying_material(label, context, length)

    async def token(self) -> events.NewToken:
        """Return the next token that the server gives: option `token` of one connection to it, to spare it a Retry."""
        return await self._tokens.get()

    def send_datagram(
        self, data: bytes | memoryview, *, expires_at: int | None = None, urgency: int = DEFAULT_URGENCY
    ) -> int:
        """Send `data` as one datagram, which may get lost (RFC 9221); return its number.

        It is given up if it can't be sent before `expires_at` (ns). `urgency` is that of streams: 0 goes first, 7 last.
        Raises DatagramError when it is larger than `max_datagram_payload`, DatagramQueueFull, ConnectionClosed.
        """
        number = self._connection.send_datagram(data, expires_at=expires_at, urgency=urgency)
        self.flush()
        return number

    @property
    def max_datagram_payload(self) -> int:
        """Bytes of the largest datagram that can be sent now; 0 if the peer takes none."""
        return self._connection.max_datagram_payload()

    async def receive_datagram(self) -> bytes:
        """Return the next datagram. Of those that nobody takes the oldest are dropped."""
        return await self._datagrams.get()

    async def migrate(self, address: str, *, probe: bool = True) -> None:
        """Client: go on from another IP address of this host (RFC 9000 section 9); return when that path is validated.

        With `probe` the connection stays where it is until then; without, it moves at once, for when the old path does
        not work any more. Raises MigrationError when the connection can't move or the path does not work, ValueError or
        OSError for an address that is not the host's, and ConnectionClosed.
        """
        await self.confirmed()
        local = self._runner.bind(address)
        self._connection.migrate(local, self._runner.now, probe)
        self.flush()
        while self.path.local != local or not self.path.validated:
            if all(path.local != local for path in self._connection.paths.all):
                raise MigrationError(f"there is no answer on the path from {address}")
            await self._wait("a path to be validated")

    async def update_keys(self) -> None:
        """Protect what is sent from now on with new keys (RFC 9001 section 6), once the handshake is confirmed.

        Raises KeyUpdateError when the last update was only just now, and ConnectionClosed.
        """
        await self.confirmed()
        self._connection.update_keys(self._runner.now)
        self.flush()

    def request_ack_frequency(
        self, ack_eliciting_threshold: int, max_ack_delay_ns: int, reordering_threshold: int = 1
    ) -> None:
        """Ask the peer to acknowledge less or more often; see `stack.connection.Connection.request_ack_frequency`."""
        self._connection.request_ack_frequency(ack_eliciting_threshold, max_ack_delay_ns, reordering_threshold)
        self.flush()

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close at once, with an application error code; what the peer has not received yet is lost."""
        self._connection.close(self._runner.now, code, reason)
        self.flush()

    async def wait_closed(self) -> events.ConnectionEnded:
        """Wait until the connection has ended, by whomever and why ever, and say how."""
        while self.ended is None:
            future: Future[None] = self.new_future("the connection's end")
            self._waiting_ended.append(future)
            await future
        return self.ended

    def forget(self, stream_id: int) -> None:
        """Both directions of a stream are over."""
        self._streams.pop(stream_id, None)

    def handle(self, event: events.ConnectionEvent) -> None:
        """Take note of what the stack reports."""
        match event:
            case events.StreamReadable(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.on_readable()
            case events.StreamWritable(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.on_writable()
            case events.StreamSent(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.on_sent()
            case events.StreamOpened(stream_id, count):
                self._incoming.put_each(map(self._add, range(stream_id, stream_id + 4 * count, 4)))
            case events.DatagramReceived(data):
                self._datagrams.put(data)
            case events.DatagramAcked() | events.DatagramLost():
                if self.on_datagram_fate is not None:
                    self.on_datagram_fate(event)
            case (
                events.StreamsAvailable()
                | events.HandshakeConfirmed()
                | events.EarlyDataAllowed()
                | events.PathValidated()
                | events.PathFailed()
                | events.PathChanged()
            ):
                self._wake()
            case events.HandshakeCompleted():
                self.handshake = event
                self._wake()
            case events.ConnectionEnded():
                self._end(event)
            case events.NewSession(session):
                self._sessions.put(session)
            case events.NewToken():
                self._tokens.put(event)
            case events.EarlyDataAccepted():
                pass  # nobody waits for it

    def _add(self, stream_id: int) -> Stream:
        self._streams[stream_id] = stream = Stream(self, self._connection, stream_id)
        return stream

    async def _wait(self, what: str) -> None:
        if self.ended is not None:
            raise self._closed()
        future: Future[None] = self.new_future(what)
        self._waiting.append(future)
        await future

    def _wake(self) -> None:
        """Let those who wait look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _end(self, event: events.ConnectionEnded) -> None:
        self.ended = event
        self._incoming.fail(self._closed)
        self._datagrams.fail(self._closed)
        fail_all(self._waiting, self._closed)
        for stream in self._streams.values():
            stream.on_closed(self._closed)
        for future in self._waiting_ended:
            if not future.done():
                future.set_result(None)

    def _closed(self) -> ConnectionClosed:
        """Return a new exception for each who needs one, so that their tracebacks stay apart."""
        event = self.ended
        assert event is not None
        return ConnectionClosed(
            event.code,
            event.reason,
            application=event.application,
            remote=event.remote,
            idle=event.idle,
            stateless_reset=event.stateless_reset,
        )


class Listener:
    """Takes connections on a UDP port."""

    def __init__(self, new_future: NewFuture, address: tuple[str, int], release: Callable[[], None]) -> None:
        self.address: Final = address
        self._release = release
        self._incoming: Inbox[Connection] = Inbox(new_future, f"a connection on port {address[1]}")

    async def accept(self) -> Connection:
        """Return the next connection whose handshake is complete; raises RuntimeError once closed."""
        return await self._incoming.get()

    def close(self) -> None:
        """Take no more connections; those that exist go on. Raises RuntimeError in those who wait in `accept`."""
        self._release()
        self._incoming.fail(lambda: RuntimeError(f"the listener on port {self.address[1]} is closed"))

    def put(self, connection: Connection) -> None:
        """A connection is established."""
        self._incoming.put(connection)
