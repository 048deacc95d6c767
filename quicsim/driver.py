"""Runs one endpoint of the stack: datagrams in and out, events to connections, one timer. The net does the rest."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from quicsim.connection import Connection
from quicsim.futures import Future
from stack import events
from stack.observer import Address

if TYPE_CHECKING:
    from stack import connection as stack
    from stack.endpoint import Endpoint
    from stack.transmit import Transmit


class Carrier(Protocol):
    """What a driver needs of its net: a clock, futures, a UDP socket and one timer."""

    @property
    def now(self) -> int:
        """The time in ns."""
        ...

    def new_future(self, what: str) -> Future[Any]:
        """Return a future that applications on this net can await."""
        ...

    def send(self, transmits: "list[Transmit]") -> None:
        """Send datagrams, in this order."""

    def wake_at(self, at: int | None) -> None:
        """Call the driver's `wake` at the time `at` (ns), or never; replaces what was asked before."""

    def bind(self, address: str) -> Address:
        """Receive at another of the host's IP addresses too; returns it with a port. Raises ValueError, OSError."""
        ...

    def release(self) -> None:
        """The driver has no connections left and takes none: forget its socket."""


class Driver:
    """Feeds an endpoint and passes on what it says.

    `established` is called with each server connection whose handshake completes; None on a client's
    endpoint, which is released when its last connection has gone.
    """

    def __init__(
        self, endpoint: "Endpoint", carrier: Carrier, established: Callable[[Connection], None] | None = None
    ) -> None:
        self.endpoint = endpoint
        self._carrier = carrier
        self._established = established
        self._connections: dict[stack.Connection, Connection] = {}
        endpoint.on_answer = lambda: carrier.wake_at(carrier.now)

    @property
    def now(self) -> int:
        """The time in ns."""
        return self._carrier.now

    def new_future(self, what: str) -> Future[Any]:
        """Return a future of the net's."""
        return self._carrier.new_future(what)

    def bind(self, address: str) -> Address:
        """Receive at another of the host's IP addresses too; returns it with a port."""
        return self._carrier.bind(address)

    def connect(
        self, local: Address, remote: Address, server_name: str | None, token: events.NewToken | None = None
    ) -> Connection:
        """Start a connection to `remote`; a token of another address is left alone."""
        if token is not None and token.server != remote:
            token = None
        opened = self.endpoint.connect(local, remote, self.now, server_name, token)
        self._connections[opened] = connection = Connection(opened, self)
        self.flush()
        return connection

    def receive(self, data: bytes, source: Address, destination: Address, ecn: int) -> None:
        """A datagram has arrived."""
        self.endpoint.receive(data, source, destination, ecn, self._carrier.now)
        self.flush()

    def receive_all(self, datagrams: Iterable[tuple[bytes, Address, Address, int]]) -> None:
        """Several datagrams have arrived: payload, source, destination and ECN codepoint of each."""
        endpoint, now = self.endpoint, self._carrier.now
        for payload, source, destination, ecn in datagrams:
            endpoint.receive(payload, source, destination, ecn, now)
        self.flush()

    def wake(self) -> None:
        """The time asked for by `wake_at` has come."""
        self.endpoint.timeout(self._carrier.now)
        self.flush()

    def flush(self) -> None:
        """Pass on events, send what is to be sent, set the timer."""
        endpoint, carrier = self.endpoint, self._carrier
        now = carrier.now
        happened = endpoint.events()
        while True:
            for connection, event in happened:
                self._handle(connection, event)
            # After the events, for a waiting read that was served may have opened flow control.
            transmits = endpoint.transmit(now)
            if transmits:
                carrier.send(transmits)
            happened = endpoint.events()
            if not happened:
                break
        carrier.wake_at(endpoint.deadline())
        if self._established is None and not endpoint.connections:
            carrier.release()

    def unreachable(self, remote: Address) -> None:
        """The network says that nobody is at `remote`: give up the handshakes with it.

        An established connection does not believe that: anybody may have said it (rfc9000:14.2.1:5).
        """
        for connection in list(self._connections):
            if connection.path.remote == remote and not connection.handshake_complete:
                connection.close(self.now)
        self.flush()

    def close_all(self) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            connection.close(self.now)
        self.flush()

    def stop_accepting(self) -> None:
        """Take no more connections; the socket is released when the last one has gone."""
        self._established = None
        self.flush()

    def _handle(
        self, connection: "stack.Connection", event: events.ConnectionAccepted | events.ConnectionEvent
    ) -> None:
        if isinstance(event, events.ConnectionAccepted):
            self._connections[connection] = Connection(connection, self)
            return
        wrapper = self._connections[connection]
        wrapper.handle(event)
        if isinstance(event, events.EarlyDataAccepted) or (
            isinstance(event, events.HandshakeCompleted)
            and not connection.is_client
            and not connection.early_data.accepted
        ):
            if self._established is not None:
                self._established(wrapper)
            else:
                connection.close(self.now)
        elif isinstance(event, events.ConnectionEnded):
            del self._connections[connection]
