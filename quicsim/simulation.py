"""The simulation: hosts, links and applications in virtual time. Same seed, same bytes, same nanosecond."""

import hashlib
import ipaddress
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

from links import Datagram, Element, Nat, Pipeline
from links.units import nanoseconds
from quicsim.digest import NO_LINK, Digest
from quicsim.engine import Engine, Task
from quicsim.gateway import Gateway
from quicsim.host import Host, Tap
from quicsim.simnet import SimNet
from stack.config import Config
from stack.endpoint import Endpoint
from stack.observer import Observer

T = TypeVar("T")


class Link:
    """A link between hosts `a` and `b`: `up` leads from a to b, `down` from b to a."""

    def __init__(self, a: Host, b: Host, up: Pipeline, down: Pipeline) -> None:
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
    None.
    """

    def __init__(self, seed: int = 0, *, observer: Callable[[str], Observer | None] | None = None) -> None:
        self.seed: Final = seed
        self.engine: Final = Engine()
        self.hosts: Final[dict[str, Host]] = {}
        self.links: Final[dict[str, Link]] = {}  # by name, such as "alice-bob"
        self.nats: Final[dict[str, Nat]] = {}  # by the host or the address that they stand before
        self._observer = observer
        self._observers: dict[str, Observer | None] = {}
        self._owners: dict[str, Host] = {}  # of addresses
        self._receivers: dict[str, Callable[[Datagram], None]] = {}  # of what comes for an address
        self._gateways: dict[str, Gateway] = {}  # by inside address
        self._nets: dict[str, SimNet] = {}
        self._digest = Digest()
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
        if known is not None:
            if given and given != known.addresses:
                raise ValueError(f"host {name} has the addresses {', '.join(known.addresses)} already")
            return known
        if not given:
            given = (str(ipaddress.IPv4Address("10.0.0.0") + len(self.hosts) + 1),)
        self._check_unused(given)
        self.hosts[name] = host = Host(name, given, self.engine, self._numbers)
        self._owners.update(dict.fromkeys(given, host))
        self._receivers.update(dict.fromkeys(given, host.receive))
        self._nets[name] = SimNet(self, host)
        return host

    def nat(
        self,
        inside: str,
        outside: Iterable[str],
        *,
        idle_timeout: int | str | None = None,
        symmetric: bool = False,
    ) -> Nat:
        """Put a NAT before a host, or before one of its addresses, and return it; `links.Nat` has the parameters.

        It translates the addresses of its IP version on all links that are made afterwards. Raises ValueError for an
        address that is in use, or when there is a link or another NAT already.
        """
        host, addresses = self._end(inside)
        nat = Nat(outside, idle_timeout=idle_timeout, symmetric=symmetric)
        addresses = tuple(address for address in addresses if _same_version(address, nat.outside[0]))
        self._check_unused(nat.outside)
        if not addresses or any(address in self._gateways for address in addresses):
            raise ValueError(f"NAT of {inside}: must have an address of its IP version before it, and no other NAT")
        if any(source in addresses for source, _ in host.routes):
            raise ValueError(f"NAT of {inside}: must be there before the links that it stands in front of")
        gateway = Gateway(nat, host, partial(self._digest.lost, NO_LINK))
        self._gateways.update(dict.fromkeys(addresses, gateway))
        self._owners.update(dict.fromkeys(nat.outside, host))
        self._receivers.update(dict.fromkeys(nat.outside, gateway.receive))
        self.nats[inside] = nat
        return nat

    def link(self, a: str, b: str, up: Iterable[Element] = (), down: Iterable[Element] = ()) -> Link:
        """Join two hosts: `up` are the elements from `a` to `b`, `down` those from `b` to `a`.

        Instead of a host, `a` or `b` may be one of its addresses: then the link is that address's alone. Raises
        ValueError when the two are joined already or are the same host, or an element can't be used.
        """
        (one, ours), (other, theirs) = self._end(a), self._end(b)
        pairs = [(x, y) for x in ours for y in theirs if _same_version(x, y)]
        if one is other or not pairs or any(pair in one.routes for pair in pairs):
            raise ValueError(
                f"link {a}-{b}: must join two hosts that no link joins yet, with addresses of one IP version"
            )
        number = 2 * len(self.links)
        link = Link(
            one,
            other,
            self._pipeline(number, f"{a}>{b}", up),
            self._pipeline(number + 1, f"{b}>{a}", down),
        )
        for x, y in pairs:
            self._route(one, x, y, link.up)
            self._route(other, y, x, link.down)
        self.links[f"{a}-{b}"] = link
        return link

    def _route(self, host: Host, local: str, remote: str, link: Pipeline) -> None:
        """Let what a host sends from `local` to `remote`, or to a NAT before it, take a link."""
        near, far = self._gateways.get(local), self._gateways.get(remote)
        send = link.send if near is None else near.way(link.send)
        for address in (remote,) if far is None else far.nat.outside:
            host.routes[local, address] = send

    def _end(self, end: str) -> tuple[Host, tuple[str, ...]]:
        """Return the host that an end of a link stands for, and those of its addresses that do."""
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

    def run(self, task: Task[T] | None = None, until: int | str | None = None) -> T | None:
        """Run until `task` is done, or up to `until` (ns or text such as "10s", inclusive), or until all is over.

        Returns what the task returns. An application that fails ends the run with its exception, to which the
        seed and the time are noted, unless another one awaits it. Raises DeadlockError when the task can't go
        on and TimeoutError when it is not done at `until`.
        """
        try:
            return self.engine.run(task, None if until is None else nanoseconds(until))
        except Exception as exception:
            exception.add_note(f"in the simulation with seed {self.seed}, at {self.now} ns")
            raise

    def resolve(self, host: str, source: Host) -> tuple[str, str]:
        """Return the addresses of `source`, and of `host` (a name or an address), between which a link leads there.

        Raises ValueError without one.
        """
        known = self.hosts.get(host)
        if known is not None:
            candidates = known.addresses
        elif host in self._owners:
            candidates = (host,)
        else:
            raise ValueError(f"host {host!r}: must be one of {', '.join(self.hosts)}, or an address of theirs")
        for remote in candidates:
            for local in source.addresses:
                if (local, remote) in source.routes:
                    return local, remote
        raise ValueError(f"host {host!r}: no link leads there from {source.name}")

    def endpoint(self, host: Host, name: str, config: Config) -> Endpoint:
        """Make an endpoint on a host; its random stream is of this name."""
        if host.name not in self._observers:
            self._observers[host.name] = self._observer(host.name) if self._observer is not None else None
        return Endpoint(config, self.random(f"{host.name}/{name}"), self._observers[host.name])

    def random(self, name: str) -> Random:
        """Return a new random stream, which depends on the seed and `name` alone."""
        return Random(int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()))

    def _pipeline(self, number: int, name: str, elements: Iterable[Element]) -> Pipeline:
        return Pipeline(
            name,
            elements,
            rng=self.random,
            schedule=self.engine.schedule,
            deliver=partial(self._deliver, number),
            lose=partial(self._digest.lost, number),
        )

    def _deliver(self, link: int, datagram: Datagram, at: int) -> None:
        self._digest.delivered(link, datagram, at)
        self.engine.schedule(at, self._receivers[datagram.destination[0]], datagram)


def _same_version(one: str, other: str) -> bool:
    """Whether both are IPv4 addresses, or both IPv6."""
    return (":" in one) == (":" in other)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
