"""What a relay does between its sockets: a NAT before the clients, and the elements of both directions."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from links import Datagram, Element, Nat, Pipeline
from quicsim.predicates import needs_contents
from quicsim.relay.clock import Timeline
from quicsim.relay.counters import DirectionCounters
from quicsim.seeds import random_stream

Deliver = Callable[[Datagram, int], object]  # a datagram, and when it is due (ns)


class Direction:
    """One direction of a link. `deliver` is given what arrives, by the `timeline`."""

    def __init__(
        self, name: str, elements: Iterable[Element], *, seed: int, timeline: Timeline, deliver: Deliver
    ) -> None:
        elements = list(elements)
        for element in elements:
            if needs_contents(element):
                raise ValueError(f"link {name}: {element.label} asks for frames, which a relay can't read")
        self._timeline: Final = timeline
        self._latest = 0  # time of the elements, which only grows
        self._pipeline: Final = Pipeline(
            name,
            elements,
            rng=partial(random_stream, seed),
            schedule=self._schedule,
            deliver=lambda datagram, at: timeline.schedule(at, deliver, datagram, at),
            lose=lambda datagram, at: None,
        )

    def send(self, datagram: Datagram, now: int) -> None:
        """Put a datagram into the link at `now` (ns), or when the elements last did something if that is later."""
        if now > self._latest:
            self._latest = now
        self._pipeline.send(datagram, self._latest)

    def counters(self, forwarded: int) -> DirectionCounters:
        """What was done so far."""
        return DirectionCounters.of(self._pipeline, forwarded)

    def _schedule(self, at: int, callback: Callable[..., object], *arguments: object) -> None:
        self._timeline.schedule(at, self._happen, at, callback, arguments)

    def _happen(self, at: int, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._latest = at
        callback(*arguments)


class RelayedLink:
    """A link between clients and their server, whose datagrams and time come from outside.

    `up` leads from the clients to the server. The elements draw from the streams that they have in a `Simulation` with
    the same `seed` and the same names of the `ends`, and so treat the same sequence of datagrams alike. `to_server` and
    `to_client` are given what arrives, when `timeline` runs. Times are in ns. Raises ValueError as `Pipeline`.
    """

    def __init__(
        self,
        up: Iterable[Element],
        down: Iterable[Element],
        *,
        nat: Nat,
        seed: int,
        to_server: Deliver,
        to_client: Deliver,
        ends: tuple[str, str] = ("client", "server"),
    ) -> None:
        self.nat: Final = nat
        self.timeline: Final = Timeline()
        self._forwarded_up = 0
        self._forwarded_down = 0
        self._to_server: Final = to_server
        self._to_client: Final = to_client
        a, b = ends
        timeline = self.timeline
        self._up: Final = Direction(f"{a}>{b}", up, seed=seed, timeline=timeline, deliver=self._reach_server)
        self._down: Final = Direction(f"{b}>{a}", down, seed=seed, timeline=timeline, deliver=self._reach_client)

    @property
    def up(self) -> DirectionCounters:
        """What was done so far on the way to the server."""
        return self._up.counters(self._forwarded_up)

    @property
    def down(self) -> DirectionCounters:
        """What was done so far on the way to the clients."""
        return self._down.counters(self._forwarded_down)

    def send_up(self, datagram: Datagram, now: int) -> None:
        """A client's datagram comes at `now`. Raises OSError when the NAT can't get a port for it."""
        self.timeline.run(now)
        if self.nat.send(datagram, now):
            self._up.send(datagram, now)

    def send_down(self, datagram: Datagram, now: int) -> None:
        """A datagram of the server's comes at `now`, for an address outside of the NAT."""
        self.timeline.run(now)
        self._down.send(datagram, now)

    def _reach_server(self, datagram: Datagram, at: int) -> None:
        self._forwarded_up += 1
        self._to_server(datagram, at)

    def _reach_client(self, datagram: Datagram, at: int) -> None:
        if self.nat.receive(datagram, at):
            self._forwarded_down += 1
            self._to_client(datagram, at)
