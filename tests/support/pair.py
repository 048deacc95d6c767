"""Two endpoints in memory: a clock in ns that jumps to what is next, one-way delay, datagrams lost on demand."""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.connection import Connection
from stack.crypto.packet_protection import protect_packet
from stack.endpoint import Endpoint, Event
from stack.events import ConnectionAccepted, StreamReadable
from stack.observer import Address
from stack.tls.certificates import Credentials
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION
from stack.transmit import Transmit
from stack.wire.header import encode_long_header
from tests.support.recorder import ConnectionRecorder, Packet, Recorder

MS = 1_000_000
SECOND = 1_000_000_000

CLIENT_ADDRESS = ("10.0.0.1", 50_000)
SERVER_ADDRESS = ("10.0.0.2", 4433)
PACKET_NUMBER_LENGTH = 4  # of packets that tests make by hand


class Datagram(NamedTuple):
    """One datagram on its way; `number` counts those of its direction from 0."""

    at: int
    to_server: bool
    number: int
    payload: bytes
    source: Address = CLIENT_ADDRESS  # as the sender sees it
    destination: Address = SERVER_ADDRESS
    ecn: int = 0


Drop = Callable[[Datagram], bool]
Remark = Callable[[Datagram], int]


class Pair:
    """A client and a server endpoint and the wire between them."""

    def __init__(
        self,
        *,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        delay_ns: int = 10 * MS,
        drop: Drop | None = None,
        remark: Remark | None = None,
        seed: int = 1,
        chain: int = 1,
    ) -> None:
        """`client` and `server`: fields of Config that differ from the default; `drop` true loses a datagram,
        `remark` returns the ECN codepoint with which it arrives.

        `chain` is the number of certificates that the server sends, of some 400 bytes each.
        """
        self.now = 0
        self.delay_ns = delay_ns
        self.drop = drop
        self.remark = remark
        self.public = CLIENT_ADDRESS  # what a NAT makes of the client's address; `rebind` sets another
        self.stale: list[Address] = []  # what it was before
        self.slow: dict[Address, int] = {}  # one-way delay in ns from and to other addresses of the client
        leaf = test_certificate()
        credentials = Credentials(leaf.certificates * chain, leaf.private_key)
        self.client_recorder, self.server_recorder = Recorder(), Recorder()
        client_fields = {"tls": ClientTls(trust=credentials), **(client or {})}
        server_fields = {"tls": ServerTls(credentials=credentials), "accept": True, **(server or {})}
        self.client = Endpoint(Config(**client_fields), random.Random(seed), self.client_recorder)
        self.server = Endpoint(Config(**server_fields), random.Random(seed + 1), self.server_recorder)
        self.sent: list[Datagram] = []  # including those that were lost
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.server_connection: Connection | None = None  # the newest accepted
        self._wire: list[tuple[int, int, bool, Transmit]] = []
        self._order = 0

    # Connections

    def connect(self) -> Connection:
        """Start a connection, and send nothing yet."""
        return self.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, self.now, "localhost")

    def established(self) -> tuple[Connection, Connection]:
        """Connect, run until all is confirmed and quiet, and return the client's and the server's connection."""
        connection = self.connect()
        self.run(lambda: connection.handshake_confirmed)
        self.settle(200 * MS + 10 * self.delay_ns)
        assert self.server_connection is not None
        assert self.server_connection.handshake_confirmed
        return connection, self.server_connection

    def recorder_of(self, connection: Connection) -> ConnectionRecorder:
        """What was recorded of a connection, the newest of its side."""
        recorder = self.client_recorder if connection.is_client else self.server_recorder
        return recorder.connections[-1]

    def datagrams_of(self, connection: Connection) -> list[tuple[Datagram, list[Packet]]]:
        """What a connection, the only one of its side, has sent: each datagram and its packets."""
        packets = iter(self.recorder_of(connection).sent)
        result: list[tuple[Datagram, list[Packet]]] = []
        for datagram in self.sent:
            if datagram.to_server == connection.is_client:
                size, inside = 0, list[Packet]()
                while size < len(datagram.payload):
                    inside.append(next(packets))
                    size += inside[-1].size
                assert size == len(datagram.payload)
                result.append((datagram, inside))
        return result

    def rebind(self, public: Address) -> None:
        """From now on the server sees the client at another address, and the old one leads nowhere."""
        self.stale.append(self.public)
        self.public = public

    # The clock

    def flush(self) -> int:
        """Put on the wire what both endpoints may send now; return how many datagrams that were."""
        count = 0
        for to_server, endpoint in ((True, self.client), (False, self.server)):
            for transmit in endpoint.transmit(self.now):
                count += 1
                self._send(transmit, to_server)
            self._collect(endpoint, to_server)
        return count

    def step(self) -> bool:
        """Send what can be sent, then go on to the next arrival or deadline; false if there is none."""
        self.flush()
        at = self.next_at()
        if at is None:
            return False
        self.now = max(self.now, at)
        while self._wire and self._wire[0][0] <= self.now:
            _, _, to_server, transmit = heappop(self._wire)
            endpoint = self.server if to_server else self.client
            endpoint.receive(transmit.payload, transmit.source, transmit.destination, transmit.ecn, self.now)
        self.flush()
        for endpoint in (self.client, self.server):
            deadline = endpoint.deadline()
            if deadline is not None and deadline <= self.now:
                endpoint.timeout(self.now)
        self.flush()
        return True

    def next_at(self) -> int | None:
        """The time of the next arrival or deadline."""
        times = [self._wire[0][0]] if self._wire else []
        times += [at for at in (self.client.deadline(), self.server.deadline()) if at is not None]
        return min(times, default=None)

    def run(self, until: Callable[[], bool], steps: int = 100_000) -> None:
        """Step until `until()` holds; fails when nothing more can happen before, or after `steps` steps."""
        self.flush()
        for _ in range(steps):
            if until():
                return
            assert self.step(), f"nothing more happens after {self.now} ns"
        raise AssertionError(f"not reached after {steps} steps, at {self.now} ns")

    def run_until(self, at: int) -> None:
        """Let everything happen that is due by time `at`, and set the clock to it."""
        self.flush()
        while (next_at := self.next_at()) is not None and next_at <= at:
            self.step()
        self.now = max(self.now, at)
        self.flush()

    def run_for(self, duration_ns: int) -> None:
        """Let `duration_ns` pass."""
        self.run_until(self.now + duration_ns)

    def settle(self, quiet_ns: int = SECOND) -> None:
        """Run until nothing has been sent for `quiet_ns`."""
        while True:
            before = len(self.sent)
            self.run_for(quiet_ns)
            if len(self.sent) == before:
                return

    # Crafted packets

    def inject(self, sender: Connection, payload: bytes, level: int = APPLICATION, **changes: Any) -> None:
        """Deliver a packet with these frames at once, as if `sender` had sent it. `changes` as of `craft`."""
        self.deliver(self.craft(sender, payload, level, **changes), to_server=sender.is_client)

    def deliver(self, payload: bytes, to_server: bool, ecn: int = 0) -> None:
        """Hand a datagram to one endpoint now, and collect the events."""
        source, destination = (self.public, SERVER_ADDRESS) if to_server else (SERVER_ADDRESS, CLIENT_ADDRESS)
        endpoint = self.server if to_server else self.client
        endpoint.receive(payload, source, destination, ecn, self.now)
        self._collect(endpoint, not to_server)

    @staticmethod
    def craft(
        sender: Connection,
        payload: bytes,
        level: int = APPLICATION,
        *,
        number: int | None = None,
        reserved: int = 0,
        token: bytes = b"",
        source_cid: bytes | None = None,
        destination_cid: bytes | None = None,
    ) -> bytes:
        """Return a packet protected with `sender`'s keys; `reserved` are header bits to set."""
        space = next(space for space in sender.spaces if space.level == level)
        assert space.write_keys is not None
        if number is None:
            number = space.next_packet_number
        space.next_packet_number = max(space.next_packet_number, number + 1)
        destination = sender.remote_ids.current if destination_cid is None else destination_cid
        if level == APPLICATION:
            encoded_number = number.to_bytes(PACKET_NUMBER_LENGTH)
            first = 0x40 | space.write_phase | reserved | PACKET_NUMBER_LENGTH - 1
            header = bytes((first,)) + destination + encoded_number
        else:
            header = encode_long_header(
                sender.version,
                space.packet_type,
                destination,
                sender.local_ids.first if source_cid is None else source_cid,
                token,
                len(payload) + 16,
                number,
                PACKET_NUMBER_LENGTH,
            )
            header = bytes((header[0] | reserved,)) + header[1:]
        return protect_packet(space.write_keys, header, PACKET_NUMBER_LENGTH, number, payload)

    # Application data

    def transfer(self, sender: Connection, receiver: Connection, data: bytes) -> tuple[int, bytes]:
        """Send `data` on a new stream from `sender`, read it all at `receiver`; return the stream and what was read."""
        stream_id = sender.open_stream()
        assert stream_id is not None
        return stream_id, self.pump(sender, receiver, stream_id, data)

    def pump(self, sender: Connection, receiver: Connection, stream_id: int, data: bytes) -> bytes:
        """Write `data` and the end to a stream as room allows, and read it at the other end until finished."""
        written, ended, finished = 0, False, False
        received = bytearray()
        events = self.events_of(receiver)
        while not finished:
            if not ended:
                written += sender.write(stream_id, memoryview(data)[written:], True)
                ended = written == len(data)
            if any(event == StreamReadable(stream_id) for event in events):
                events[:] = [event for event in events if event != StreamReadable(stream_id)]
                chunk: bytes | None = None
                while chunk != b"" and not finished:
                    chunk, finished = receiver.read(stream_id)
                    received += chunk
            elif not self.step():
                raise AssertionError(f"transfer stuck at {len(received)} of {len(data)} bytes")
        return bytes(received)

    def read_all(self, receiver: Connection, stream_id: int) -> bytes:
        """Let time pass until a stream has ended at `receiver`, and return what came on it."""
        received, finished = bytearray(), False
        while not finished:
            assert self.step()
            chunk, finished = receiver.read(stream_id)
            received += chunk
        return bytes(received)

    def events_of(self, connection: Connection) -> list[Event]:
        """The list of events of a connection's side; tests may clear it."""
        return self.client_events if connection.is_client else self.server_events

    def _collect(self, endpoint: Endpoint, is_client: bool) -> None:
        events = self.client_events if is_client else self.server_events
        for connection, event in endpoint.events():
            if isinstance(event, ConnectionAccepted):
                self.server_connection = connection
            events.append(event)

    def _send(self, transmit: Transmit, to_server: bool) -> None:
        number = sum(1 for datagram in self.sent if datagram.to_server == to_server)
        datagram = Datagram(self.now, to_server, number, *transmit)
        self.sent.append(datagram)
        if self.drop is not None and self.drop(datagram):
            return
        if self.remark is not None:
            transmit = transmit._replace(ecn=self.remark(datagram))
        if self.public != CLIENT_ADDRESS:
            translated = self._translate(transmit, to_server)
            if translated is None:
                return
            transmit = translated
        self._order += 1
        client = transmit.source if to_server else transmit.destination
        delay_ns = self.slow.get(client, self.delay_ns) if self.slow else self.delay_ns
        heappush(self._wire, (self.now + delay_ns, self._order, to_server, transmit))

    def _translate(self, transmit: Transmit, to_server: bool) -> Transmit | None:
        """What the client's NAT does: it knows the newest mapping only, and leaves other addresses alone."""
        if to_server:
            return transmit._replace(source=self.public) if transmit.source == CLIENT_ADDRESS else transmit
        if transmit.destination == self.public:
            return transmit._replace(destination=CLIENT_ADDRESS)
        return None if transmit.destination in self.stale else transmit


def say(connection: Connection, data: bytes = b"hello") -> None:
    """Send a little on a new stream."""
    stream_id = connection.open_stream()
    assert stream_id is not None
    connection.write(stream_id, data)
