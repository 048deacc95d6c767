"""The element: one impairment of one direction of a link.

An element is asked, for each datagram, when it leaves: `receive(datagram, now)` returns a time in ns,
`DROPPED` or `HELD`. Time only grows from call to call, so an element can compute a datagram's departure when
it arrives and needs no event of its own; `now` may lie ahead of the clock when an earlier element delays. Two
flags say what differs:

    in_order = False    datagrams may leave in another order, or the element calls `forward` itself
    on_time = True      `receive` must be called when the clock shows `now` (the element schedules events)
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, Self

from links.datagram import Datagram

DROPPED: Final = -1  # the datagram is gone; `Element.drop` returns it
HELD: Final = -2  # the element keeps the datagram and will `forward` it


class Randomness(Protocol):
    """What elements draw from; `random.Random(seed)` fits."""

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


class Schedule(Protocol):
    """Calls `callback(*arguments)` at the time `at` (ns), behind what was scheduled before for that time."""

    def __call__(self, at: int, callback: Callable[..., object], *arguments: object) -> object:
        """Schedule one call."""
        ...


Forward = Callable[[Datagram, int], object]


class Element(ABC):
    """Base of all elements: a name, a random stream and counters.

    `received` counts datagrams in, `dropped` counts them by reason. After `bind`, `rng` is the element's own
    random stream, `schedule` the clock's, and `forward(datagram, at)` hands a datagram that was HELD (or one
    made here) to whatever follows; `lose(datagram, at)` tells that one that was HELD is dropped after all.

    `identity` is what names its random stream on a link: its kind and the arguments that it was made with, or what
    `named` says. So it does not depend on the elements beside it, be they of the same kind.
    """

    in_order: bool = True
    on_time: ClassVar[bool] = False

    rng: Randomness
    schedule: Schedule
    forward: Forward
    lose: Forward

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _given_name: str | None

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        element = super().__new__(cls)
        element._arguments = arguments, named
        element._given_name = None
        return element

    def __init__(self) -> None:
        self.name = ""
        self.received = 0
        self.dropped: dict[str, int] = {}

    def named(self, name: str) -> Self:
        """Give the element a name of its own, for its random stream and for what tells of it; returns the element.

        With a name its draws stay the same also when its arguments change. Raises ValueError when it is in use already.
        """
        if self.name:
            raise ValueError(f"{self.name} is already in use: give it the name {name!r} before")
        self._given_name = name
        return self

    @property
    def label(self) -> str:
        """What tells of it call it, beside its link: its name, or its kind."""
        return self._given_name or type(self).__name__

    @property
    def identity(self) -> str:
        """What its random stream is named after, beside its link."""
        if self._given_name is not None:
            return self._given_name
        arguments, named = self._arguments
        signature = inspect.signature(type(self))
        values = (
            f"{name}={'a function' if callable(value) else repr(value)}"
            for name, value in signature.bind(*arguments, **named).arguments.items()
            # Whoever looks on changes nothing, nor does saying what holds anyway.
            if not name.startswith("on_") and value != signature.parameters[name].default
        )
        return f"{type(self).__name__}({', '.join(values)})"

    def bind(self, name: str, rng: Randomness, schedule: Schedule, forward: Forward, lose: Forward) -> None:
        """Put the element to use, once, under `name`. Raises ValueError when it is in use already."""
        if self.name:
            raise ValueError(f"{type(self).__name__} is already in use as {self.name}: make one for each direction")
        self.name = name
        self.rng = rng
        self.schedule = schedule
        self.forward = forward
        self.lose = lose

    @abstractmethod
    def receive(self, datagram: Datagram, now: int) -> int:
        """Take a datagram at `now`; return when it leaves (ns, not before `now`), DROPPED or HELD."""

    def drop(self, datagram: Datagram, reason: str) -> int:
        """Count the datagram as dropped for `reason` and return DROPPED."""
        datagram.dropped_by = self.name
        datagram.drop_reason = reason
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return DROPPED

    @property
    def forwarded(self) -> int:
        """Datagrams passed on, or about to be."""
        return self.received - sum(self.dropped.values())


class Server(Element):
    """Base of the elements that send one datagram at a time, in order, such as Rate: what a queue feeds.

    `idle_at` is when it will have sent everything it was given (ns), `overhead` what a datagram takes on the wire
    beside its UDP payload (bytes).
    """

    idle_at: int
    overhead: int

    @abstractmethod
    def capacity(self, until: int) -> float:
        """Return how many bits it can send from the start to `until` (ns), if it is never idle."""


class Queue(Element):
    """Base of the elements that decide what waits for a Server; they stand beside it in a link's list.

    A datagram that a queue passes on starts to be sent at `max(now, server.idle_at)`: a first-in first-out
    queue knows on arrival how long each datagram will wait. One that must be the only queue of its server is `alone`.
    """

    alone: ClassVar[bool] = False

    server: Server

    def attach(self, server: Server) -> None:
        """Feed `server` from now on."""
        self.server = server
