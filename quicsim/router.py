"""Routers of a simulated network: what passes datagrams on from link to link."""

from collections.abc import Callable
from typing import Final

from links import Datagram
from quicsim.host import Send

NO_ROUTE: Final = "no route"
HOP_LIMIT: Final = "hop limit"


class Router:
    """Passes datagrams on towards their destinations, by the shortest ways of `quicsim.routing`.

    `forwarded` counts them. `dropped` counts by reason those whose destination no link leads to (NO_ROUTE), and those
    that came with a hop limit of 1 (HOP_LIMIT; RFC 8200 section 3, the time to live of RFC 791); their senders are not
    told, as nobody here sends ICMP. `find(address)` returns the way to an address, or None; `lose(datagram, now)` is
    told of what is dropped.
    """

    def __init__(self, name: str, find: Callable[[str], Send | None], lose: Callable[[Datagram, int], object]) -> None:
        self.name: Final = name
        self.forwarded = 0
        self.dropped: dict[str, int] = {}
        self._find: Final = find
        self._lose: Final = lose
        self._ways: dict[str, Send] = {}  # those found so far, by destination

    def receive(self, datagram: Datagram, now: int) -> None:
        """A datagram has come over one link at `now` (ns): put it on another, or drop it."""
        limit = datagram.hop_limit
        if limit <= 1:
            self._drop(datagram, now, HOP_LIMIT)
            return
        datagram.hop_limit = limit - 1
        address = datagram.destination[0]
        try:
            send = self._ways[address]
        except KeyError:
            found = self._find(address)
            if found is None:
                self._drop(datagram, now, NO_ROUTE)
                return
            self._ways[address] = send = found
        self.forwarded += 1
        send(datagram, now)

    def forget(self) -> None:
        """Find all ways anew: there are other links."""
        self._ways.clear()

    def _drop(self, datagram: Datagram, now: int, reason: str) -> None:
        datagram.dropped_by, datagram.drop_reason = self.name, reason
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self._lose(datagram, now)
