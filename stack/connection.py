"""One QUIC connection: owns the parts and gives the application its verbs. The work is done in the parts."""

from typing import TYPE_CHECKING

from stack.closing import Closing
from stack.config import MILLISECOND, Config
from stack.congestion import CongestionOptions
from stack.control import ControlFrames
from stack.crypto.packet_protection import Keys
from stack.datagrams import Datagrams
from stack.dispatch import Handlers
from stack.early_data import EarlyData
from stack.errors import TransportError
from stack.events import ConnectionEvent
from stack.handshake import Handshake
from stack.idle import IdleTimer
from stack.key_phases import KeyPhases
from stack.lifecycle import State
from stack.limits import MAX_HANDSHAKE_NS, MAX_HANDSHAKE_RTTS
from stack.migration import Migration
from stack.negotiation import VersionNegotiation
from stack.new_tokens import NewTokens
from stack.observer import Address, Observer, RecoveryParameters
from stack.packet_numbers import PacketNumbers
from stack.path.connection_ids import LocalConnectionIds, RemoteConnectionIds
from stack.path.path import Path
from stack.path.paths import Paths
from stack.path.spin_bit import SpinBit
from stack.randomness import Randomness
from stack.receiver import Receiver
from stack.recovery.ack_frequency import AckFrequency
from stack.recovery.acknowledgments import NEVER, Acknowledgments
from stack.recovery.loss import LossRecovery
from stack.recovery.space import PacketNumberSpace
from stack.sender import Sender
from stack.stats import ConnectionStats
from stack.streams.crypto import CryptoStream
from stack.streams.send import DEFAULT_URGENCY
from stack.streams.table import StreamTable
from stack.streams.trace import StreamTrace
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.transmit import Transmit
from stack.transport_parameters import ParameterExchange
from stack.wire import header as wire
from stack.wire.versions import VERSIONS

if TYPE_CHECKING:
    from stack.endpoint import Endpoint


def _initial_space() -> PacketNumberSpace:
    return PacketNumberSpace(0, INITIAL, wire.INITIAL, Acknowledgments(0, 3), CryptoStream())


