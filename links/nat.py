"""Network address translation: what stands between a host and its links, and now and then forgets it."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from links.datagram import Address, Datagram
from links.units import nanoseconds

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 65_535


class _Mapping:
    """An inside address and what stands for it outside; `remote` is the only peer it holds for, None for all."""

    __slots__ = ("inside", "outside", "remote", "used_at")

    def __init__(self, inside: Address, outside: Address, remote: Address | None, used_at: int) -> None:
        self.inside = inside
        self.outside = outside
        self.remote = remote
        self.used_at = used_at


class Nat:
    """Translates the source of what leaves and the destination of what comes back (RFC 4787's terms).

    `outside` are its IP addresses, of which it uses the first; ports are given in order from 20000 up, or are what
    `ports(address)` gives. Mapping and filtering are independent of the peer's address, or both dependent on it if the
    NAT is `symmetric`. A mapping through which nothing has left for `idle_timeout` (ns or text such as "30s") is
    forgotten; None: never. What comes for an address without a mapping is dropped.

    Raises ValueError when there is no outside address, or one of another IP version than the first.
    """

    def __init__(
        self,
        outside: Iterable[str],
        *,
        idle_timeout: int | str | None = None,
        symmetric: bool = False,
        ports: Callable[[str], int] | None = None,
    ) -> None:
        self.outside: Final = tuple(str(ip_address(address)) for address in outside)
        if len({":" in address for address in self.outside}) != 1:
            raise ValueError(
                f"NAT with the outside addresses {list(self.outside)}: must be one or more of one IP version"
            )
        self.symmetric: Final = symmetric
        self.idle_timeout_ns: Final = None if idle_timeout is None else nanoseconds(idle_timeout)
        self.dropped = 0
        self._address = self.outside[0]
        self._ports = ports
        self._next_port = FIRST_PORT
        self._by_inside: dict[tuple[Address, Address | None], _Mapping] = {}
        self._by_outside: dict[Address, _Mapping] = {}

    @property
    def mappings(self) -> dict[Address, Address]:
        """The inside address of each outside one, of all mappings that were not forgotten yet."""
        return {mapping.outside: mapping.inside for mapping in self._by_outside.values()}

    def send(self, datagram: Datagram, now: int) -> None:
        """A datagram leaves at `now` (ns): change its source, with a new mapping if there is none."""
        remote = datagram.destination if self.symmetric else None
        mapping = self._by_inside.get((datagram.source, remote))
        if mapping is None or self._expired(mapping, now):
            mapping = self._map(datagram.source, remote, now)
        mapping.used_at = now
        datagram.source = mapping.outside

    def receive(self, datagram: Datagram, now: int) -> bool:
        """A datagram comes at `now` (ns): change its destination, or return False when it must be dropped."""
        mapping = self._by_outside.get(datagram.destination)
        if (
            mapping is None
            or (mapping.remote is not None and mapping.remote != datagram.source)
            or self._expired(mapping, now)
        ):
            self.dropped += 1
            datagram.dropped_by, datagram.drop_reason = "NAT", "no mapping"
            return False
        datagram.destination = mapping.inside
        return True

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

    def forget_idle(self, now: int) -> None:
        """Forget the mappings that nothing has left through for the idle timeout, at `now` (ns)."""
        for mapping in [each for each in self._by_outside.values() if self._expired(each, now)]:
            self._forget(mapping)

    def _map(self, inside: Address, remote: Address | None, now: int) -> _Mapping:
        old = self._by_inside.get((inside, remote))
        if old is not None:
            self._forget(old)
        outside = self._next_free(now) if self._ports is None else (self._address, self._ports(self._address))
        mapping = _Mapping(inside, outside, remote, now)
        self._add(mapping)
        return mapping

    def _next_free(self, now: int) -> Address:
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            outside = (self._address, self._next_port)
            self._next_port = self._next_port + 1 if self._next_port < LAST_PORT else FIRST_PORT
            holder = self._by_outside.get(outside)
            if holder is None:
                return outside
            if self._expired(holder, now):
                self._forget(holder)
                return outside
        raise RuntimeError(f"the NAT at {self._address} has no port left")

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
