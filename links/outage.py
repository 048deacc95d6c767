"""Times without connection: everything is lost, or waits."""

from math import log

from links.datagram import Datagram
from links.element import Element
from links.units import nanoseconds
from links.window import Window


class Blackout(Element):
    """Drops all from `start` for `duration`, and again each `period` if there is one (ns or text such as "2s").

    Blackout("3s", "2s", period="5s") is the QUIC interop runner's "blackhole".
    """

    def __init__(self, start: int | str, duration: int | str, period: int | str | None = None) -> None:
        super().__init__()
        self.window = Window(start, duration, period)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        return self.drop(datagram, "blackout") if self.window.left(now) else now


class Suspension(Element):
    """Keeps all from `start` for `duration`, and again each `period` if there is one; then it goes at once, in order.

    As on Wi-Fi when a station sleeps or scans other channels. Times are ns or text such as "100ms".
    """

    def __init__(self, start: int | str, duration: int | str, period: int | str | None = None) -> None:
        super().__init__()
        self.window = Window(start, duration, period)
        self.suspended = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        left = self.window.left(now)
        self.suspended += left > 0
        return now + left


class Outages(Element):
    """Passes all, then drops all, by turns, for exponentially distributed times of the means `up` and `down`.

    Times are ns or text such as "2s". The turns do not depend on the traffic. Source: mahimahi's mm-onoff. Raises
    ValueError when a mean is 0.
    """

    def __init__(self, up: int | str, down: int | str) -> None:
        super().__init__()
        self.up_ns = nanoseconds(up)
        self.down_ns = nanoseconds(down)
        if not self.up_ns or not self.down_ns:
            raise ValueError(f"Outages({up!r}, {down!r}): means must be above 0")
        self.is_up = False
        self._turns_at = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        while now >= self._turns_at:
            self.is_up = not self.is_up
            mean = self.up_ns if self.is_up else self.down_ns
            self._turns_at += max(1, int(-mean * log(1 - self.rng.random())))
        return now if self.is_up else self.drop(datagram, "outage")
