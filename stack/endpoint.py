"""An endpoint: routes datagrams to connections, accepts new ones, and turns its clock (RFC 9000 section 5.2)."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from stack.address_validation import AddressValidation
from stack.config import Config
from stack.connection import Connection
from stack.crypto.packet_protection import Keys, initial_keys, unprotect_header
from stack.early_arrivals import EarlyArrival, EarlyArrivals
from stack.errors import ConfigError
from stack.events import ConnectionAccepted, ConnectionEvent, NewToken
from stack.lifecycle import State
from stack.limits import ALARMS_PER_CONNECTION, MAX_CONNECTION_ID_DRAWS, MAX_HALF_OPEN_CONNECTIONS
from stack.observer import Address, Observer
from stack.randomness import Randomness
from stack.recovery.acknowledgments import NEVER
from stack.stateless_reset import StatelessResets
from stack.transmit import Transmit
from stack.wire import header as wire
from stack.wire.versions import VERSIONS

Event = ConnectionAccepted | ConnectionEvent

CLIENT_FIRST_CID_LENGTH: Final = 8  # rfc9000:7.2:1
_LONG_FORM: Final = 0x80


class Endpoint:
    """A set of connections that share a configuration; client, server (`config.accept`) or both."""

    __slots__ = (
        "_address_validation",
        "_alarm_count",
        "_alarm_of",
        "_alarms",
        "_by_addresses",
        "_by_cid",
        "_cid_length",
        "_config",
        "_early",
        "_events",
        "_half_open",
        "_observer",
        "_outbox",
        "_ready",
        "_reset_key",
        "_resets",
        "_rng",
        "_tls_answers",
        "_used_tokens",
        "accepting",
        "connections",
        "on_answer",
    )

    def __init__(self, config: Config, rng: Randomness, observer: Observer | None = None) -> None:
        self._config = config
        self._rng = rng
        self._observer = observer
        self._cid_length = config.connection_id_length
        self._reset_key = rng.randbytes(32)
        self._address_validation = AddressValidation(config, self._reset_key, rng)
        self._resets = StatelessResets(self._reset_key, rng)
        self._early = EarlyArrivals()
        self._by_cid: dict[bytes, Connection] = {}
        self._by_addresses: dict[tuple[Address, Address], Connection] = {}  # for zero-length connection IDs
        self._events: list[tuple[Connection, Event]] = []
        self._ready: dict[int, Connection] = {}  # may have something to send, by identity
        # Wake-ups (time, tie-breaker, connection). An entry may be earlier than its connection needs, never later.
        self._alarms: list[tuple[int, int, Connection]] = []
        self._alarm_of: dict[int, int] = {}  # by identity of the connection: time of its earliest entry
        self._alarm_count = 0
        self._half_open: dict[int, Connection] = {}  # also those that end before, until they are forgotten
        self._outbox: list[Transmit] = []  # what needs no connection
        self._tls_answers: dict[int, Connection] = {}  # by identity: their TLS engines have events
        # Called when a TLS engine that waited for others has events: `transmit` must be called, but not from here
        self.on_answer: Callable[[], None] | None = None
        self._used_tokens: set[bytes] = set()
        self.accepting = config.accept  # a server that sets this to False refuses clients, and serves those it has
        self.connections: dict[int, Connection] = {}  # by identity

    # The four verbs, and connect

    def connect(
        self, local: Address, remote: Address, now: int, server_name: str | None = None, token: NewToken | None = None
    ) -> Connection:
        """Start a connection to `remote` and return it; HandshakeCompleted tells when it can be used.

        `token` is what an earlier connection to this server has reported, and serves one connection. Raises ConfigError
        for a token that can't be used here, for a second connection from `local` without connection IDs, and when short
        ones are used up.
        """
        original = self._rng.randbytes(CLIENT_FIRST_CID_LENGTH)
        version = self._config.original_version or self._config.versions[0]
        if self._is_taken(local):
            raise ConfigError(
                f"{local} has a connection, and connection_id_length = 0: packets of two could not be told apart"
            )
        if token is not None:
            self._check_token(token, remote, version)
        connection = self._make(local, remote, version, original, original, True, now)
        if connection is None:
            raise ConfigError(f"connection_id_length = {self._cid_length}: all IDs of this length are in use")
        if token is not None:
            connection.handshake.token = token.token  # rfc9000:8.1.3:2
            self._used_tokens.add(token.token)
        connection.start(server_name, now)
        return connection

    def receive(self, data: bytes, source: Address, destination: Address, ecn: int, now: int) -> None:
        """Process a UDP payload; never raises because of what is in it."""
        connection_id = wire.destination_cid_of(data, self._cid_length)
        if connection_id is None:
            return
        connection = self._by_cid.get(connection_id) if connection_id else self._by_addresses.get((destination, source))
        if connection is None:
            connection = self._on_unknown(data, connection_id, source, destination, ecn, now)
            if connection is None:
                return
            connection.receive(data, source, destination, ecn, now)
            for early in self._early.take(connection_id, source, destination):
                connection.receive(early.data, source, destination, early.ecn, now)
        else:
            connection.receive(data, source, destination, ecn, now)
        if self._half_open and connection.handshake_complete:
            self._half_open.pop(id(connection), None)
        self.wake(connection)

    def transmit(self, now: int) -> list[Transmit]:
        """Return every datagram that may go now."""
        ready = self._ready
        if not ready and not self._outbox:
            return []
        if self._tls_answers:
            self._take_tls_answers(now)
        transmits, self._outbox = self._outbox, []
        self._ready = {}
        for connection in ready.values():
            transmits += connection.transmit(now)
            self._set_alarm(connection)
        return transmits

    def deadline(self) -> int | None:
        """When `timeout` must be called, or None. Never too late; now and then earlier than would be needed."""
        if self._ready:
            raise RuntimeError("call transmit() before deadline(): connections have something to send")
        alarms, alarm_of = self._alarms, self._alarm_of
        while alarms and alarm_of.get(id(alarms[0][2])) != alarms[0][0]:
            heappop(alarms)  # an earlier entry took its place, or the connection is gone
        return alarms[0][0] if alarms else None

    def timeout(self, now: int) -> None:
        """Do what is due by `now`; then call `transmit`."""
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            at, _, connection = heappop(alarms)
            key = id(connection)
            if self._alarm_of.get(key) != at:
                continue  # an earlier entry took its place, or the connection is gone
            del self._alarm_of[key]
            if connection.deadline() <= now:
                connection.timeout(now)
                self.wake(connection)
                if connection.closing.state is State.CLOSED:
                    self._forget(connection)
            else:
                self._set_alarm(connection)

    def events(self) -> list[tuple[Connection, Event]]:
        """Return, and forget, what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # What connections call

    def emit(self, connection: Connection, event: Event) -> None:
        """Queue an event of a connection."""
        self._events.append((connection, event))

    def wake(self, connection: Connection) -> None:
        """`connection` may have something to send, or a new deadline."""
        self._ready[id(connection)] = connection

    def on_tls_answer(self, connection: Connection) -> None:
        """The TLS engine of `connection` has events, although nobody fed it."""
        if id(connection) in self.connections:
            self._tls_answers[id(connection)] = connection
            self.wake(connection)
            if self.on_answer is not None:
                self.on_answer()

    def _take_tls_answers(self, now: int) -> None:
        answers, self._tls_answers = self._tls_answers, {}
        for connection in answers.values():
            connection.on_tls_answer(now)
            if connection.handshake_complete:
                self._half_open.pop(id(connection), None)

    def draw_connection_id(self) -> bytes | None:
        """Return a connection ID of nothing but random bytes that no connection has (rfc9000:5.1:1).

        None when a number of draws found only IDs in use, because they are short and many.
        """
        for _ in range(MAX_CONNECTION_ID_DRAWS):
            connection_id = self._rng.randbytes(self._cid_length)
            if connection_id not in self._by_cid:
                return connection_id
        return None

    def register(self, connection_id: bytes, connection: Connection) -> None:
        """Route packets with `connection_id` to `connection`, unless another connection has the ID."""
        self._by_cid.setdefault(connection_id, connection)

    def unregister(self, connection_id: bytes) -> None:
        """Route them there no more."""
        self._by_cid.pop(connection_id, None)

    def watch_path(self, connection: Connection, local: Address, remote: Address) -> None:
        """Datagrams between these addresses may be `connection`'s although their connection ID does not tell."""
        self._resets.watch(connection, local, remote)
        if not self._cid_length:
            self._by_addresses[local, remote] = connection

    def unwatch_path(self, connection: Connection, local: Address, remote: Address) -> None:
        """They are no more."""
        self._resets.forget(connection, local, remote)
        if self._by_addresses.get((local, remote)) is connection:
            del self._by_addresses[local, remote]

    def new_token(self, connection: Connection, now: int) -> bytes:
        """Return a token that the client of `connection` may use for another one."""
        return self._address_validation.new_token(connection.path.remote, connection.version.number, now)

    # Inside

    def _is_taken(self, local: Address) -> bool:
        """Whether another connection would need connection IDs to be told from one at `local` (rfc9000:5.1:3)."""
        if self._cid_length:
            return False
        return any(each.path.local == local and not each.closed for each in self.connections.values())

    def _check_token(self, token: NewToken, remote: Address, version: int) -> None:
        if token.server != remote:
            # rfc9000:8.1.3:10
            raise ConfigError(f"token: is from {token.server}, must be from the server at {remote}")
        if token.version != version:
            # rfc9369:5:1
            raise ConfigError(
                f"token: is of a connection in version 0x{token.version:x}, must be of the version that this one "
                f"starts with, 0x{version:x}"
            )
        if token.token in self._used_tokens:
            # rfc9000:8.1.3:13
            raise ConfigError("token: was used for another connection, and serves one only")

    def _make(
        self,
        local: Address,
        remote: Address,
        version: int,
        remote_cid: bytes,
        original: bytes,
        is_client: bool,
        now: int,
    ) -> Connection | None:
        """Make a connection; None when all connection IDs of the configured length are in use."""
        local_cid = self.draw_connection_id()
        if local_cid is None:
            return None
        connection = Connection(
            self,
            self._config,
            self._rng,
            self._observer,
            is_client=is_client,
            local=local,
            remote=remote,
            version=version,
            local_cid=local_cid,
            remote_cid=remote_cid,
            original_destination_cid=original,
            reset_key=self._reset_key,
            now=now,
        )
        self.connections[id(connection)] = connection
        self.watch_path(connection, local, remote)
        if local_cid:
            self.register(local_cid, connection)
        self.wake(connection)
        return connection

    def _on_unknown(
        self, data: bytes, connection_id: bytes, source: Address, destination: Address, ecn: int, now: int
    ) -> Connection | None:
        """A datagram for no connection: it may end one, start one, which is returned, or call for a stateless reset."""
        reset = self._resets.reset_by(data, destination, source)
        if reset is not None:
            reset.closing.on_stateless_reset(now)
            self.wake(reset)
            return None
        if data[0] & _LONG_FORM:
            return self._accept(data, source, destination, ecn, now)
        if self._config.stateless_reset:
            packet = self._resets.answer(data, connection_id, now)
            if packet is not None:
                self._outbox.append(Transmit(packet, destination, source, 0))
        return None

    def _accept(self, data: bytes, source: Address, destination: Address, ecn: int, now: int) -> Connection | None:
        """A datagram for no connection: make one if it starts one, or answer with Version Negotiation or Retry.

        One of 0-RTT packets, which may have overtaken the one that starts its connection, is kept for a while.
        """
        if not self._config.accept:
            return None
        try:
            header = wire.parse_long_header(data, 0, self._config.grease_quic_bit)
        except wire.HeaderError:
            return None
        if header.packet_type == wire.VERSION_NEGOTIATION:
            return None  # rfc9000:6.1:1
        if header.packet_type == wire.ZERO_RTT and self.accepting and header.version in self._config.versions:
            if len(header.destination_cid) >= CLIENT_FIRST_CID_LENGTH:
                # rfc9000:5.2.2:6
                self._early.keep(EarlyArrival(header.destination_cid, data, source, destination, ecn))
            return None
        if len(data) < wire.SMALLEST_INITIAL_DATAGRAM:
            return None
        if header.packet_type == wire.UNKNOWN_VERSION or header.version not in self._config.versions:
            self._offer_versions(header, source, destination)
            return None
        if header.packet_type != wire.INITIAL or len(header.destination_cid) < CLIENT_FIRST_CID_LENGTH:
            return None  # rfc9000:5.2.2:7, rfc9000:5.2.2:8
        if not self.accepting or len(self._half_open) >= MAX_HALF_OPEN_CONNECTIONS or self._is_taken(destination):
            self._outbox.append(Transmit(AddressValidation.refuse(header), destination, source, 0))
            return None
        admitted = self._address_validation.judge(header, source, len(self._half_open), now)
        if isinstance(admitted, bytes):
            self._outbox.append(Transmit(admitted, destination, source, 0))  # rfc9000:17.2.5.1:5
            return None
        keys = initial_keys(VERSIONS[header.version], header.destination_cid)
        if not _is_authentic(data, header, keys[0]):
            return None
        self._address_validation.redeem(admitted)
        original = admitted.original_destination_cid
        connection = self._make(destination, source, header.version, header.source_cid, original, False, now)
        if connection is None:
            self._outbox.append(Transmit(AddressValidation.refuse(header), destination, source, 0))
            return None
        connection.retry_source_cid = admitted.retry_source_cid
        connection.path.validated = admitted.token is not None
        self.emit(connection, ConnectionAccepted(connection))
        connection.start(None, now, keys)
        self.register(header.destination_cid, connection)
        self._half_open[id(connection)] = connection
        return connection

    def _offer_versions(self, header: wire.LongHeader, source: Address, destination: Address) -> None:
        """Answer a version that we don't speak with Version Negotiation, one per datagram (rfc9000:17.2.1:7)."""
        packet = wire.encode_version_negotiation(
            header.source_cid, header.destination_cid, self._config.versions, self._rng.getrandbits(7)
        )
        self._outbox.append(Transmit(packet, destination, source, 0))

    def _set_alarm(self, connection: Connection) -> None:
        at = connection.deadline()
        key = id(connection)
        if at < self._alarm_of.get(key, NEVER):
            self._alarm_of[key] = at
            self._alarm_count += 1
            heappush(self._alarms, (at, self._alarm_count, connection))
            if len(self._alarms) > ALARMS_PER_CONNECTION * len(self._alarm_of):
                self._alarms = [alarm for alarm in self._alarms if self._alarm_of.get(id(alarm[2])) == alarm[0]]
                heapify(self._alarms)

    def _forget(self, connection: Connection) -> None:
        key = id(connection)
        connection.release()
        if not connection.is_client:
            self.unregister(connection.initial_destination_cid)
        for path in connection.paths.all:
            self.unwatch_path(connection, path.local, path.remote)
        self._half_open.pop(key, None)
        self._alarm_of.pop(key, None)
        self._ready.pop(key, None)
        self._tls_answers.pop(key, None)
        self.connections.pop(key, None)


def _is_authentic(data: bytes, header: wire.LongHeader, keys: Keys) -> bool:
    """Whether a client's first Initial arrived as it was sent; `keys` are those that the client seals it with.

    A connection made for a damaged one would take its Source Connection ID for the client's and so never hear the
    client, which goes on sending to the same Destination Connection ID.
    """
    unprotected = unprotect_header(keys.header, data, 0, header.packet_number_offset, header.end, -1)
    if unprotected is None:
        return False
    _, number, payload_start, authenticated = unprotected
    return keys.protection.open(number, authenticated, data[payload_start : header.end]) is not None
