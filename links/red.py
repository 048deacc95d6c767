"""RED: random early detection."""

from collections.abc import Callable
from typing import Final

from links import units
from links.datagram import Datagram
from links.taildrop import TailDrop
from links.units import number_from, size_in_bytes

_CE: Final = 3


class Red(TailDrop):
    """A TailDrop that drops at random before it is full, the more the longer its average length.

    The average moves by `weight` of its distance to the bytes that wait, at each arrival; while the Rate is idle, as if
    nothing had waited at as many arrivals as it could have sent. Below `minimum` nothing is dropped; up to `maximum`
    (bytes or text such as "30kB") the chance grows to `probability`, up to twice the maximum to 1 (the "gentle"
    variant). Drops are spread evenly: the datagrams from one to the next are as likely 1 as any other number up to 1 /
    chance. With `ecn` ECN-capable datagrams are marked instead, which `marked` counts, up to `maximum`.

    `TailDrop` has the other parameters. Source: S. Floyd, V. Jacobson, "Random Early Detection Gateways for Congestion
    Avoidance" (1993). Raises ValueError when `maximum` is not above `minimum`, or the weight not from 0 to 1.
    """

    def __init__(
        self,
        minimum: int | str,
        maximum: int | str,
        probability: float = 0.1,
        *,
        weight: float = 0.002,
        ecn: bool = False,
        size: int | str | None = None,
        packets: int | None = 1000,
        on_queue: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(size, packets=packets, on_queue=on_queue)
        self.minimum = size_in_bytes(minimum)
        self.maximum = size_in_bytes(maximum)
        if self.maximum <= self.minimum:
            raise ValueError(f"Red: maximum {maximum!r}: must be above the minimum {minimum!r}")
        self.probability = units.probability(probability)
        self.weight = number_from("weight", weight, 0, 1)
        self.ecn = ecn
        self.marked = 0
        self.average = 0.0
        self._since = 0  # datagrams that passed since the last early drop, while there is a chance of one
        self._starts_at = 0  # when the sending of the latest datagram starts

    def receive(self, datagram: Datagram, now: int) -> int:
        self._update(now)
        chance = self._chance()
        if not chance:
            self._since = 0
        else:
            spread = 1 - self._since * chance
            self._since += 1
            if self.rng.random() * spread < chance:
                self._since = 0
                if not self.ecn or not datagram.ecn or self.average >= self.maximum:
                    self.received += 1
                    return self.drop(datagram, "RED")
                datagram.ecn = _CE
                self.marked += 1
        starts_at = max(now, self.server.idle_at)
        at = super().receive(datagram, now)
        if at >= 0:
            self._starts_at = starts_at
        return at

    def _update(self, now: int) -> None:
        idle_at = self.server.idle_at
        if idle_at >= now:
            self.average += self.weight * (self.queued_at(now) - self.average)
            return
        took = max(1, idle_at - self._starts_at)  # to send the latest datagram
        self.average *= (1 - self.weight) ** ((now - idle_at) // took)

    def _chance(self) -> float:
        average, minimum, maximum = self.average, self.minimum, self.maximum
        if average < minimum:
            return 0.0
        if average < maximum:
            return self.probability * (average - minimum) / (maximum - minimum)
        return min(1.0, self.probability + (1 - self.probability) * (average - maximum) / maximum)
