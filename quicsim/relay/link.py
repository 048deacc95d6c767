"""What a relay does between its sockets: a NAT before the clients, and the elements of both directions."""

from collections.abc import Callable, Collection
from typing import Final

from links import Address, Datagram, Nat, Pipeline
from quicsim.predicates import needs_contents
from quicsim.relay.clock import Timeline
from quicsim.relay.counters import DirectionCounters, FlowCounters
from quicsim.simulation import Link, Simulation

Deliver = Callable[[Datagram, int], object]  # a datagram, and when it is due (ns)


class _Direction:
    """One direction of a link, for datagrams from outside and those of the simulated network."""

    def __init__(self, pipeline: Pipeline) -> None:
        for element in pipeline.elements:
            if needs_contents(element):
                raise ValueError(f"link {pipeline.name}: {element.label} asks for frames, which a relay can't read")
        self.pipeline: Final = pipeline
        self.latest = 0  # time of the link, which only grows
        self._forwarded = 0

    @property
    def counters(self) -> DirectionCounters:
        """What was done so far."""
        return DirectionCounters.of(self.pipeline, self._forwarded)

    def count(self) -> None:
        """A datagram has arrived."""
        self._forwarded += 1


class RelayedLink:
    """A link of a simulated network, for datagrams and a time that come from outside.

    The `link`, whose `a` is at the clients, is one of the `simulation`, which must not be run by anybody else. So its
    elements draw from the streams that they always have there, and treat the same sequence of datagrams alike; and what
    else happens in the simulated network, such as cross traffic, shares the link. Datagrams from outside go to one of
    the `servers` or come from one. `to_server` and `to_client` are given what arrives, when time comes to `run`.

    The `nat` translates what clients send before the link; with `nat_on_arrival` behind it, so that what is under way
    when it rebinds leaves it from the new address. Times are in ns. Raises ValueError when an element asks for what a
    relay can't know, or a host has the address of a server.
    """

    def __init__(
        self,
        simulation: Simulation,
        link: Link,
        *,
        nat: Nat,
        servers: Collection[Address],
        to_server: Deliver,
        to_client: Deliver,
        nat_on_arrival: bool = False,
    ) -> None:
        self.nat: Final = nat
        self.timeline: Final = Timeline()
        self.refused = 0  # for want of a port
        self._simulation: Final = simulation
        self._to_server: Final = to_server
        self._to_client: Final = to_client
        self._nat_on_arrival: Final = nat_on_arrival
        self._up: Final = _Direction(link.up)
        self._down: Final = _Direction(link.down)
        taken = {host for host, _ in servers} & {each for host in simulation.hosts.values() for each in host.addresses}
        if simulation.traffic and taken:
            raise ValueError(f"address {min(taken)}: is the server's, and must be of no host with cross traffic beside")
        schedule = self.timeline.schedule

        def take_up(datagram: Datagram, at: int) -> bool:
            if datagram.destination not in servers:
                schedule(at, self._up.count)
                return False
            schedule(at, self._reach_server, datagram, at)
            return True

        def take_down(datagram: Datagram, at: int) -> bool:
            if datagram.source not in servers:
                schedule(at, self._down.count)
                return False
            schedule(at, self._reach_client, datagram, at)
            return True

        link.up.divert(take_up)
        link.down.divert(take_down)

    @property
    def up(self) -> DirectionCounters:
        """What was done so far on the way to the server."""
        return self._up.counters

    @property
    def down(self) -> DirectionCounters:
        """What was done so far on the way to the clients."""
        return self._down.counters

    @property
    def flows(self) -> tuple[FlowCounters, ...]:
        """What came of the cross traffic so far."""
        return tuple(map(FlowCounters.of, self._simulation.traffic.values()))

    @property
    def next_at(self) -> int | None:
        """When something is to happen next; None when nothing is."""
        times = (self._simulation.engine.next_at, self.timeline.next_at)
        return min((each for each in times if each is not None), default=None)

    def run(self, now: int) -> None:
        """Let everything happen that is due at `now`."""
        self._simulation.engine.catch_up(now)
        self.timeline.run(now)

    def send_up(self, datagram: Datagram, now: int) -> None:
        """A client's datagram comes at `now`."""
        self.run(now)
        if self._nat_on_arrival or self._translate(datagram, now):
            self._send(self._up, datagram, now)

    def send_down(self, datagram: Datagram, now: int) -> None:
        """A datagram of the server's comes at `now`, for an address outside of the NAT."""
        self.run(now)
        self._send(self._down, datagram, now)

    def _send(self, way: _Direction, datagram: Datagram, now: int) -> None:
        """Put a datagram into the link at `now`, or when something last happened there if that is later."""
        # What the hosts of cross traffic send answers what came the other way
        ways = (self._up, self._down) if self._simulation.traffic else (way,)
        way.latest = max(now, self._simulation.now, *(each.latest for each in ways))
        way.pipeline.send(datagram, way.latest)

    def _translate(self, datagram: Datagram, now: int) -> bool:
        try:
            return self.nat.send(datagram, now)
        except OSError:  # no port left, or no file descriptor
            self.refused += 1
            return False

    def _reach_server(self, datagram: Datagram, at: int) -> None:
        if not self._nat_on_arrival or self._translate(datagram, at):
            self._up.count()
            self._to_server(datagram, at)

    def _reach_client(self, datagram: Datagram, at: int) -> None:
        if self.nat.receive(datagram, at):
            self._down.count()
            self._to_client(datagram, at)
