"""Where a NAT stands in the simulated network: between a host and its links."""

from collections.abc import Callable
from typing import Final

from links import Datagram, Nat
from quicsim.host import Host, Send


class Gateway:
    """Translates between a host and its links. `lose(datagram, now)` is told of what has no mapping."""

    def __init__(self, nat: Nat, host: Host, lose: Callable[[Datagram, int], object]) -> None:
        self.nat: Final = nat
        self._host = host
        self._lose = lose

    def way(self, send: Send) -> Send:
        """Return what puts a datagram on a link after its translation."""
        translate = self.nat.send

        def leave(datagram: Datagram, now: int) -> None:
            translate(datagram, now)
            send(datagram, now)

        return leave

    def receive(self, datagram: Datagram) -> None:
        """Hand a datagram from a link to the host, or lose it."""
        now = self._host.engine.now
        if self.nat.receive(datagram, now):
            self._host.receive(datagram)
        else:
            self._lose(datagram, now)
