"""The relay: sockets on both sides of a link, on an asyncio event loop."""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterable
from itertools import count
from types import TracebackType
from typing import Final

from links import Datagram, Element, Nat
from quicsim.host import RECEIVED, SENT, Tap
from quicsim.real.udp import Received, UdpSocket, local_host
from quicsim.relay.clock import WakeUp
from quicsim.relay.counters import Lateness, RelayCounters
from quicsim.relay.link import RelayedLink
from quicsim.relay.outside import OutsideSockets
from quicsim.relay.rebinding import Rebind
from quicsim.simulation import Link, Simulation
from stack.observer import Address
from stack.transmit import Transmit

CLIENT_SIDE: Final = "client side"  # what a tap is told about where it saw a datagram
SERVER_SIDE: Final = "server side"
RECEIVES_PER_TURN: Final = 32  # system calls before what is due is sent
MAX_WAIT_NS: Final = 10**9  # of a datagram in a socket; what seems longer comes from setting the clock
IDLE_TIMEOUT: Final = "300s"  # of the NAT, as RFC 4787 recommends (REQ-5)


class Relay:
    """Passes UDP datagrams between clients and a server through a link, in real time.

        async with Relay([Delay("15ms")], [Delay("15ms")], server=("127.0.0.1", 4433)) as relay:
            ...  # clients connect to relay.address

    `up` are the elements from the clients to the server, `down` those back, of a link between a "client" and a "server"
    in a `Simulation` with this `seed`. In place of these, `network(simulation)` may make any network, with hosts and
    cross traffic, and return the link in it that is meant, whose `a` is at the clients. The same sequence of datagrams
    is treated alike as in that simulation. Its time begins with the first datagram of a client.

    The relay listens at `listen` (port 0: a free one); each client gets a socket of its own towards the server, at the
    first of the addresses `outside` (by default the one from which the server is reached), until it is idle for
    `idle_timeout`. `rebinds`, in order of time, and `rebind` change these sockets; what comes to the old ones is
    dropped. They change where the link begins, or with `nat_on_arrival` where it ends, so that what is under way tells
    the server. `also` are further addresses to listen at, each with another address of the server that it leads to.

    `tap` is called with CLIENT_SIDE or SERVER_SIDE, the time since 1970 (ns), RECEIVED or SENT (by the relay), and the
    datagram, before anything else happens to it.

    Raises ValueError when the network or the addresses can't be used.
    """

    def __init__(
        self,
        up: Iterable[Element] = (),
        down: Iterable[Element] = (),
        *,
        server: Address,
        listen: Address = ("127.0.0.1", 0),
        seed: int = 0,
        rebinds: Iterable[Rebind] = (),
        tap: Tap | None = None,
        outside: Iterable[str] = (),
        idle_timeout: int | str | None = IDLE_TIMEOUT,
        nat_on_arrival: bool = False,
        also: Iterable[tuple[Address, Address]] = (),
        network: Callable[[Simulation], Link] | None = None,
    ) -> None:
        ways = [*up], [*down]
        if network is not None and any(ways):
            raise ValueError("network: must be without up and down")
        pairs = [(listen, server), *also]
        self._routes: Final = {_checked(far): _checked(near) for near, far in pairs}
        if len(self._routes) < len(pairs):
            raise ValueError("also: must lead to different addresses of the server, else answers can't be told apart")
        self._tap: Final = tap
        self._rebinds: Final = iter(rebinds)
        self._numbers: Final = count()
        self._lateness: Final = Lateness()
        self._outside: Final = OutsideSockets(self._on_opened, self._on_closing)
        self._nat: Final = Nat(list(outside) or [local_host(server)], idle_timeout=idle_timeout, ports=self._new_port)
        if any((":" in far) != (":" in self._nat.outside[0]) for far, _ in self._routes):
            raise ValueError(f"outside {self._nat.outside[0]}: must be of the IP version of the server's addresses")
        simulation = Simulation(seed)
        self._link: Final = RelayedLink(
            simulation,
            simulation.link("client", "server", *ways) if network is None else network(simulation),
            nat=self._nat,
            servers=self._routes.keys(),
            to_server=self._to_server,
            to_client=self._to_client,
            nat_on_arrival=nat_on_arrival,
        )
        self._fronts: dict[Address, UdpSocket] = {}  # by the server's address that they lead to
        self._reached: dict[tuple[Address, Address], Address] = {}  # where a client wrote to, for a server's address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_up: WakeUp | None = None
        self._origin: int | None = None  # of the link's time
        self._wall_offset = 0  # from the link's time to that since 1970
        self._ended_at: int | None = None
        self._rebindings = 0
        self._strangers = 0
        self._refused = 0
        self._overflowed = 0

    # Life

    async def __aenter__(self) -> "Relay":
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen, inside a running event loop. Raises OSError when an address of either side can't be bound."""
        for host in self._nat.outside:
            UdpSocket(host).close()
        self._loop = asyncio.get_running_loop()
        self._wake_up = WakeUp(self._loop, self._run)
        try:
            for far, near in self._routes.items():
                udp = UdpSocket(*near, report_errors=False, timestamps=True)
                udp.gso = False
                self._fronts[far] = udp
                self._loop.add_reader(udp.fileno(), self._on_client, udp, far)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close all sockets; what is under way is lost. The counters stay."""
        if self._loop is None or self._wake_up is None:
            return
        self._ended_at = self._now()
        self._wake_up.close()
        for udp in self._fronts.values():
            self._on_closing(udp)
            udp.close()
        self._outside.close()
        self._loop = None

    @property
    def address(self) -> Address:
        """Where the relay listens, for the server."""
        return self.addresses[0]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the relay listens, for the server and for each of `also`."""
        return tuple(udp.address for udp in self._fronts.values())

    def rebind(self, address: str | None = None, *, keep_ports: bool = False) -> None:
        """Rebind the NAT now; see `links.Nat.rebind`. Raises ValueError, and OSError when a port is taken."""
        self._nat.rebind(address, keep_ports=keep_ports)
        self._rebindings += 1
        self._outside.keep(self._nat.mappings, self._now())

    @property
    def counters(self) -> RelayCounters:
        """What was done so far."""
        link, late = self._link, self._lateness
        open_sockets = [*self._fronts.values(), *self._outside] if self._loop is not None else []
        return RelayCounters(
            seconds=self._now() / 1e9,
            up=link.up,
            down=link.down,
            flows=link.flows,
            clients=len(set(self._nat.mappings.values())),
            rebindings=self._rebindings,
            no_mapping=sum(self._nat.dropped.values()),
            strangers=self._strangers,
            overflowed=self._overflowed + sum(udp.overflowed for udp in open_sockets),
            refused=self._refused + link.refused + sum(udp.refused for udp in open_sockets),
            late_mean_us=late.mean_ns / 1e3,
            late_p99_us=late.quantile_ns(0.99) / 1e3,
            late_max_us=late.max_ns / 1e3,
        )

    # Time

    def _now(self) -> int:
        """The link's time in ns."""
        if self._ended_at is not None:
            return self._ended_at
        return 0 if self._origin is None else time.monotonic_ns() - self._origin

    def _begin(self) -> None:
        """The first datagram has come."""
        self._origin = time.monotonic_ns()
        self._wall_offset = time.time_ns()
        self._schedule_rebind()

    def _schedule_rebind(self) -> None:
        rebind = next(self._rebinds, None)
        if rebind is not None:
            self._link.timeline.schedule(rebind.at, self._rebind, rebind)

    def _rebind(self, rebind: Rebind) -> None:
        self._schedule_rebind()
        with contextlib.suppress(OSError):  # a port is taken: what would go through it counts as refused
            self.rebind(rebind.address, keep_ports=rebind.keep_ports)

    def _run(self) -> None:
        """Send on what is due."""
        link = self._link
        link.run(self._now())
        next_at = link.next_at
        if self._wake_up is not None and self._origin is not None:
            self._wake_up.set(None if next_at is None else next_at + self._origin)

    # Receiving

    def _came_at(self, udp: UdpSocket) -> int:
        """The link's time at which the latest datagrams of a socket reached this machine."""
        waited = time.time_ns() - udp.received_at
        now = self._now()
        return now - waited if 0 < waited < min(now, MAX_WAIT_NS) else now

    def _on_client(self, udp: UdpSocket, server: Address) -> None:
        for _ in range(RECEIVES_PER_TURN):
            received = udp.receive()
            if not received:
                break
            if self._origin is None:
                self._begin()
            now = self._came_at(udp)
            for each in received:
                self._show(CLIENT_SIDE, now, RECEIVED, each)
                datagram = Datagram(each.payload, each.source, server, each.ecn, now, next(self._numbers))
                self._link.send_up(datagram, now)
                if udp.is_wildcard:
                    self._reached[each.source, server] = each.destination
        self._run()

    def _on_server(self, udp: UdpSocket) -> None:
        for _ in range(RECEIVES_PER_TURN):
            received = udp.receive()
            if not received:
                break
            now = self._came_at(udp)
            for each in received:
                self._show(SERVER_SIDE, now, RECEIVED, each)
                if each.source not in self._fronts:
                    self._strangers += 1
                    continue
                datagram = Datagram(*each, now, next(self._numbers))
                self._link.send_down(datagram, now)
        self._run()

    # Sending

    def _to_server(self, datagram: Datagram, at: int) -> None:
        udp = self._outside.get(datagram.source)
        if udp is None:  # forgotten for longer than a socket lingers
            self._refused += 1
            return
        transmit = Transmit(datagram.payload, datagram.source, datagram.destination, datagram.ecn)
        self._send(SERVER_SIDE, udp, transmit, at)

    def _to_client(self, datagram: Datagram, at: int) -> None:
        udp = self._fronts[datagram.source]
        local = self._reached.get((datagram.destination, datagram.source), udp.address)
        self._send(CLIENT_SIDE, udp, Transmit(datagram.payload, local, datagram.destination, datagram.ecn), at)

    def _send(self, side: str, udp: UdpSocket, transmit: Transmit, at: int) -> None:
        now = self._now()
        self._lateness.add(now - at)
        self._show(side, now, SENT, transmit)
        if not udp.send([transmit]):
            self._refused += 1  # the socket's buffer is full

    def _show(self, side: str, now: int, direction: str, each: Received | Transmit) -> None:
        if self._tap is not None:
            datagram = Datagram(each.payload, each.source, each.destination, each.ecn, now)
            self._tap(side, self._wall_offset + now, direction, datagram)

    # Sockets of the NAT

    def _new_port(self, host: str) -> int:
        now = self._now()
        self._nat.forget_idle(now)
        mappings = self._nat.mappings
        self._outside.keep(mappings, now)
        clients = set(mappings.values())
        for client, server in [each for each in self._reached if each[0] not in clients]:
            del self._reached[client, server]
        return self._outside.open(host)

    def _on_opened(self, udp: UdpSocket) -> None:
        if self._loop is not None:
            self._loop.add_reader(udp.fileno(), self._on_server, udp)

    def _on_closing(self, udp: UdpSocket) -> None:
        self._overflowed += udp.overflowed
        self._refused += udp.refused
        if self._loop is not None:
            self._loop.remove_reader(udp.fileno())


def _checked(address: Address) -> Address:
    """Return an address in the form that the system has it in. Raises ValueError unless it is an IP address."""
    host, port = address
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port {port}: must be from 0 to 65535")
    return str(ipaddress.ip_address(host)), port
