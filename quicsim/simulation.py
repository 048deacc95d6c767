"""The simulation: hosts, links and applications in virtual time. Same seed, same bytes, same nanosecond."""

import ipaddress
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from links import Datagram, Element, Nat, Pipeline
from links.element import Forward
from links.units import nanoseconds
from quicsim.contents import Contents
from quicsim.digest import NO_LINK, Digest
from quicsim.engine import Engine, Task
from quicsim.gateway import Gateway, Gateways
from quicsim.host import Host, Send, Tap
from quicsim.invariants import Checker
from quicsim.observers import Observers
from quicsim.predicates import needs_contents
from quicsim.router import Router
from quicsim.routing import Attachment, Routing
from quicsim.seeds import random_stream
from quicsim.simnet import SimNet
from quicsim.triggers import OnConfirmed, OnSent
from stack.config import Config
from stack.endpoint import Endpoint
from stack.observer import Observer

if TYPE_CHECKING:
    from quicsim.traffic import Flow

T = TypeVar("T")


class Link:
    """A link between `a` and `b`, hosts or routers: `up` leads from a to b, `down` from b to a."""

    def __init__(self, a: Host | Router, b: Host | Router, up: Pipeline, down: Pipeline) -> None:
        self.a: Final = a
        self.b: Final = b
        self.up: Final = up
        self.down: Final = down


