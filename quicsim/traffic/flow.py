"""What all flows of cross traffic share: their hosts, their time, and what they count."""

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from links.units import nanoseconds
from quicsim.series import NS_PER_S, Series
from quicsim.simulation import Simulation


class Flow(ABC):
    """Traffic from the host `source` to the host `destination`, from `start` to `stop` (ns or text such as "3s").

    Without `stop` it goes on until `stop()` is called, or its data are all there: a run without an end of its own does
    not end then. The destination may be an address of a host too. `name` is by default made of the two and the kind.

    `sent` counts datagrams of the source and `received` those that came to the destination; `received_bytes` is what
    the destination's application got, and `arrivals` when, with a column "size". `ended_at` is when it stopped, in ns,
    or None.

    Raises ValueError when no link leads there, a flow has the name already, or a time is past.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        sim: Simulation,
        source: str,
        destination: str,
        *,
        start: int | str = 0,
        stop: int | str | None = None,
        name: str | None = None,
    ) -> None:
        self.sim: Final = sim
        self.source: Final = sim.owner(source)
        self.local, self.remote = sim.resolve(destination, self.source)
        self.destination: Final = sim.owner(self.remote)
        self.name: Final = name or _unused(f"{source}>{destination}/{self.kind}", sim.traffic)
        self.started_at: Final = max(nanoseconds(start), sim.now)
        self.ended_at: int | None = None
        self.sent = 0
        self.received = 0
        self.received_bytes = 0
        self.arrivals: Final = Series("size")
        if self.name in sim.traffic:
            raise ValueError(f"traffic {self.name}: must have another name, there is such a flow")
        stop_at = None if stop is None else nanoseconds(stop)
        if stop_at is not None and stop_at <= self.started_at:
            raise ValueError(f"traffic {self.name}: must stop after {self.started_at} ns, when it starts")
        self.rng: Final = sim.random(f"traffic/{self.name}")
        sim.traffic[self.name] = self
        sim.at(self.started_at, self._begin)
        if stop_at is not None:
            sim.at(stop_at, self.stop)

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return self.ended_at is None and self.sim.now >= self.started_at

    @property
    def goodput(self) -> float:
        """Application bits per second, from its start to its end, or until now."""
        end = self.sim.now if self.ended_at is None else self.ended_at
        return 8 * NS_PER_S * self.received_bytes / (end - self.started_at) if end > self.started_at else 0.0

    def stop(self) -> None:
        """End it now: nothing more is sent."""
        if self.ended_at is None:
            self.ended_at = self.sim.now
            self._end()

    def _begin(self) -> None:
        if self.ended_at is None:
            self._start()

    @abstractmethod
    def _start(self) -> None:
        """Begin to send."""

    def _end(self) -> None:  # noqa: B027 - most have nothing to do
        """Send no more; called once."""

    def _arrived(self, size: int) -> None:
        """The destination's application has got `size` further bytes."""
        self.received_bytes += size
        self.arrivals.append(self.sim.now, size)


def _unused(name: str, taken: dict[str, Flow]) -> str:
    number = 1
    numbered = name
    while numbered in taken:
        number += 1
        numbered = f"{name}{number}"
    return numbered
