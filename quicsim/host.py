"""Hosts of a simulated network: addresses, UDP sockets and routes."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

from links import Address, Datagram
from quicsim.contents import Contents
from quicsim.engine import Engine, Future

if TYPE_CHECKING:
    from stack.transmit import Transmit

SENT: Final = "sent"
RECEIVED: Final = "received"
Tap = Callable[[str, int, str, Datagram], object]  # host name, time in ns, SENT or RECEIVED, datagram
Send = Callable[[Datagram, int], object]  # puts a datagram on a link at a time in ns

FIRST_EPHEMERAL_PORT: Final = 49_152


class Host:
    """A machine of the simulated network.

    `routes` leads from a source and a destination address to the link that joins them; where none does,
    `find(source, destination)` returns the link on which the way through routers begins. `unroutable` counts datagrams
    for which there was neither, `unreachable` those that came for a port that nobody has.
    """

    def __init__(
        self,
        name: str,
        addresses: tuple[str, ...],
        engine: Engine,
        numbers: Iterator[int],
        find: Callable[[str, str], Send | None] = lambda source, destination: None,
    ) -> None:
        self.name: Final = name
        self.addresses: Final = addresses
        self.engine: Final = engine
        self.numbers: Final = numbers  # of datagrams, shared by all hosts
        self.routes: dict[tuple[str, str], Send] = {}
        self._find: Final = find
        self._ways: dict[tuple[str, str], Send] = {}  # through routers, those found so far
        self.taps: list[Tap] = []
        self.contents: Contents | None = None  # of what it sends, if a link asks
        self.unroutable = 0
        self.unreachable = 0
        self._sockets: dict[Address, Socket] = {}
        self._next_port = FIRST_EPHEMERAL_PORT

    def bind(self, addresses: tuple[str, ...], port: int | None = None) -> "Socket":
        """Return a socket for `port` of `addresses`, by default the next free port. Errors as of `assign`."""
        socket = Socket(self)
        self.assign(socket, addresses, port)
        return socket

    def assign(self, socket: "Socket", addresses: tuple[str, ...], port: int | None) -> None:
        """Give a socket a `port` of further `addresses`, by default the next free port.

        Raises OSError when the port is in use, ValueError when the host does not have an address or it is no port.
        """
        if port is None:
            port = self._next_port
            self._next_port += 1
        elif not 0 < port < 1 << 16:
            raise ValueError(f"port {port}: must be from 1 to 65535")
        for address in addresses:
            if address not in self.addresses:
                raise ValueError(f"host {self.name}: must have the address {address}, not {', '.join(self.addresses)}")
            if (address, port) in self._sockets:
                raise OSError(f"host {self.name}: port {port} of {address} is in use")
        bound = tuple((address, port) for address in addresses)
        self._sockets.update(dict.fromkeys(bound, socket))
        socket.addresses += bound

    def release(self, addresses: tuple[Address, ...]) -> None:
        """Free a socket's addresses."""
        for address in addresses:
            self._sockets.pop(address, None)

    def send(self, datagram: Datagram) -> None:
        """Put a datagram on the link to its destination."""
        if self.taps:
            self._show(SENT, datagram, self.engine.now)
        pair = (datagram.source[0], datagram.destination[0])
        send = self.routes.get(pair) or self.way(*pair)
        if send is None:
            self.unroutable += 1
        else:
            send(datagram, datagram.sent_at)

    def way(self, source: str, destination: str) -> Send | None:
        """Return what puts a datagram on its way from an address of the host to another one, None if there is none."""
        pair = (source, destination)
        send = self.routes.get(pair) or self._ways.get(pair)
        if send is None:
            send = self._find(source, destination)
            if send is not None:
                self._ways[pair] = send
        return send

    def forget(self) -> None:
        """Find all ways through routers anew: there are other links."""
        self._ways.clear()

    def receive(self, datagram: Datagram, now: int) -> None:
        """Hand a datagram, which has come at `now` (ns), to the socket that it is for."""
        if self.taps:
            self._show(RECEIVED, datagram, now)
        socket = self._sockets.get(datagram.destination)
        if socket is None:
            self.unreachable += 1
        else:
            socket.driver.receive(datagram.payload, datagram.source, datagram.destination, datagram.ecn)

    def _show(self, direction: str, datagram: Datagram, now: int) -> None:
        for tap in self.taps:
            tap(self.name, now, direction, datagram)


class SocketOwner(Protocol):
    """Who has a socket: `quicsim.driver.Driver` fits."""

    def receive(self, data: bytes, source: Address, destination: Address, ecn: int) -> None:
        """A datagram has arrived."""

    def wake(self) -> None:
        """The time asked for by `wake_at` has come."""


class Socket:
    """A UDP socket of a simulated host: the carrier of one driver, or other owner, which is set after it is made."""

    driver: SocketOwner

    def __init__(self, host: Host) -> None:
        self.addresses: tuple[Address, ...] = ()
        self._host = host
        self._engine = host.engine
        self._wanted: int | None = None
        # Times for which an event is scheduled, the next one last. An event that comes too early schedules another
        # one, so a deadline that moves on, as most do, costs nothing.
        self._scheduled: list[int] = []

    @property
    def now(self) -> int:
        """The time in ns."""
        return self._engine.now

    def new_future(self, what: str) -> Future[Any]:
        """Return a future of the simulation's."""
        return self._engine.future(what)

    def send(self, transmits: "list[Transmit]") -> None:
        """Send datagrams."""
        host, now = self._host, self._engine.now
        contents = host.contents
        for payload, source, destination, ecn in transmits:
            datagram = Datagram(payload, source, destination, ecn, now, next(host.numbers))
            if contents is not None:
                datagram.contents = contents.of(payload)
            host.send(datagram)

    def wake_at(self, at: int | None) -> None:
        """Wake the driver at `at` (ns), or never."""
        self._wanted = at
        if at is not None and not (self._scheduled and self._scheduled[-1] <= at):
            at = max(at, self._engine.now)
            self._scheduled.append(at)
            self._engine.schedule(at, self._wake)

    def bind(self, address: str, port: int | None = None) -> Address:
        """Receive at another address of the host too; see `Host.assign`. Returns it with its port."""
        self._host.assign(self, (str(ip_address(address)),), port)
        return self.addresses[-1]

    def release(self) -> None:
        """Free the addresses."""
        self._host.release(self.addresses)

    def _wake(self) -> None:
        self._scheduled.pop()
        wanted = self._wanted
        if wanted is None:
            return
        if wanted <= self._engine.now:
            self._wanted = None
            self.driver.wake()
        else:
            self.wake_at(wanted)
