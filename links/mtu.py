"""The largest datagram that a link carries."""

from links.datagram import Datagram
from links.element import Element
from links.units import size_in_bytes


class Mtu(Element):
    """Drops datagrams larger than `size`: their UDP payload and `overhead` (both in bytes) must fit.

    With `overhead` 0 `size` is the largest UDP payload; with 28 (UDP + IPv4) or 48 (UDP + IPv6) it is what is commonly
    called an MTU. `size` may be set anew while the link is in use.
    """

    def __init__(self, size: int | str, overhead: int | str = 0) -> None:
        super().__init__()
        self.size = size_in_bytes(size)
        self.overhead = size_in_bytes(overhead)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, "too large") if datagram.size + self.overhead > self.size else now