class Simulation:
    """A network in virtual time.

        sim = Simulation(seed=7)
        sim.link("alice", "bob", up=[Rate("2Mbps"), Delay("25ms")], down=[Rate("10Mbps"), Delay("25ms")])
        sim.spawn("bob", server)
        print(sim.run(sim.spawn("alice", client, "bob")), sim.now, sim.digest)

    Each element and endpoint draws from a random stream of its own, made from `seed` and its name.
    `observer(host name)` is asked once for each host that has an endpoint for what observes its endpoints, or
    None. `check`: watch the invariants of `quicsim.invariants.Checker`, and raise InvariantViolation in `run` when one
    does not hold.
    """

    def __init__(
        self, seed: int = 0, *, observer: Callable[[str], Observer | None] | None = None, check: bool = False
    ) -> None:
        self.seed: Final = seed
        self.engine: Final = Engine()
        self.hosts: Final[dict[str, Host]] = {}
        self.routers: Final[dict[str, Router]] = {}
        self.links: Final[dict[str, Link]] = {}  # by name, such as "alice-bob"
        self.traffic: Final[dict[str, Flow]] = {}  # beside the applications, by name
        self.nats: Final[dict[str, Nat]] = {}  # by the host or the address that they stand before
        self.checker: Final = Checker(seed) if check else None
        self._observer = observer
        self._observers: dict[str, Observer | None] = {}
        self._asks_contents = False  # an element asks what hosts say is in their datagrams
        self._further_observers: dict[str, list[Observer]] = {}
        self._owners: dict[str, Host] = {}  # of addresses
        self._receivers: dict[str, Forward] = {}  # of what comes for an address
        self._nets: dict[str, SimNet] = {}
        self._routing = Routing()
        self._with_ways: dict[str, Host | Router] = {}  # those that have found ways through routers
        self._digest = Digest()
        self._gateways = Gateways(self._receivers, partial(self._digest.lost, NO_LINK))
        self._numbers = count()

    @property
    def now(self) -> int:
        """The virtual time in ns since the start."""
        return self.engine.now

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over all datagrams so far, with their times and fates."""
        return self._digest.hex()

    def host(self, name: str, addresses: Iterable[str] = ()) -> Host:
        """Return the host of this name; at its first mention it is made, with the IP `addresses` given.

        Without addresses it gets the next one of 10.0.0.1, 10.0.0.2, … Raises ValueError for an address that is none,
        that another host has, or that comes after the first mention.
        """
        given = tuple(str(ipaddress.ip_address(address)) for address in addresses)
        known = self.hosts.get(name)
        if name in self.routers:
            raise ValueError(f"host {name}: must have another name, {name} is a router")
        if known is not None:
            if given and given != known.addresses:
                raise ValueError(f"host {name} has the addresses {', '.join(known.addresses)} already")
            return known
        if not given:
            given = (str(ipaddress.IPv4Address("10.0.0.0") + len(self.hosts) + 1),)
        self._check_unused(given)
        self.hosts[name] = host = Host(name, given, self.engine, self._numbers, partial(self._way_from, name))
        self._owners.update(dict.fromkeys(given, host))
        self._receivers.update(dict.fromkeys(given, host.receive))
        self._nets[name] = SimNet(self, host)
        if self.checker is not None:
            host.taps.append(self.checker.datagram)
        return host

    def router(self, name: str) -> Router:
        """Return the router of this name, which is made at its first mention.

        Links join it with hosts and other routers; it has no addresses of its own. Raises ValueError when a host has
        the name: a link's end that is no router yet is a host.
        """
        if name in self.hosts:
            raise ValueError(
                f"router {name}: must have another name, {name} is a host (make routers before their links)"
            )
        if name not in self.routers:
            lose = partial(self._digest.lost, NO_LINK)
            self.routers[name] = Router(name, partial(self._way_through, name), lose)
            self._routing.add(name)
        return self.routers[name]

    def nat(self, inside: str, outside: Iterable[str], **options: Any) -> Nat:
        """Put a NAT before a host, or before one of its addresses, and return it.

        `inside` may also be an address that another NAT has outside: then the two stand in a row. `options` are those
        of `links.Nat`. It translates the addresses of its IP version on all links that are made afterwards. Raises
        ValueError for an address that is in use, or when there is a link or another NAT already.
        """
        nat = Nat(outside, **options)
        host, addresses = self._inside_of(inside)
        addresses = tuple(address for address in addresses if _same_version(address, nat.outside[0]))
        self._check_unused(nat.outside)
        if not addresses or any(self._gateways.stands_before(address) for address in addresses):
            raise ValueError(f"NAT of {inside}: must have an address of its IP version before it, and no other NAT")
        linked = {source for source, _ in host.routes}
        behind = self._gateways.hosts(addresses)
        if any(address in linked or self._routing.routers_of(address) for address in behind):
            raise ValueError(f"NAT of {inside}: must be there before the links that it stands in front of")
        nat.name = f"NAT of {inside}"
        self._gateways.add(Gateway(nat, addresses))
        self._owners.update(dict.fromkeys(nat.outside, host))
        self.nats[inside] = nat
        return nat

    def behind(self, nat: str) -> Host:
        """Return the host behind a NAT, which is named by what it stands before; behind several in a row too."""
        return self._inside_of(nat)[0]

    def _inside_of(self, inside: str) -> tuple[Host, tuple[str, ...]]:
        """Return a host, and those addresses before which a NAT is to stand: its own, or its NAT's."""
        if _is_address(inside) and self._gateways.has(address := str(ipaddress.ip_address(inside))):
            return self._owners[address], (address,)
        return self._addresses_of(inside)

    def link(self, a: str, b: str, up: Iterable[Element] = (), down: Iterable[Element] = (), *, cost: int = 1) -> Link:
        """Join two hosts or routers: `up` are the elements from `a` to `b`, `down` those from `b` to `a`.

        Instead of a host, `a` or `b` may be one of its addresses: then the link is that address's alone. A datagram
        takes the link that joins the addresses it goes from and to; if there is none, the way through routers whose
        links have the least `cost` in sum.

        Raises ValueError when the two are joined already or are the same, or an element or the cost can't be used.
        """
        (one, ours), (other, theirs) = self._end(a), self._end(b)
        pairs = [(x, y) for x in ours for y in theirs if _same_version(x, y)]
        if one is other or self._are_joined(one, ours, other, theirs):
            raise ValueError(f"link {a}-{b}: must join two hosts or routers that no link joins yet")
        if isinstance(one, Host) and isinstance(other, Host) and not pairs:
            raise ValueError(f"link {a}-{b}: must join two hosts with addresses of one IP version")
        if cost < 1:
            raise ValueError(f"link {a}-{b}: cost {cost}: must be 1 or more")
        number = 2 * len(self.links)
        if number + 1 >= NO_LINK:
            raise ValueError(f"link {a}-{b}: a simulation has {NO_LINK // 2} links at most")
        up_way = self._pipeline(number, f"{a}>{b}", up, other)
        down_way = self._pipeline(number + 1, f"{b}>{a}", down, one)
        if isinstance(one, Router) and isinstance(other, Router):
            self._routing.join(one.name, other.name, cost, up_way, down_way)
        elif isinstance(other, Router):
            self._routing.attach(ours, self._gateways.outside(ours), Attachment(other.name, cost, up_way, down_way))
        elif isinstance(one, Router):
            self._routing.attach(theirs, self._gateways.outside(theirs), Attachment(one.name, cost, down_way, up_way))
        else:
            for x, y in pairs:
                self._route(one, x, y, up_way)
                self._route(other, y, x, down_way)
        for found in self._with_ways.values():
            found.forget()
        self._with_ways.clear()
        self.links[f"{a}-{b}"] = link = Link(one, other, up_way, down_way)
        return link

    def _are_joined(
        self, one: Host | Router, ours: tuple[str, ...], other: Host | Router, theirs: tuple[str, ...]
    ) -> bool:
        """Whether a link joins two routers, or a router or another host with any of the addresses."""
        if isinstance(one, Host):
            if isinstance(other, Host):
                return any((x, y) in one.routes for x in ours for y in theirs)
            return any(other.name in self._routing.routers_of(address) for address in ours)
        if isinstance(other, Host):
            return any(one.name in self._routing.routers_of(address) for address in theirs)
        return f"{one.name}-{other.name}" in self.links or f"{other.name}-{one.name}" in self.links

    def _route(self, host: Host, local: str, remote: str, link: Pipeline) -> None:
        """Let what a host sends from `local` to `remote`, or to a NAT before it, take a link."""
        send = self._gateways.way(local, link.send)
        for address in self._gateways.outside((remote,)):
            host.routes[local, address] = send

    def way(self, source: str, destination: str) -> list[Pipeline]:
        """Return the links, in order, that lead through routers from an address to another; none without routers."""
        return self._routing.way(source, destination)

    def _way_from(self, host: str, source: str, destination: str) -> Send | None:
        """Return what puts datagrams of a host on their way through routers, None if there is no way."""
        link = self._routing.way_from(source, destination) if _same_version(source, destination) else None
        if link is None:
            return None
        self._with_ways[host] = self.hosts[host]
        return self._gateways.way(source, link.send)

    def _way_through(self, router: str, destination: str) -> Send | None:
        """Return what puts datagrams of a router on their way, None if there is no way."""
        link = self._routing.way_through(router, destination)
        if link is None:
            return None
        self._with_ways[router] = self.routers[router]
        return link.send

    def _end(self, end: str) -> tuple[Host | Router, tuple[str, ...]]:
        """Return what an end of a link stands for, and those addresses of a host that do."""
        if end in self.routers:
            return self.routers[end], ()
        return self._addresses_of(end)

    def _addresses_of(self, end: str) -> tuple[Host, tuple[str, ...]]:
        """Return the host that is named or has the named address, and all its addresses, or that one."""
        if end not in self.hosts and _is_address(end):
            address = str(ipaddress.ip_address(end))
            owner = self._owners.get(address)
            if owner is None or address not in owner.addresses:
                raise ValueError(f"address {end}: must be of a host that is there already")
            return owner, (address,)
        host = self.host(end)
        return host, host.addresses

    def _check_unused(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            owner = self._owners.get(address)
            if owner is not None:
                raise ValueError(f"address {address}: host {owner.name} has it")

    def tap(self, host: str, callback: Tap) -> None:
        """Call `callback(host, now, "sent" or "received", datagram)` for each datagram at a host's interface."""
        self.host(host).taps.append(callback)

    def observe(self, host: str, observer: Observer) -> None:
        """Let an observer see the connections at a host, beside others. Raises ValueError when it has an endpoint."""
        name = self.host(host).name
        if name in self._observers:
            raise ValueError(f"host {name}: must be observed before it connects or listens")
        self._further_observers.setdefault(name, []).append(observer)

    def net(self, host: str) -> SimNet:
        """Return the net as an application on `host` sees it."""
        return self._nets[self.host(host).name]

    def spawn(
        self, host: str, application: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any
    ) -> Task[T]:
        """Start `application(net, *arguments, **options)` on a host and return its task."""
        return self.net(host).spawn(application, *arguments, **options)

    def at(self, time: int | str, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback(*arguments)` at a time (ns or text such as "3s"). Raises ValueError when that is past."""
        self.engine.schedule(nanoseconds(time), callback, *arguments)

    def every(
        self, period: int | str, callback: Callable[..., object], *arguments: object, start: int | str | None = None
    ) -> None:
        """Call `callback(*arguments)` each `period` (ns or text such as "5s"), the first time at `start` or after one.

        It goes on for ever, so `run` then needs a task to wait for or a time to stop at. Raises ValueError when the
        period is 0 or `start` is past.
        """
        period_ns = nanoseconds(period)
        if not period_ns:
            raise ValueError(f"period {period!r}: must be above 0")
        first = self.now + period_ns if start is None else nanoseconds(start)

        def happen(at: int) -> None:
            callback(*arguments)
            self.engine.schedule(at + period_ns, happen, at + period_ns)

        self.engine.schedule(first, happen, first)

    def when_confirmed(self, host: str, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback(*arguments)` when the first handshake of a connection at a host is confirmed."""
        self.observe(host, OnConfirmed(lambda now: self.engine.schedule(now, callback, *arguments)))

    def when_sent(self, host: str, size: int | str, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback(*arguments)` when a host has sent `size` bytes of UDP payload (or text such as "1MB")."""
        self.tap(host, OnSent(size, lambda now: self.engine.schedule(now, callback, *arguments)))

    def run(self, task: Task[T] | None = None, until: int | str | None = None) -> T | None:
        """Run until `task` is done, or up to `until` (ns or text such as "10s", inclusive), or until all is over.

        Returns what the task returns. An application that fails ends the run with its exception, to which the
        seed and the time are noted, unless another one awaits it. Raises DeadlockError when the task can't go
        on and TimeoutError when it is not done at `until`.
        """
        try:
            result = self.engine.run(task, None if until is None else nanoseconds(until))
        except Exception as exception:
            exception.add_note(f"in the simulation with seed {self.seed}, at {self.now} ns")
            self._raise_violation()
            raise
        self._raise_violation()
        return result

    def _raise_violation(self) -> None:
        """Raise the first violation of an invariant, whatever an application made of it."""
        if self.checker is not None and self.checker.violation is not None:
            raise self.checker.violation

    def owner(self, host: str) -> Host:
        """Return the host of this name, or that has this address, itself or its NAT. Raises ValueError without one."""
        owner = self.hosts.get(host) or self._owners.get(host)
        if owner is None:
            raise ValueError(f"host {host!r}: must be one of {', '.join(self.hosts)}, or an address of theirs")
        return owner

    def resolve(self, host: str, source: Host) -> tuple[str, str]:
        """Return the addresses of `source`, and of `host` (a name or an address), between which a link leads there.

        Raises ValueError without one.
        """
        owner = self.owner(host)
        candidates = owner.addresses if host == owner.name else (host,)
        for remote in candidates:
            for local in source.addresses:
                if source.way(local, remote) is not None:
                    return local, remote
        raise ValueError(f"host {host!r}: no link leads there from {source.name}")

    def endpoint(self, host: Host, name: str, config: Config) -> Endpoint:
        """Make an endpoint on a host; its random stream is of this name."""
        return Endpoint(config, self.random(f"{host.name}/{name}"), self.observer(host.name))

    def observer(self, host: str) -> Observer | None:
        """Return what observes the endpoints of a host; None for nothing."""
        if host not in self._observers:
            given = self._observer(host) if self._observer is not None else None
            checking = self.checker.observer(host) if self.checker is not None else None
            further = self._further_observers.get(host, [])
            if self._asks_contents:
                self.hosts[host].contents = Contents()
            seen = (given, checking, *further, self.hosts[host].contents)
            watching = [observer for observer in seen if observer is not None]
            self._observers[host] = Observers(watching) if len(watching) > 1 else watching[0] if watching else None
        return self._observers[host]

    def random(self, name: str) -> Random:
        """Return a new random stream, which depends on the seed and `name` alone."""
        return random_stream(self.seed, name)

    def _pipeline(self, number: int, name: str, elements: Iterable[Element], end: Host | Router) -> Pipeline:
        """Make one direction of a link, which leads to `end`."""
        elements = list(elements)
        self._asks_contents |= any(map(needs_contents, elements))
        deliver = self.engine.lane(end.receive) if isinstance(end, Router) else self._delivering(number, end)
        return Pipeline(
            name,
            elements,
            rng=self.random,
            schedule=self.engine.schedule,
            deliver=deliver,
            lose=partial(self._digest.lost, number),
        )

    def _delivering(self, link: int, end: Host) -> Forward:
        """Return what takes datagrams from a link to a host at its end, or to the NAT before that."""
        behind_nat = any(map(self._gateways.stands_before, end.addresses))
        schedule = self.engine.lane(self._arrive if behind_nat else end.receive)
        record = self._digest.delivered

        def deliver(datagram: Datagram, at: int) -> None:
            record(link, datagram, at)
            schedule(datagram, at)

        return deliver

    def _arrive(self, datagram: Datagram, now: int) -> None:
        self._receivers[datagram.destination[0]](datagram, now)


def _same_version(one: str, other: str) -> bool:
    """Whether both are IPv4 addresses, or both IPv6."""
    return (":" in one) == (":" in other)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
