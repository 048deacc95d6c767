"""Where NATs stand in the simulated network: between hosts and their links, one behind the other."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from links import Datagram, Nat
from links.element import Forward
from quicsim.host import Send


class Gateway:
    """A NAT, and the addresses `inside` that it stands before: a host's, or those that another NAT has outside."""

    def __init__(self, nat: Nat, inside: tuple[str, ...]) -> None:
        self.nat: Final = nat
        self.inside: Final = inside


class Gateways:
    """All NATs of a network. `receivers` hands on what comes for an address; `lose(datagram, now)` is told of drops."""

    def __init__(self, receivers: dict[str, Forward], lose: Forward) -> None:
        self._receivers: Final = receivers
        self._lose: Final = lose
        self._before: Final[dict[str, Gateway]] = {}  # by inside address
        self._behind: Final[dict[str, Gateway]] = {}  # by outside address

    def add(self, gateway: Gateway) -> None:
        """Put a NAT before its inside addresses."""
        self._before.update(dict.fromkeys(gateway.inside, gateway))
        for address in gateway.nat.outside:
            self._behind[address] = gateway
            self._receivers[address] = partial(self._receive, gateway)

    def stands_before(self, address: str) -> bool:
        """Tell whether there is a NAT just before an address."""
        return address in self._before

    def has(self, address: str) -> bool:
        """Tell whether an address is one that a NAT has outside."""
        return address in self._behind

    def outside(self, addresses: Iterable[str]) -> list[str]:
        """Return the addresses under which others reach these: their NATs', or those of the NATs before these."""
        found: dict[str, None] = {}
        for address in addresses:
            gateway = self._before.get(address)
            found.update(dict.fromkeys([address] if gateway is None else self.outside(gateway.nat.outside)))
        return list(found)

    def hosts(self, addresses: Iterable[str]) -> list[str]:
        """Return the addresses of hosts that lie behind these, or are these."""
        found: dict[str, None] = {}
        for address in addresses:
            gateway = self._behind.get(address)
            found.update(dict.fromkeys([address] if gateway is None else self.hosts(gateway.inside)))
        return list(found)

    def way(self, local: str, send: Send) -> Send:
        """Return what puts a datagram from an address on a link after all translations."""
        before = self._before
        if local not in before:
            return send

        def leave(datagram: Datagram, now: int) -> None:
            gateway = before.get(datagram.source[0])
            while gateway is not None:
                if not gateway.nat.send(datagram, now):
                    self._lose(datagram, now)
                    return
                gateway = before.get(datagram.source[0])
            send(datagram, now)

        return leave

    def _receive(self, gateway: Gateway, datagram: Datagram, now: int) -> None:
        if gateway.nat.receive(datagram, now):
            self._receivers[datagram.destination[0]](datagram, now)
        else:
            self._lose(datagram, now)
