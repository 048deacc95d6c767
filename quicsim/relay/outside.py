"""The sockets that stand for the outside addresses of a relay's NAT."""

from collections.abc import Callable, Iterator
from typing import Final

from quicsim.real.udp import UdpSocket
from stack.observer import Address

LINGER_NS: Final = 60 * 10**9  # a forgotten address still takes datagrams, and is silent about them


class OutsideSockets:
    """A socket for each outside address that the NAT gives, and for a minute after it has forgotten it.

    `opened` and `closing` are told of each.
    """

    def __init__(self, opened: Callable[[UdpSocket], object], closing: Callable[[UdpSocket], object]) -> None:
        self._opened: Final = opened
        self._closing: Final = closing
        self._sockets: dict[Address, UdpSocket] = {}
        self._forgotten_at: dict[Address, int] = {}

    def open(self, host: str, port: int = 0) -> int:
        """Open a socket and return its port. Raises OSError."""
        udp = UdpSocket(host, port, report_errors=False, timestamps=True)
        udp.gso = False  # each datagram leaves alone
        self._sockets[udp.address] = udp
        self._opened(udp)
        return udp.address[1]

    def get(self, address: Address) -> UdpSocket | None:
        """Return the socket of an address."""
        return self._sockets.get(address)

    def keep(self, addresses: "dict[Address, Address]", now: int) -> None:
        """Open the sockets that are missing for the NAT's `addresses`; close those long forgotten at `now` (ns).

        Raises OSError.
        """
        for host, port in addresses.keys() - self._sockets.keys():
            self.open(host, port)
        for address in list(self._sockets):
            if address in addresses:
                self._forgotten_at.pop(address, None)
            elif now - self._forgotten_at.setdefault(address, now) >= LINGER_NS:
                del self._forgotten_at[address]
                self._close(self._sockets.pop(address))

    def __iter__(self) -> Iterator[UdpSocket]:
        return iter(self._sockets.values())

    def close(self) -> None:
        """Close all."""
        for udp in self._sockets.values():
            self._close(udp)
        self._sockets.clear()

    def _close(self, udp: UdpSocket) -> None:
        self._closing(udp)
        udp.close()
