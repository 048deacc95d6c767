"""Sources that send without listening: constant rate, Poisson, and on-off with heavy tails."""

from abc import abstractmethod
from math import log
from typing import ClassVar, Final

from links import Address
from links.units import bits_per_second, nanoseconds, number_from, size_in_bytes
from quicsim.host import Socket
from quicsim.series import NS_PER_S
from quicsim.simulation import Simulation
from quicsim.traffic.flow import Flow
from stack.transmit import Transmit

_NUMBER_SIZE: Final = 8  # bytes at the beginning of each payload, and so the smallest


class _Sink:
    """Owns the socket at the destination and counts what comes."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def receive(self, data: bytes, _: Address, __: Address, ___: int) -> None:
        """Count a datagram; a duplicate counts as another one."""
        self._flow.received += 1
        self._flow._arrived(len(data))

    def wake(self) -> None:
        """Nothing is asked for."""


class OpenLoop(Flow):
    """Base: datagrams of `size` bytes (UDP payload), each sent when `_gap` ns have passed since the one before.

    `rate` (bit/s or text such as "2Mbps") counts UDP payloads. Nothing tells the source what is lost.
    """

    def __init__(
        self,
        sim: Simulation,
        source: str,
        destination: str,
        *,
        rate: int | str,
        size: int | str = 1_200,
        start: int | str = 0,
        stop: int | str | None = None,
        name: str | None = None,
    ) -> None:
        self.rate: Final = bits_per_second(rate)
        self.size: Final = size_in_bytes(size)
        if not _NUMBER_SIZE <= self.size <= 65_527:
            raise ValueError(f"size {size!r}: must be from {_NUMBER_SIZE} to 65527 bytes")
        super().__init__(sim, source, destination, start=start, stop=stop, name=name)
        self._work: Final = 8 * self.size * NS_PER_S  # of one datagram; its time is this by the rate
        self._filler: Final = bytes(self.size - _NUMBER_SIZE)
        sink = self.destination.bind((self.remote,))
        sink.driver = _Sink(self)
        self._to: Final = sink.addresses[0]
        self._socket: Socket = self.source.bind((self.local,))
        self._socket.driver = _Sink(self)  # nothing comes back

    def _start(self) -> None:
        self._send()

    def _send(self) -> None:
        if self.ended_at is not None:
            return
        payload = self.sent.to_bytes(_NUMBER_SIZE) + self._filler
        self.sent += 1
        self._socket.send([Transmit(payload, self._socket.addresses[0], self._to, 0)])
        self.sim.engine.schedule(self.sim.now + self._gap(), self._send)

    @abstractmethod
    def _gap(self) -> int:
        """Return the time to the next datagram, in ns."""


class Cbr(OpenLoop):
    """Constant bit rate: datagrams at even distances, exact to the ns in the long run."""

    kind: ClassVar = "cbr"
    _remainder = 0

    def _gap(self) -> int:
        gap, self._remainder = divmod(self._work + self._remainder, self.rate)
        return gap


class Poisson(OpenLoop):
    """A Poisson process: independent exponential distances, so that the mean rate is `rate`."""

    kind: ClassVar = "poisson"

    def _gap(self) -> int:
        return int(-log(1.0 - self.rng.random()) * self._work / self.rate)


class OnOffPareto(OpenLoop):
    """Sends at `rate` for a while and then nothing for a while, for ever; both times are Pareto's.

    `on` and `off` are their means (ns or text such as "500ms"), `shape` from above 1 to 2 is the tail index: many such
    sources together are self-similar (Willinger, Taqqu, Sherman, Wilson 1997). The mean rate is
    `rate * on / (on + off)`, which with heavy tails takes long to show.
    """

    kind: ClassVar = "pareto"

    def __init__(
        self,
        sim: Simulation,
        source: str,
        destination: str,
        *,
        rate: int | str,
        size: int | str = 1_200,
        on: int | str = "500ms",
        off: int | str = "500ms",
        shape: float = 1.5,
        start: int | str = 0,
        stop: int | str | None = None,
        name: str | None = None,
    ) -> None:
        self.on_ns: Final = nanoseconds(on)
        self.off_ns: Final = nanoseconds(off)
        self.shape: Final = number_from("shape", shape, 1, 2)
        if self.shape == 1 or not self.on_ns:
            raise ValueError(f"on {on!r}, shape {shape!r}: must be more than 0 and more than 1, or there is no mean")
        super().__init__(sim, source, destination, rate=rate, size=size, start=start, stop=stop, name=name)
        self._left = 0  # of the time in which it sends, ns

    def _start(self) -> None:
        self._left = self._pareto(self.on_ns)
        super()._start()

    def _gap(self) -> int:
        gap = self._work // self.rate
        self._left -= gap
        while self._left <= 0:
            gap += self._pareto(self.off_ns)
            self._left += self._pareto(self.on_ns)
        return gap

    def _pareto(self, mean: int) -> int:
        least = mean * (self.shape - 1) / self.shape
        return int(least * (1.0 - self.rng.random()) ** (-1 / self.shape))
