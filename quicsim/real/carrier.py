"""What joins one endpoint with the sockets and the clock of this machine, on an asyncio event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from links import Datagram
from quicsim.driver import Driver
from quicsim.host import RECEIVED, SENT, Tap
from quicsim.real.udp import Received, UdpSocket
from stack.observer import Address

if TYPE_CHECKING:
    from stack.transmit import Transmit

RECEIVES_PER_TURN: Final = 64  # system calls before other sockets and timers get their turn
MAX_WAITING: Final = 4096  # datagrams that wait for a full socket; more are lost, as in any full queue
NS_PER_S: Final = 1_000_000_000


class Carrier:
    """The sockets of one driver, which is set after it is made.

    `tap` is shown every datagram that is sent or received, with the time since 1970. `refused` is the last error that
    the network reported for a destination, such as a closed port there.
    """

    driver: Driver

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: list[UdpSocket], tap: Tap | None = None) -> None:
        self.refused: OSError | None = None
        self.closed = False
        self._loop = loop
        self._tap = tap
        self._sockets: list[UdpSocket] = []
        self._waiting: dict[UdpSocket, deque[Transmit]] = {}
        self._wanted: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        for each in sockets:
            self.add(each)

    def add(self, udp: UdpSocket) -> None:
        """Use one more socket."""
        self._sockets.append(udp)
        self._loop.add_reader(udp.fileno(), self._on_readable, udp)

    def bind(self, address: str) -> Address:
        """Receive at another of the machine's IP addresses too; returns it with a port. Raises OSError."""
        udp = UdpSocket(address)
        self.add(udp)
        return udp.address

    @property
    def addresses(self) -> list[Address]:
        """Where the sockets are bound."""
        return [udp.address for udp in self._sockets]

    @property
    def now(self) -> int:
        """The time in ns, of a clock that only goes forward."""
        return time.monotonic_ns()

    def new_future(self, what: str) -> asyncio.Future[Any]:
        """Return a future of the event loop."""
        return self._loop.create_future()

    # Sending

    def send(self, transmits: "list[Transmit]") -> None:
        """Send datagrams, each through the socket of its source address."""
        if self._tap is not None:
            self._show(self._tap, SENT, transmits)
        if len(self._sockets) == 1:
            self._send(self._sockets[0], transmits)
            return
        for udp in self._sockets:
            self._send(udp, [each for each in transmits if udp.sends_from(each.source)])

    def _send(self, udp: UdpSocket, transmits: "list[Transmit]") -> None:
        waiting = self._waiting.get(udp)
        if waiting is not None:
            waiting.extend(transmits[: MAX_WAITING - len(waiting)])
            return
        done = udp.send(transmits)
        if done < len(transmits):
            self._waiting[udp] = deque(transmits[done:][:MAX_WAITING])
            self._loop.add_writer(udp.fileno(), self._on_writable, udp)

    def _on_writable(self, udp: UdpSocket) -> None:
        waiting = self._waiting[udp]
        for _ in range(udp.send(list(waiting))):
            waiting.popleft()
        if not waiting:
            del self._waiting[udp]
            self._loop.remove_writer(udp.fileno())

    # Receiving

    def _on_readable(self, udp: UdpSocket) -> None:
        received = []
        for _ in range(RECEIVES_PER_TURN):
            try:
                batch = udp.receive()
            except OSError:
                self._on_errors(udp)
                break
            if not batch:
                break
            received += batch
        if received:
            if self._tap is not None:
                self._show(self._tap, RECEIVED, received)
            self.driver.receive_all(received)

    @staticmethod
    def _show(tap: Tap, direction: str, datagrams: "Iterable[Received | Transmit]") -> None:
        now = time.time_ns()
        for each in datagrams:
            tap("", now, direction, Datagram(each.payload, each.source, each.destination, each.ecn))

    def _on_errors(self, udp: UdpSocket) -> None:
        """The network could not deliver. Only a handshake cares: later, loss recovery and idle timeout decide."""
        while (pending := udp.pending_error()) is not None:
            error, destination = pending
            self.refused = error
            self.driver.unreachable(destination)

    # Time

    def wake_at(self, at: int | None) -> None:
        """Wake the driver at `at` (ns), or never. A timer that comes too early sets another one."""
        self._wanted = at
        if at is not None and (self._timer is None or at < self._timer_at):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_later(max(at - self.now, 0) / NS_PER_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        wanted = self._wanted
        if wanted is None:
            return
        if wanted <= self.now:
            self._wanted = None
            self.driver.wake()
        else:
            self.wake_at(wanted)

    def release(self) -> None:
        """Close the sockets; what still waits is lost."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for udp in self._sockets:
            self._loop.remove_reader(udp.fileno())
            if self._waiting.pop(udp, None) is not None:
                self._loop.remove_writer(udp.fileno())
            udp.close()
