"""A client and a server endpoint on a simulated network, for tests that see the stack's own verbs and events.

Both ends read whatever arrives and write what they were given as soon as there is room for it.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from links import Datagram, Delay, Duplicate, Element, Loss, Rate, Reorder
from links.units import nanoseconds
from quicsim import Simulation, test_certificate
from quicsim.host import SENT, Host
from quicsim.observers import Observers
from stack import events
from stack.config import Config
from stack.connection import Connection
from stack.endpoint import Endpoint, Event
from stack.errors import StreamReset, StreamStopped
from stack.tls.config import ClientTls, ServerTls
from tests.support.recorder import ConnectionRecorder, Recorder

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
PORT: Final = 4433


class Impairment:
    """What a network does to datagrams; `seed` None: nothing but delay. `networks` are those that were made with it."""

    def __init__(self, seed: int | None, loss: float = 0.05) -> None:
        self.seed: Final = seed
        self.loss: Final = loss
        self.networks: Final[list[Network]] = []

    def again(self) -> "Impairment":
        """The same for other networks."""
        return Impairment(self.seed, self.loss)

    @property
    def digests(self) -> list[str]:
        """What tells whether two runs were the same, to the bit and the nanosecond."""
        return [network.simulation.digest for network in self.networks]

    @property
    def impaired(self) -> bool:
        """Whether datagrams get lost, overtaken and duplicated."""
        return self.seed is not None

    def elements(self) -> list[Element]:
        """One direction: 10 Mbit/s and 10 ms; if impaired, with losses, 5 % held back for 4 ms and 5 % sent twice."""
        clean: list[Element] = [Rate("10Mbps"), Delay("10ms")]
        return [*clean, Loss(self.loss), Reorder(0.05, "4ms"), Duplicate(0.05, "2ms")] if self.impaired else clean

    def __str__(self) -> str:
        return f"seed {self.seed}" if self.impaired else "clean"


class End:
    """One endpoint on a socket of a host: the driver of that socket, and an application that reads and writes all."""

    def __init__(self, network: "Network", host: Host, config: Config, port: int | None) -> None:
        self.network = network
        self.recorder = Recorder()
        self.events: list[tuple[Connection, Event]] = []
        self.connections: list[Connection] = []  # in the order in which they began
        self.received: dict[tuple[Connection, int], bytearray] = {}
        self.finished: list[tuple[Connection, int]] = []  # streams that were read to their end, in this order
        self.resets: dict[tuple[Connection, int], int] = {}  # the peer's error code of those that it gave up
        self.datagrams: list[bytes] = []
        self.tapped: list[Datagram] = []  # what the host has sent, copied
        self._writing: dict[tuple[Connection, int], tuple[memoryview, bool]] = {}  # the rest, and whether it ends
        self._config = config
        self._host = host
        host.taps.append(self._tap)
        self.socket = host.bind(host.addresses, port)
        self.socket.driver = self  # type: ignore[assignment]  # it receives and wakes
        self.endpoint = self._make(host.name)

    def _make(self, name: str) -> Endpoint:
        random = Random(f"{self.network.simulation.seed}/{name}")
        watching = self.network.simulation.observer(self._host.name)
        return Endpoint(self._config, random, Observers([self.recorder, watching]))

    def forget_all(self) -> None:
        """Start again without any connection, but with the same secrets, as after a crash."""
        self.endpoint = self._make(self._host.name)

    def renew(self, **changes: Any) -> None:
        """Go on as another endpoint, without any connection; `changes` are fields of Config."""
        self._config = replace(self._config, **changes)
        self.endpoint = self._make(f"{self._host.name}/{len(self.connections)}")

    def recorder_of(self, connection: Connection) -> ConnectionRecorder:
        """What was recorded of a connection."""
        return self.recorder.connections[self.connections.index(connection)]

    def happened(self, kind: type) -> list[Any]:
        """The events of one kind so far."""
        return [event for _, event in self.events if type(event) is kind]

    def write(self, connection: Connection, stream_id: int, data: bytes | memoryview, end: bool = True) -> None:
        """Write all of `data`, and the end of the stream, in as many steps as it takes."""
        taken = connection.write(stream_id, memoryview(data), end)
        if taken < len(data):
            self._writing[connection, stream_id] = memoryview(data)[taken:], end

    # What the socket calls

    def receive(self, data: bytes, source: tuple[str, int], destination: tuple[str, int], ecn: int) -> None:
        """A datagram has arrived."""
        self.endpoint.receive(data, source, destination, ecn, self.network.now)
        self.flush()

    def wake(self) -> None:
        """A deadline has come."""
        self.endpoint.timeout(self.network.now)
        self.flush()

    def flush(self) -> None:
        """Handle what happened and send what can be sent."""
        happened = self.endpoint.events()
        while True:
            for connection, event in happened:
                self.events.append((connection, event))
                self._handle(connection, event)
            if transmits := self.endpoint.transmit(self.network.now):
                self.socket.send(transmits)
            happened = self.endpoint.events()
            if not happened:
                break
        self.socket.wake_at(self.endpoint.deadline())
        self.network.look()

    def _handle(self, connection: Connection, event: Event) -> None:
        if isinstance(event, events.ConnectionAccepted):
            self.connections.append(connection)
        elif isinstance(event, events.StreamReadable):
            self._read(connection, event.stream_id)
        elif isinstance(event, events.StreamWritable):
            rest = self._writing.pop((connection, event.stream_id), None)
            if rest is not None:
                try:
                    self.write(connection, event.stream_id, *rest)
                except StreamStopped as stopped:
                    connection.reset(event.stream_id, stopped.code)
        elif isinstance(event, events.DatagramReceived):
            self.datagrams.append(event.data)

    def _read(self, connection: Connection, stream_id: int) -> None:
        received = self.received.setdefault((connection, stream_id), bytearray())
        try:
            data, finished = connection.read(stream_id)
            while data or finished:
                received += data
                if finished:
                    self.finished.append((connection, stream_id))
                    return
                data, finished = connection.read(stream_id)
        except StreamReset as reset:
            self.resets[connection, stream_id] = reset.code

    def _tap(self, _: str, __: int, direction: str, datagram: Datagram) -> None:
        if direction == SENT:
            self.tapped.append(datagram.copy())


class Network:
    """Hosts "client" and "server" with a link between them; `client` and `server` are fields of Config.

    `client_addresses` and `server_addresses` are their hosts' (the first of each is where a connection starts), each
    pair of one IP version with a link of its own. With `nat`, these are the addresses of a NAT before the client.
    `extra` elements stand at the end of both directions.
    """

    def __init__(
        self,
        impairment: Impairment,
        *,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        client_tls: dict[str, Any] | None = None,
        server_tls: dict[str, Any] | None = None,
        client_addresses: tuple[str, ...] = ("10.0.0.1",),
        server_addresses: tuple[str, ...] = ("10.0.9.1",),
        nat: tuple[str, ...] = (),
        extra: Callable[[], list[Element]] = list,
    ) -> None:
        self.impairment = impairment
        impairment.networks.append(self)
        self.simulation = simulation = Simulation(impairment.seed or 0, check=True)
        self._until: Callable[[], bool] | None = None
        self._reached: Any = None
        hosts = [simulation.host("client", client_addresses), simulation.host("server", server_addresses)]
        self.nat = simulation.nat("client", nat) if nat else None
        for near in client_addresses:
            for far in server_addresses:
                if (":" in near) == (":" in far):
                    up, down = (impairment.elements() + extra() for _ in range(2))
                    simulation.link(near, far, up, down)
        credentials = test_certificate()
        tls = ClientTls(**({"trust": credentials} | (client_tls or {})))
        self.client = End(self, hosts[0], Config(**({"tls": tls} | (client or {}))), None)
        server_fields = {"tls": ServerTls(**({"credentials": credentials} | (server_tls or {}))), "accept": True}
        self.server = End(self, hosts[1], Config(**(server_fields | (server or {}))), PORT)

    @property
    def now(self) -> int:
        """The time in ns."""
        return self.simulation.now

    def end_of(self, connection: Connection) -> End:
        """The end that a connection belongs to."""
        return self.client if connection.is_client else self.server

    def peer_of(self, connection: Connection) -> End:
        """The end that it speaks to."""
        return self.server if connection.is_client else self.client

    # Time

    def run(self, until: Callable[[], bool], limit: str = "60s") -> None:
        """Let things happen until `until()` holds; raises TimeoutError or DeadlockError if it never does."""
        self.client.flush()
        self.server.flush()
        if until():
            return
        engine = self.simulation.engine
        self._until, self._reached = until, engine.future("what the test waits for")

        async def wait() -> None:
            await self._reached

        engine.run(engine.start(wait, "the test"), self.now + nanoseconds(limit))

    def look(self) -> None:
        """See whether that has happened which the test waits for."""
        if self._until is not None and self._until():
            self._until = None
            self._reached.set_result(None)

    def run_for(self, duration: str) -> None:
        """Let time pass."""
        self.client.flush()
        self.server.flush()
        self.simulation.run(until=self.now + nanoseconds(duration))

    # Connections

    def connect(self, token: events.NewToken | None = None) -> Connection:
        """Start a connection from the client's to the server's first address."""
        client, server = self.client, self.server
        connection = client.endpoint.connect(
            client.socket.addresses[0], server.socket.addresses[0], self.now, "localhost", token
        )
        client.connections.append(connection)
        return connection

    def established(self, token: events.NewToken | None = None) -> tuple[Connection, Connection]:
        """Connect, wait until both ends have confirmed the handshake, and return the two ends of the connection."""
        before = len(self.server.connections)
        client = self.connect(token)
        self.run(lambda: client.handshake_confirmed and len(self.server.connections) > before)
        server = self.server.connections[-1]
        self.run(lambda: server.handshake_confirmed)
        return client, server

    # Data

    def send(self, sender: Connection, data: bytes) -> int:
        """Begin to send `data` on a new unidirectional stream, and return its ID."""
        stream_id = sender.open_stream(unidirectional=True)
        assert stream_id is not None
        self.end_of(sender).write(sender, stream_id, data)
        return stream_id

    def exchange(self, client: Connection, server: Connection, size: int = 20_000) -> None:
        """Send that many bytes each way at once, and check that they arrive as they were sent."""
        there, back = content(size, 1), content(size, 2)
        sent = [(server, self.send(client, there), there), (client, self.send(server, back), back)]
        self.deliver(sent)

    def deliver(self, sent: list[tuple[Connection, int, bytes]]) -> None:
        """Wait for streams (receiver, ID, data) to arrive, and check that they do as they were sent."""
        waiting = {(receiver, stream_id): self.end_of(receiver) for receiver, stream_id, _ in sent}
        self.run(lambda: all(stream in end.finished for stream, end in waiting.items()))
        for receiver, stream_id, data in sent:
            assert self.end_of(receiver).received[receiver, stream_id] == data


def content(size: int, seed: int) -> bytes:
    """Bytes that differ everywhere."""
    return Random(seed).randbytes(size)
