"""One link on a clock of its own, and single elements by themselves."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random

from links import DROPPED, Datagram, Element, Pipeline


def datagram(size: int = 1200, number: int = 0) -> Datagram:
    return Datagram(bytes(size), ("10.0.0.1", 1), ("10.0.0.2", 2), number=number)


def bound(element: Element, seed: int = 0) -> Element:
    element.bind("link/element", Random(seed), lambda *_: None, lambda *_: None, lambda *_: None)
    return element


def fates(element: Element, count: int) -> list[int]:
    """The numbers, from 1, of the datagrams that the element drops out of `count`."""
    return [n for n in range(1, count + 1) if element.receive(datagram(number=n), n) == DROPPED]


class Wire:
    """A clock and one pipeline on it; `arrivals` and `losses` are (datagram number, time, …).

    `congested` are the numbers of those that arrive with the ECN codepoint CE.
    """

    def __init__(self, *elements: Element, seed: int = 0) -> None:
        self.now = 0
        self.scheduled = 0
        self.arrivals: list[tuple[int, int]] = []
        self.losses: list[tuple[int, int, str, str]] = []
        self.congested: list[int] = []
        self._events: list[tuple[int, int, Callable[..., object], tuple[object, ...]]] = []
        self._order = count()
        self.pipeline = Pipeline(
            "a>b",
            elements,
            rng=lambda name: Random(f"{seed}/{name}"),
            schedule=self.schedule,
            deliver=lambda it, at: self._at(at, self._arrive, it),
            lose=lambda it, at: self.losses.append((it.id, at, it.dropped_by, it.drop_reason)),
        )

    def schedule(self, at: int, callback: Callable[..., object], *arguments: object) -> None:
        self.scheduled += 1
        self._at(at, callback, *arguments)

    def send(self, *times: int, size: int = 1200, ecn: int | Sequence[int] = 0, ports: Sequence[int] = (1,)) -> "Wire":
        """Send datagrams number 1, 2, … at these times, which ascend, and run until nothing is left.

        They come from these `ports` by turns, and so go the ECN codepoints if there are several.
        """
        codepoints = (ecn,) if isinstance(ecn, int) else ecn
        payload = bytes(size)
        for number, at in enumerate(times, 1):
            while self._events and self._events[0][0] < at:
                self._run_next()
            self.now = at
            source = ("10.0.0.1", ports[(number - 1) % len(ports)])
            codepoint = codepoints[(number - 1) % len(codepoints)]
            self.pipeline.send(Datagram(payload, source, ("10.0.0.2", 2), codepoint, at, number), at)
        while self._events:
            self._run_next()
        return self

    def _run_next(self) -> None:
        self.now, _, callback, arguments = heappop(self._events)
        callback(*arguments)

    def _at(self, at: int, callback: Callable[..., object], *arguments: object) -> None:
        assert at >= self.now
        heappush(self._events, (at, next(self._order), callback, arguments))

    def _arrive(self, packet: Datagram) -> None:
        self.arrivals.append((packet.id, self.now))
        if packet.ecn == 3:
            self.congested.append(packet.id)
