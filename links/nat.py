"""Network address translation: what stands between a host and its links, and now and then forgets it."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from links.datagram import Address, Datagram
from links.units import nanoseconds

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 65_535

NO_MAPPING: Final = "no mapping"  # reasons of drops
FILTERED: Final = "filtered"
NO_PORT_LEFT: Final = "no port left"

FILTERS: Final = ("endpoint", "address", "port")  # independent, or dependent on the peer's address, or on both


class _Mapping:
    """An inside address and what stands for it outside; `remote` is the only peer it holds for, None for all.

    `peers` are those to which something has left through it: IP addresses, or addresses with ports.
    """

    __slots__ = ("inside", "outside", "peers", "remote", "used_at")

    def __init__(self, inside: Address, outside: Address, remote: Address | None, used_at: int) -> None:
        self.inside = inside
        self.outside = outside
        self.remote = remote
        self.used_at = used_at
        self.peers: set[Address | str] = set()


class Nat:
    """Translates the source of what leaves and the destination of what comes back (RFC 4787's terms).

    `outside` are its IP addresses, of which it uses the first. Ports are given in order, from the first to the last of
    `port_range` and round again, or are what `ports(address)` gives. When none is free, what would need one is dropped.

    A mapping is the same for all peers (endpoint-independent), or if the NAT is `symmetric` one for each of their
    addresses and ports. What comes in through it is filtered by `filtering`: "endpoint" lets anybody in, "address"
    those IP addresses to which something has left, "port" only those addresses with their ports; by default anybody, or
    of a symmetric NAT the mapping's peer. What comes for an address without a mapping is dropped.

    A mapping through which nothing has left for `idle_timeout` (ns or text such as "30s") is forgotten; None: never.
    With `refresh_inbound` what comes in keeps it alive too (RFC 4787 section 4.3). `dropped` counts by reason,
    `rebindings` the calls of `rebind`, after each of which `on_rebind()` is called.

    Raises ValueError when there is no outside address, or one of another IP version than the first, or for ports or a
    filtering that are none.
    """

    def __init__(
        self,
        outside: Iterable[str],
        *,
        idle_timeout: int | str | None = None,
        symmetric: bool = False,
        filtering: str | None = None,
        refresh_inbound: bool = False,
        port_range: tuple[int, int] = (FIRST_PORT, LAST_PORT),
        ports: Callable[[str], int] | None = None,
    ) -> None:
        self.outside: Final = tuple(str(ip_address(address)) for address in outside)
        if len({":" in address for address in self.outside}) != 1:
            raise ValueError(
                f"NAT with the outside addresses {list(self.outside)}: must be one or more of one IP version"
            )
        first, last = port_range
        if not 0 < first <= last < 1 << 16:
            raise ValueError(f"port_range {list(port_range)}: must be the first and the last port, from 1 to 65535")
        if filtering is not None and filtering not in FILTERS:
            raise ValueError(f"filtering {filtering!r}: must be one of {', '.join(FILTERS)}")
        self.name = "NAT"
        self.symmetric: Final = symmetric
        self.filtering: Final = filtering or ("port" if symmetric else "endpoint")
        self.refresh_inbound: Final = refresh_inbound
        self.port_range: Final = (first, last)
        self.idle_timeout_ns: Final = None if idle_timeout is None else nanoseconds(idle_timeout)
        self.dropped: dict[str, int] = {}
        self.rebindings = 0
        self.on_rebind: Callable[[], object] | None = None
        self._address = self.outside[0]
        self._ports = ports
        self._next_port = first
        self._by_inside: dict[tuple[Address, Address | None], _Mapping] = {}
        self._by_outside: dict[Address, _Mapping] = {}

    @property
    def address(self) -> str:
        """The outside address that new mappings get."""
        return self._address

    @property
    def mappings(self) -> dict[Address, Address]:
        """The inside address of each outside one, of all mappings that were not forgotten yet."""
        return {mapping.outside: mapping.inside for mapping in self._by_outside.values()}

    def send(self, datagram: Datagram, now: int) -> bool:
        """A datagram leaves at `now` (ns): change its source, with a new mapping if there is none.

        Returns False when it must be dropped, as there is no port left.
        """
        remote = datagram.destination if self.symmetric else None
        mapping = self._by_inside.get((datagram.source, remote))
        if mapping is None or self._expired(mapping, now):
            mapping = self._map(datagram.source, remote, now)
            if mapping is None:
                return self._drop(datagram, NO_PORT_LEFT)
        mapping.used_at = now
        if self.filtering != "endpoint":
            mapping.peers.add(self._peer(datagram.destination))
        datagram.source = mapping.outside
        return True

    def receive(self, datagram: Datagram, now: int) -> bool:
        """A datagram comes at `now` (ns): change its destination, or return False when it must be dropped."""
        mapping = self._by_outside.get(datagram.destination)
        if mapping is None or self._expired(mapping, now):
            return self._drop(datagram, NO_MAPPING)
        if self.filtering != "endpoint" and self._peer(datagram.source) not in mapping.peers:
            return self._drop(datagram, FILTERED)
        if self.refresh_inbound:
            mapping.used_at = now
        datagram.destination = mapping.inside
        return True

    def _peer(self, address: Address) -> Address | str:
        """What the filter knows of a peer."""
        return address if self.filtering == "port" else address[0]

    def _drop(self, datagram: Datagram, reason: str) -> bool:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        datagram.dropped_by, datagram.drop_reason = self.name, reason
        return False

    def rebind(self, address: str | None = None, *, keep_ports: bool = False) -> None:
        """Forget all mappings, as NATs do that restart: what leaves next gets a new port.

        With `address`, one of `outside`, that is the address from now on. With `keep_ports` only the address changes.
        Raises ValueError when the NAT does not have the address, or nothing would change.
        """
        check_rebinding(self.outside, address, keep_ports)
        old = list(self._by_outside.values())
        if keep_ports and address == self._address:
            raise ValueError(f"rebinding to {address} with the same ports: it is the NAT's address already")
        self._by_inside.clear()
        self._by_outside.clear()
        if address is not None:
            self._address = str(ip_address(address))
        if keep_ports:
            for mapping in old:
                mapping.outside = (self._address, mapping.outside[1])
                self._add(mapping)
        self.rebindings += 1
        if self.on_rebind is not None:
            self.on_rebind()

    def forget_idle(self, now: int) -> None:
        """Forget the mappings that nothing has left through for the idle timeout, at `now` (ns)."""
        for mapping in [each for each in self._by_outside.values() if self._expired(each, now)]:
            self._forget(mapping)

    def _map(self, inside: Address, remote: Address | None, now: int) -> _Mapping | None:
        """Make a mapping; None when no port is left."""
        old = self._by_inside.get((inside, remote))
        if old is not None:
            self._forget(old)
        outside = self._next_free(now) if self._ports is None else (self._address, self._ports(self._address))
        if outside is None:
            return None
        mapping = _Mapping(inside, outside, remote, now)
        self._add(mapping)
        return mapping

    def _next_free(self, now: int) -> Address | None:
        first, last = self.port_range
        for _ in range(first, last + 1):
            outside = (self._address, self._next_port)
            self._next_port = self._next_port + 1 if self._next_port < last else first
            holder = self._by_outside.get(outside)
            if holder is None:
                return outside
            if self._expired(holder, now):
                self._forget(holder)
                return outside
        return None

    def _forget(self, mapping: _Mapping) -> None:
        del self._by_inside[mapping.inside, mapping.remote]
        del self._by_outside[mapping.outside]

    def _add(self, mapping: _Mapping) -> None:
        self._by_inside[mapping.inside, mapping.remote] = mapping
        self._by_outside[mapping.outside] = mapping

    def _expired(self, mapping: _Mapping, now: int) -> bool:
        return self.idle_timeout_ns is not None and now - mapping.used_at >= self.idle_timeout_ns


def check_rebinding(outside: Iterable[str], address: str | None, keep_ports: bool) -> None:
    """Raise ValueError unless a NAT with these outside addresses can rebind so."""
    if address is not None and str(ip_address(address)) not in outside:
        raise ValueError(f"rebinding to {address}: the NAT must have that address, it has {', '.join(outside)}")
    if keep_ports and address is None:
        raise ValueError("rebinding with keep_ports: needs an address, else nothing would change")
