"""ECN: marks of queues and at random, and paths that tamper with marks (RFC 3168)."""

from collections.abc import Callable
from typing import Final

from links.chance import Choice
from links.datagram import Datagram
from links.element import Element, Queue
from links.units import nanoseconds

CODEPOINTS: Final = {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}
_CE: Final = 3


class EcnMark(Queue):
    """Marks ECN-capable datagrams CE that will wait longer than `threshold` for their Rate (ns or text like "5ms").

    Those without ECT(0) or ECT(1) pass as they are: a TailDrop beside the same Rate limits both. What is being sent
    when a datagram arrives is part of its wait. `marked` counts.
    """

    def __init__(self, threshold: int | str) -> None:
        super().__init__()
        self.threshold = nanoseconds(threshold)
        self.marked = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if datagram.ecn and self.server.idle_at - now > self.threshold:
            datagram.ecn = _CE
            self.marked += 1
        return now


class EcnMarkRandom(Element):
    """Marks ECN-capable datagrams CE that are chosen with a probability (0 to 1), or by a predicate of the datagram.

    With `correlation` (0 to below 1) a datagram shares with that probability the choice before it. The others, and what
    carries no ECT(0) or ECT(1), pass as they are; `marked` counts. Source: netem's "loss ... ecn".
    """

    def __init__(self, chosen: float | Callable[[Datagram], object], *, correlation: float = 0.0) -> None:
        super().__init__()
        self.choice = Choice(chosen, correlation)
        self.marked = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        if self.choice.takes(datagram, self.rng) and datagram.ecn:
            datagram.ecn = _CE
            self.marked += 1
        return now


class EcnRemark(Element):
    """Rewrites the ECN codepoint of every datagram to `to`, or only of those that carry `only`.

    Codepoints are "not-ect", "ect0", "ect1" and "ce": EcnRemark("not-ect") bleaches, EcnRemark("ect1", only="ect0")
    mangles. `remarked` counts the datagrams that were changed. Raises ValueError for any other codepoint.
    """

    def __init__(self, to: str, *, only: str | None = None) -> None:
        super().__init__()
        self.to = _codepoint(to)
        self.only = None if only is None else _codepoint(only)
        self.remarked = 0

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        ecn = datagram.ecn
        if ecn != self.to and (self.only is None or ecn == self.only):
            datagram.ecn = self.to
            self.remarked += 1
        return now


def _codepoint(name: str) -> int:
    codepoint = CODEPOINTS.get(name) if isinstance(name, str) else None
    if codepoint is None:
        raise ValueError(f"codepoint {name!r}: must be one of {', '.join(CODEPOINTS)}")
    return codepoint