class Connection:
    """A connection, either role. Made by `Endpoint`; after any verb call `Endpoint.transmit`."""

    __slots__ = (
        "_paths_made",
        "ack_frequency",
        "alpn",
        "closing",
        "config",
        "control",
        "datagrams",
        "early_data",
        "endpoint",
        "flow",
        "handshake",
        "handshake_complete",
        "idle",
        "is_client",
        "key_phases",
        "keys_arrived",
        "local_ids",
        "migration",
        "negotiation",
        "new_tokens",
        "numbers",
        "original_destination_cid",
        "parameters",
        "paths",
        "peer_max_datagram_size",
        "receiver",
        "recovery",
        "remote_ids",
        "reset_key",
        "retry_source_cid",
        "rng",
        "sender",
        "space_of",
        "spaces",
        "stats",
        "streams",
        "trace",
        "version",
    )

    def __init__(
        self,
        endpoint: "Endpoint",
        config: Config,
        rng: Randomness,
        observer: Observer | None,
        *,
        is_client: bool,
        local: Address,
        remote: Address,
        version: int,
        local_cid: bytes,
        remote_cid: bytes,
        original_destination_cid: bytes,
        reset_key: bytes,
        now: int,
    ) -> None:
        self.endpoint = endpoint
        self.config = config
        self.rng = rng
        self.is_client = is_client
        self.version = VERSIONS[version]
        self.original_destination_cid = original_destination_cid
        self.retry_source_cid: bytes | None = None  # None: there was no Retry
        self.reset_key = reset_key
        self.alpn: str | None = None
        self.stats = ConnectionStats()
        self.handshake_complete = False  # TLS is complete: the application may send
        self.keys_arrived = False  # packets that waited for keys can be tried again
        role = "client" if is_client else "server"
        self.trace = None if observer is None else observer.connection(now, role, original_destination_cid)
        if self.trace is not None:
            self.trace.connection_started(now, local, remote, local_cid, remote_cid)

        self.control = ControlFrames()
        self.remote_ids = RemoteConnectionIds(
            remote_cid, config.active_connection_id_limit, self.control, self._make_spin
        )
        self._paths_made = 0
        self.peer_max_datagram_size = config.datagram_size  # bytes; less if the peer takes less
        first = self._make_path(local, remote)
        first.validated = is_client
        if self.trace is not None:
            loss_reduction = first.congestion.loss_reduction
            self.trace.recovery_parameters(
                now, RecoveryParameters(config.packet_threshold, float(config.time_threshold), loss_reduction)
            )
        self.paths = Paths(first, self._make_path, self.remote_ids, self.pto_ns)
        max_ack_delay_ns = config.max_ack_delay_ms * MILLISECOND
        exponent = config.ack_delay_exponent
        self.spaces = [
            _initial_space(),
            PacketNumberSpace(1, HANDSHAKE, wire.HANDSHAKE, Acknowledgments(0, 3), CryptoStream()),
            PacketNumberSpace(
                2, APPLICATION, wire.ONE_RTT, Acknowledgments(max_ack_delay_ns, exponent), CryptoStream()
            ),
        ]
        initial, handshake, application = self.spaces
        # By packet type: Initial, 0-RTT, Handshake, Retry, Version Negotiation, 1-RTT
        # rfc9001:5.6:6 a client takes no 0-RTT packets
        early = None if is_client else application
        self.space_of: tuple[PacketNumberSpace | None, ...] = (initial, early, handshake, None, None, application)
        self.recovery = LossRecovery(
            is_client,
            self.spaces,
            self.current_path,
            self.stats,
            self.trace,
            packet_threshold=config.packet_threshold,
            time_threshold=config.time_threshold.as_integer_ratio(),
            undo_spurious=config.undo_spurious_losses,
        )
        self.ack_frequency = AckFrequency(config.ack_frequency, application.acks, self.recovery.timer, self.control)
        self.closing = Closing(self.emit, self.recovery.timer.pto_ns, self.trace)
        self.idle = IdleTimer(config.max_idle_timeout_ms * MILLISECOND, now, config.keep_alive_ms * MILLISECOND)
        if not is_client:
            patience_ns = max(MAX_HANDSHAKE_NS, round(MAX_HANDSHAKE_RTTS * config.initial_rtt_ms * MILLISECOND))
            self.idle.give_up_at = now + patience_ns
        stream_trace = None if self.trace is None else StreamTrace()
        self.streams = StreamTable(
            config, is_client, self.control, self.emit, self.stats, self.current_path, stream_trace
        )
        self.flow = self.streams.flow
        self.datagrams = Datagrams(config, self.emit, self.stats)
        self.local_ids = LocalConnectionIds(
            local_cid, reset_key, self.control, endpoint.draw_connection_id, self._register, self._unregister
        )
        self.migration = Migration(self, self.paths)
        self.paths.watch(self.migration)
        self.negotiation = VersionNegotiation(self, reacted=False)
        self.key_phases = KeyPhases(self, application)
        self.numbers = PacketNumbers(self, application)
        self.parameters = ParameterExchange(self)
        self.new_tokens = NewTokens(self)
        self.early_data = EarlyData(self)
        self.handshake = Handshake(self)
        self.receiver = Receiver(self)
        self.sender = Sender(self)
        self.receiver.bind(Handlers(self))

    # State

    @property
    def handshake_confirmed(self) -> bool:
        """Whether the handshake is confirmed (RFC 9001 section 4.1.2)."""
        return self.closing.state is State.CONFIRMED

    @property
    def can_send(self) -> bool:
        """Whether the application's data can go out: the handshake is complete, or the client may send 0-RTT."""
        return self.handshake_complete or self.early_data.sending

    @property
    def closed(self) -> bool:
        """Whether the connection has ended for the application."""
        return self.closing.over

    @property
    def initial_destination_cid(self) -> bytes:
        """The ID that the client's Initial packets go to and that their keys follow from (rfc9000:17.2.5.1:3)."""
        retry = self.retry_source_cid
        return self.original_destination_cid if retry is None else retry

    @property
    def path(self) -> Path:
        """The path that new packets take."""
        return self.paths.active

    def current_path(self) -> Path:
        """The path that new packets take."""
        return self.paths.active

    def pto_ns(self) -> int:
        """The current PTO in ns, without backoff."""
        return self.recovery.timer.pto_ns()

    # Application verbs

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return keying material that is bound to this connection (RFC 8446 section 7.5).

        Raises QuicError before the handshake is complete, or for a label or length that can't be; ConnectionClosed.
        """
        self._check_open()
        return self.handshake.export_keying_material(label, context, length)

    def open_stream(self, unidirectional: bool = False) -> int | None:
        """Open a stream and return its ID; None at the peer's limit, until StreamsAvailable says otherwise.

        Raises ConnectionClosed.
        """
        self._check_open()
        self.endpoint.wake(self)
        return self.streams.open(unidirectional)

    def write(self, stream_id: int, data: bytes | memoryview, end: bool = False) -> int:
        """Take `data` for sending on a stream and return how many bytes were taken.

        When that is fewer than given, the send buffer is full: write the rest after StreamWritable. `end` ends the
        stream, provided all data was taken. Raises StreamStopped, StreamError, ConnectionClosed.
        """
        self._check_open()
        self.endpoint.wake(self)
        return self.streams.write(stream_id, data, end)

    def read(self, stream_id: int, limit: int | None = None) -> tuple[bytes, bool]:
        """Return data in order, at most `limit` bytes, and whether the stream ended with it.

        (b"", False) means nothing now: wait for StreamReadable. Data that arrived before a connection ended can still
        be read. Raises StreamReset, StreamError, ConnectionClosed.
        """
        if self.closing.over and stream_id not in self.streams.streams:
            raise self.closing.exception()
        self.endpoint.wake(self)
        data, finished = self.streams.read(stream_id, limit)
        if self.closing.over and not data and not finished:
            raise self.closing.exception()
        return data, finished

    def reset(self, stream_id: int, code: int, reliable_size: int = 0) -> None:
        """Abandon sending on a stream with an application error code (RESET_STREAM).

        The first `reliable_size` bytes arrive all the same, if the peer announced `reset_stream_at`; a later call may
        name fewer. Raises StreamError, ConnectionClosed.
        """
        self._check_open()
        self.endpoint.wake(self)
        self.streams.reset(stream_id, code, reliable_size)

    def set_priority(self, stream_id: int, urgency: int = DEFAULT_URGENCY, incremental: bool = True) -> None:
        """Say which streams send first: `urgency` 0 (most) to 7, of equal ones the `incremental` take turns.

        A stream that is not incremental goes on until it has nothing to send. Raises StreamError, ConnectionClosed.
        """
        self._check_open()
        self.streams.set_priority(stream_id, urgency, incremental)

    def stop_sending(self, stream_id: int, code: int) -> None:
        """Ask the peer to stop sending on a stream, and forget what arrives (STOP_SENDING)."""
        self._check_open()
        self.endpoint.wake(self)
        self.streams.stop_sending(stream_id, code)

    def migrate(self, local: Address, now: int, probe: bool = True) -> None:
        """Client: move the connection to another local address (RFC 9000 section 9).

        With `probe`, once the new path is validated; else at once, for when the old path does not work any more. The
        events PathChanged, PathValidated and PathFailed tell what came of it. Raises MigrationError, ConnectionClosed.
        """
        self._check_open()
        self.migration.migrate(local, probe, now)
        self.endpoint.wake(self)

    def send_datagram(
        self, data: bytes | memoryview, *, expires_at: int | None = None, urgency: int = DEFAULT_URGENCY
    ) -> int:
        """Send `data` as one datagram, unreliably (RFC 9221), and return its number, which events tell its fate by.

        It waits for congestion control and pacing, until `expires_at` (ns) if need be. `urgency` is that of streams,
        with which it takes turns. Raises DatagramError, DatagramQueueFull, ConnectionClosed.
        """
        self._check_open()
        self.endpoint.wake(self)
        return self.datagrams.send(bytes(data), self.sender.frame_room(), expires_at, urgency)

    def max_datagram_payload(self) -> int:
        """Bytes of the largest datagram that `send_datagram` takes now; 0 if the peer takes none, or none yet."""
        return self.datagrams.max_payload(self.sender.frame_room())

    def request_ack_frequency(
        self, ack_eliciting_threshold: int, max_ack_delay_ns: int, reordering_threshold: int = 1
    ) -> None:
        """Ask the peer to acknowledge less often, or more (draft-ietf-quic-ack-frequency section 4).

        It is to send an ACK after more than `ack_eliciting_threshold` packets that ask for one (1 is what RFC 9000 asks
        for), after `max_ack_delay_ns`, or when a packet is missing that many numbers before the newest one (0: never).
        Raises AckFrequencyError, ConnectionClosed.
        """
        self._check_open()
        self.ack_frequency.request(ack_eliciting_threshold, max_ack_delay_ns, reordering_threshold)
        self.endpoint.wake(self)

    def request_immediate_ack(self) -> None:
        """Ask the peer for an ACK at once. Raises AckFrequencyError, ConnectionClosed."""
        self._check_open()
        self.ack_frequency.request_immediate()
        self.endpoint.wake(self)

    def close(self, now: int, code: int = 0, reason: str = "") -> None:
        """Close the connection with an application error code; nothing more is delivered."""
        self.closing.close(code, reason, True, now)
        self.endpoint.wake(self)

    def ping(self) -> None:
        """Send a PING, which the peer has to acknowledge, and so put off the idle timeout. Raises ConnectionClosed."""
        self._check_open()
        self.endpoint.wake(self)
        self.control.owe(self.idle, 0)

    def update_keys(self, now: int) -> None:
        """Protect what is sent from now on with new keys; the peer will follow (RFC 9001 section 6).

        Raises KeyUpdateError before the handshake is confirmed, and until three PTOs after the peer acknowledged a
        packet under the current keys; ConnectionClosed.
        """
        self._check_open()
        self.endpoint.wake(self)
        self.key_phases.update(now)

    def _check_open(self) -> None:
        if self.closing.over:
            raise self.closing.exception()

    # What the endpoint calls

    def start(self, server_name: str | None, now: int, keys: tuple[Keys, Keys] | None = None) -> None:
        """Begin the handshake; `keys` are the Initial keys where they are known: the client's, the server's."""
        try:
            self.handshake.start(server_name, now, keys)
        except TransportError as error:  # an engine that depends on others may fail at once
            self.closing.fail(error, now)

    def on_tls_answer(self, now: int) -> None:
        """The TLS engine, which waited for somebody else, has events."""
        if self.closing.over:
            return
        try:
            self.handshake.take_events(now)
            self._retry_undecryptable(now)
        except TransportError as error:
            self.closing.fail(error, now)

    def restart(self, version: int, now: int) -> None:
        """Begin a client's connection anew in another version, as Version Negotiation asked for (RFC 9368 section 2.1).

        To the network and the server this is another connection; the application keeps the one that it has.
        """
        self.version = VERSIONS[version]
        self.negotiation = VersionNegotiation(self, reacted=True)
        self.original_destination_cid = self.rng.randbytes(len(self.original_destination_cid))
        self.remote_ids.set_handshake_id(self.original_destination_cid)
        old = self.spaces[0]
        new = _initial_space()
        self.spaces[0] = new
        self.space_of = (new, *self.space_of[1:])
        self.recovery.replace(old, new, now)
        self.early_data.give_up(now)
        self.handshake.restart(now)

    def refuse_early_packets(self) -> None:
        """Drop 0-RTT packets from now on, and those that wait for keys."""
        initial, _, *others = self.space_of
        self.space_of = (initial, None, *others)

    def receive(self, data: bytes, source: Address, destination: Address, ecn: int, now: int) -> None:
        """Process a datagram. Whatever the peer did wrong becomes a CONNECTION_CLOSE here, and only here."""
        active = self.paths.active
        on_active = source == active.remote and destination == active.local
        path = active if on_active else self.migration.arrival(destination, source)
        if path is None:
            return  # rfc9000:9:3, rfc9000:9:7
        self.stats.datagrams_received += 1
        self.stats.bytes_received += len(data)
        path.bytes_received += len(data)
        if self.trace is not None:
            self.trace.datagram_received(now, len(data), ecn)
        if self.closing.silent:
            return
        try:
            self.receiver.receive(data, path, ecn, now)
            if self.keys_arrived:
                self._retry_undecryptable(now)
        except TransportError as error:
            self.closing.fail(error, now)
        if not self.receiver.first_opened and self.remote_ids.matches_reset(data):
            self.closing.on_stateless_reset(now)  # rfc9000:10.3.1:2, rfc9000:10.3:9
        if self.paths.validating:
            self.paths.on_received(now)
        if not self.paths.active.validated:
            self.recovery.timer.arm(now)  # new credit may let a blocked server's timer run again

    def _retry_undecryptable(self, now: int) -> None:
        """Process the packets that waited for keys which have come."""
        while self.keys_arrived and not self.closing.over:
            self.keys_arrived = False
            self.receiver.retry_undecryptable(now)

    def transmit(self, now: int) -> list[Transmit]:
        """The datagrams that may go now."""
        datagrams = self.sender.transmit(now)
        if self.trace is not None and self.streams.trace is not None:
            self.streams.trace.flush(self.trace, now)
        return datagrams

    def deadline(self) -> int:
        """When `timeout` must be called next; NEVER if only a datagram or the application can change anything."""
        closing = self.closing
        if closing.over:
            return closing.expires_at
        application = self.spaces[2].acks.ack_at
        path = self.paths.active
        if not path.validated and path.amplification_blocked():
            application = NEVER  # the ACK goes when something arrives
        return min(
            self.recovery.timer.at,
            self.sender.pacing_at,
            self.paths.timer_at,
            self.datagrams.expires_at,
            self.key_phases.discard_at,
            application if application else NEVER,
            self.idle.expires_at(self.recovery.timer.pto_ns()),
            self._reminder_at(),
        )

    def timeout(self, now: int) -> None:
        """Do what is due."""
        closing = self.closing
        if closing.over:
            if closing.expires_at <= now:
                closing.on_expired(now)
        elif self.idle.expires_at(self.recovery.timer.pto_ns()) <= now:
            closing.on_idle(now)
        elif self.recovery.timer.at <= now:
            self.recovery.on_timeout(now)
        elif self.paths.timer_at <= now:
            self.paths.on_timeout(now)
        elif self.key_phases.discard_at <= now:
            self.key_phases.discard_previous()
        elif self._reminder_at() <= now:
            if self.streams.blocked:
                self.streams.repeat_blocked()
            else:
                self.ping()

    def _reminder_at(self) -> int:
        """When to speak up lest the connection end for idleness.

        To repeat that the peer's limits hold us back (rfc9000:4.1:5), or just to keep it alive.
        """
        if self.spaces[2].eliciting_in_flight or self.control.owed or not self.handshake_complete:
            return NEVER
        keep_alive_at = self.idle.keep_alive_at()
        return min(keep_alive_at, self.idle.half_at()) if self.streams.blocked else keep_alive_at

    def discover_mtu(self, path: Path) -> None:
        """Start to look for the largest datagram that `path` and the peer take, if the configuration says so."""
        config, parameters = self.config, self.parameters.peer
        if config.path_mtu_discovery and parameters is not None:
            path.mtu.start(min(config.largest_datagram(path.remote), parameters.max_udp_payload_size))

    def emit(self, event: ConnectionEvent) -> None:
        """Report an event to the application."""
        self.endpoint.emit(self, event)

    def release(self) -> None:
        """The endpoint forgets the connection."""
        self.handshake.close()
        for connection_id in list(self.local_ids.by_sequence.values()):
            self._unregister(connection_id)

    def _make_path(self, local: Address, remote: Address) -> Path:
        """A fresh path that is no part of the connection yet."""
        config = self.config
        self._paths_made += 1
        return Path(
            local,
            remote,
            self.remote_ids.active,
            datagram_size=self.peer_max_datagram_size,
            congestion=config.congestion,
            initial_rtt_ns=round(config.initial_rtt_ms * MILLISECOND),
            pacing=config.pacing,
            validated=False,
            limited=not self.is_client,
            ecn=config.ecn,
            number=self._paths_made - 1,
            congestion_options=CongestionOptions(
                config.initial_window,
                config.hystart,
                config.fast_convergence,
                config.jump_start,
                config.loss_tolerance,
                config.pacing,
                self.rng,
            ),
        )

    def _make_spin(self) -> SpinBit:
        return SpinBit(self.rng, self.is_client, self.config.spin_bit)

    def _register(self, connection_id: bytes) -> None:
        self.endpoint.register(connection_id, self)

    def _unregister(self, connection_id: bytes) -> None:
        self.endpoint.unregister(connection_id)
