"""One direction of a link: its elements, run in order with as few events as exactness allows."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Final

from links.datagram import Datagram
from links.delay import Delay
from links.element import DROPPED, Element, Forward, Queue, Randomness, Schedule, Server
from links.watch import Receive, Watched, Watcher


class Pipeline:
    """Runs datagrams through `elements` and counts them.

    Elements are grouped into stages. Within a stage datagrams keep their order, so that it is computed in one
    pass when a datagram enters it; only between stages an event is scheduled. Most links are one stage.

    `rng(name)` makes an element's random stream, named after the link and `Element.identity` and not after a position,
    so that another element in the list does not shift its draws. `deliver(datagram, at)` and `lose(datagram, at)` are
    told what becomes of each datagram, possibly ahead of the clock; a lost one's `dropped_by` and `drop_reason` are
    set.

    Raises ValueError when a queue stands beside no Rate or an element is in use already.
    """

    def __init__(
        self,
        name: str,
        elements: Iterable[Element],
        *,
        rng: Callable[[str], Randomness],
        schedule: Schedule,
        deliver: Forward,
        lose: Forward,
    ) -> None:
        self.name: Final = name
        self.elements: Final = arrange(name, list(elements))
        self.sent = 0
        self._stayed = 0  # those that did not go through at once
        self._left = 0  # those that came through later, or were made here
        self.lost = 0
        self.sent_bytes = 0
        self.delivered_bytes = 0
        self._schedule = schedule
        self._deliver = deliver
        self._lose = lose
        stages: list[list[Element]] = [[]]
        names = _numbered([f"{name}/{element.label}" for element in self.elements])
        streams = _numbered([f"{name}/{element.identity}" for element in self.elements])
        for element, element_name, stream in zip(self.elements, names, streams, strict=True):
            if element.on_time and stages[-1]:
                stages.append([])
            forward = partial(self._leave, len(stages) - 1)
            element.bind(element_name, rng(stream), schedule, forward, self._drop)
            stages[-1].append(element)
            if not element.in_order:
                stages.append([])
        if len(stages) > 1 and not stages[-1]:
            stages.pop()
        self._stages: list[tuple[Receive, ...]] = [tuple(element.receive for element in stage) for stage in stages]
        self._last: Final = len(stages) - 1
        # The usual end of a link of one stage, which `send` need not call
        end = stages[0][-1] if stages[0] and not self._last else None
        self._delay: Final = end if type(end) is Delay else None
        self._first = self._called_first()

    @property
    def delivered(self) -> int:
        """Datagrams that came through, or will."""
        return self.sent - self._stayed + self._left

    def watch(self, watcher: Watcher) -> None:
        """Tell a watcher what becomes of each datagram; see `links.watch`. Raises ValueError when some came already."""
        if self.sent:
            raise ValueError(f"link {self.name}: must be watched before its first datagram")
        watched = Watched(watcher, self._lose)
        self._lose = watched.lose
        place = iter(self.elements)
        self._stages = [tuple(watched.receive(next(place), receive) for receive in stage) for stage in self._stages]
        self._first = self._called_first()

    def _called_first(self) -> tuple[Receive, ...]:
        return self._stages[0] if self._delay is None else self._stages[0][:-1]

    def divert(self, take: Callable[[Datagram, int], bool]) -> None:
        """Offer what has passed all elements to `take(datagram, at)`; it is delivered only where that returns False."""
        deliver = self._deliver

        def offer(datagram: Datagram, at: int) -> None:
            if not take(datagram, at):
                deliver(datagram, at)

        self._deliver = offer

    def send(self, datagram: Datagram, now: int) -> None:
        """Put a datagram into the link at `now`, which never lies before an earlier call's."""
        self.sent += 1
        self.sent_bytes += datagram.size
        at = now
        for receive in self._first:  # as `_enter` does, which this saves calling
            now = at
            at = receive(datagram, now)
            if at < 0:
                self._stayed += 1
                if at == DROPPED:
                    self._drop(datagram, now)
                return
        if self._last:
            self._stayed += 1
            self._schedule(at, self._enter, 1, datagram, at)
            return
        delay = self._delay
        if delay is not None:
            delay.received += 1
            at += delay.duration_ns
        self.delivered_bytes += datagram.size
        self._deliver(datagram, at)

    def _enter(self, stage: int, datagram: Datagram, now: int) -> None:
        at = now
        for receive in self._stages[stage]:
            now = at
            at = receive(datagram, now)
            if at < 0:
                if at == DROPPED:
                    self._drop(datagram, now)
                return
        self._leave(stage, datagram, at)

    def _drop(self, datagram: Datagram, at: int) -> None:
        self.lost += 1
        self._lose(datagram, at)

    def _leave(self, stage: int, datagram: Datagram, at: int) -> None:
        if stage == self._last:
            self._left += 1
            self.delivered_bytes += datagram.size
            self._deliver(datagram, at)
        else:
            self._schedule(at, self._enter, stage + 1, datagram, at)


def arrange(name: str, elements: list[Element]) -> list[Element]:
    """Return the elements with each queue in front of the Rate that it feeds, and attached to it.

    A run of queues belongs to the Rate before it in the list, or to the one after it when there is none
    before or that one has its queues already. Raises ValueError when a queue has no Rate beside it, or must be
    alone and is not; `name` is the link's, for this.
    """
    arranged: list[Element] = []
    waiting: list[Queue] = []  # queues that feed the next Rate
    served: Server | None = None  # the Rate just before, while queues may still join it
    place = 0
    for element in elements:
        if isinstance(element, Queue):
            if served is not None:
                element.attach(served)
                arranged.insert(place, element)
                place += 1
            else:
                waiting.append(element)
            continue
        if isinstance(element, Server):
            for queue in waiting:
                queue.attach(element)
            arranged.extend(waiting)
            served = None if waiting else element
            place = len(arranged)
            waiting = []
        else:
            _refuse(name, waiting)
            served = None
        arranged.append(element)
    _refuse(name, waiting)
    queues = [element for element in arranged if isinstance(element, Queue)]
    for one, other in pairwise(queues):
        if one.server is other.server and (one.alone or other.alone):
            single = one if one.alone else other
            raise ValueError(f"link {name}: {type(single).__name__} must be the only queue of its Rate")
    return arranged


def _refuse(name: str, queues: list[Queue]) -> None:
    if queues:
        raise ValueError(
            f"link {name}: {type(queues[0]).__name__} must stand beside the Rate (or other Server) whose queue it is"
        )


def _numbered(names: list[str]) -> list[str]:
    """Tell the same names apart: "alice>bob/Loss", and the second one "alice>bob/Loss2"."""
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = number = seen.get(name, 0) + 1
        numbered.append(name if number == 1 else f"{name}{number}")
    return numbered
