"""The simulation: hosts, links and applications in virtual time. Same seed, same bytes, same nanosecond."""

import hashlib
import ipaddress
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

from links import Datagram, Element, Pipeline
from links.units import nanoseconds
from quicsim.digest import Digest
from quicsim.engine import Engine, Task
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
        self._observer = observer
        self._observers: dict[str, Observer | None] = {}
        self._by_address: dict[str, Host] = {}
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
        for address in given:
            if address in self._by_address:
                raise ValueError(f"address {address}: host {self._by_address[address].name} has it")
        self.hosts[name] = host = Host(name, given, self.engine, self._numbers)
        self._by_address.update(dict.fromkeys(given, host))
        self._nets[name] = SimNet(self, host)
        return host

    def link(self, a: str, b: str, up: Iterable[Element] = (), down: Iterable[Element] = ()) -> Link:
        """Join two hosts: `up` are the elements from `a` to `b`, `down` those from `b` to `a`.

        Raises ValueError when the hosts are joined already or are the same, or an element can't be used.
        """
        one, other = self.host(a), self.host(b)
        if one is other or any(address in one.routes for address in other.addresses):
            raise ValueError(f"link {a}-{b}: must join two hosts that no link joins yet")
        number = 2 * len(self.links)
        link = Link(
            one,
            other,
            self._pipeline(number, f"{a}>{b}", up),
            self._pipeline(number + 1, f"{b}>{a}", down),
        )
        one.routes.update(dict.fromkeys(other.addresses, link.up))
        other.routes.update(dict.fromkeys(one.addresses, link.down))
        self.links[f"{a}-{b}"] = link
        return link

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

    def resolve(self, host: str, source: Host) -> str:
        """Return the address to reach `host` (a name or an address) from `source`; raises ValueError without one."""
        known = self.hosts.get(host)
        if known is not None:
            candidates = known.addresses
        elif host in self._by_address:
            candidates = (host,)
        else:
            raise ValueError(f"host {host!r}: must be one of {', '.join(self.hosts)}, or an address of theirs")
        for address in candidates:
            if address in source.routes and any((":" in own) == (":" in address) for own in source.addresses):
                return address
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
        self.engine.schedule(at, self._by_address[datagram.destination[0]].receive, datagram)
