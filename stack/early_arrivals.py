"""0-RTT packets that came before the Initial packet of their connection (RFC 9000 section 5.2.2)."""

from typing import NamedTuple

from stack.limits import MAX_EARLY_ARRIVALS, MAX_UNDECRYPTABLE_BYTES
from stack.observer import Address


class EarlyArrival(NamedTuple):
    """A datagram as it came."""

    connection_id: bytes
    data: bytes
    source: Address
    destination: Address
    ecn: int


class EarlyArrivals:
    """Datagrams that wait, at a server, for the connection that they belong to; the oldest give way."""

    __slots__ = ("_bytes", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[EarlyArrival] = []
        self._bytes = 0

    def keep(self, arrival: EarlyArrival) -> None:
        """Keep a datagram that begins with a 0-RTT packet."""
        self._waiting.append(arrival)
        self._bytes += len(arrival.data)
        while len(self._waiting) > MAX_EARLY_ARRIVALS or self._bytes > MAX_UNDECRYPTABLE_BYTES:
            self._bytes -= len(self._waiting.pop(0).data)

    def take(self, connection_id: bytes, source: Address, destination: Address) -> list[EarlyArrival]:
        """Return the datagrams of a connection between two addresses, in the order in which they came."""
        wanted = (connection_id, source, destination)
        found = [each for each in self._waiting if (each.connection_id, each.source, each.destination) == wanted]
        if found:
            self._waiting = [each for each in self._waiting if each not in found]
            self._bytes -= sum(len(each.data) for each in found)
        return found
