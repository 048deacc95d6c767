"""What a relay has done so far."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from links import Element, Pipeline
from quicsim.traffic import Flow

_BIN_NS: Final = 10_000
_BINS: Final = 10_000  # up to 100 ms; what is later counts as the last


class Lateness:
    """How long after their due time datagrams were sent on."""

    def __init__(self) -> None:
        self.count = 0
        self.max_ns = 0
        self._sum_ns = 0
        self._bins = [0] * _BINS

    def add(self, late_ns: int) -> None:
        """Note one datagram."""
        self.count += 1
        self._sum_ns += late_ns
        if late_ns > self.max_ns:
            self.max_ns = late_ns
        self._bins[min(late_ns // _BIN_NS, _BINS - 1)] += 1

    @property
    def mean_ns(self) -> int:
        """The mean; 0 of none."""
        return self._sum_ns // self.count if self.count else 0

    def quantile_ns(self, share: float) -> int:
        """Return a time that at least this share of the datagrams kept, to the next 10 µs; 0 of none."""
        needed = share * self.count
        kept = 0
        for index, number in enumerate(self._bins):
            kept += number
            if number and kept >= needed:
                return min((index + 1) * _BIN_NS, self.max_ns)
        return 0


@dataclass(frozen=True, slots=True)
class ElementCounters:
    """An element: its name, what came to it, what it dropped, by reason."""

    name: str
    received: int
    dropped: dict[str, int]

    @classmethod
    def of(cls, element: Element) -> "ElementCounters":
        """The counters of an element by now."""
        return cls(element.name, element.received, dict(element.dropped))


@dataclass(frozen=True, slots=True)
class DirectionCounters:
    """One direction: datagrams and bytes that came, what was sent on, what its elements dropped.

    The rest is under way, or was doubled. Cross traffic counts too.
    """

    name: str
    received: int
    received_bytes: int
    forwarded: int
    lost: int
    elements: tuple[ElementCounters, ...]

    @classmethod
    def of(cls, pipeline: Pipeline, forwarded: int) -> "DirectionCounters":
        """The counters of a direction by now."""
        elements = tuple(map(ElementCounters.of, pipeline.elements))
        return cls(pipeline.name, pipeline.sent, pipeline.sent_bytes, forwarded, pipeline.lost, elements)


@dataclass(frozen=True, slots=True)
class FlowCounters:
    """A flow of cross traffic: datagrams sent and received, application bytes received, and their bit/s."""

    name: str
    sent: int
    received: int
    received_bytes: int
    goodput: float

    @classmethod
    def of(cls, flow: Flow) -> "FlowCounters":
        """The counters of a flow by now."""
        return cls(flow.name, flow.sent, flow.received, flow.received_bytes, flow.goodput)


@dataclass(frozen=True, slots=True)
class RelayCounters:
    """A relay by now; `seconds` since the first datagram.

    `no_mapping` counts datagrams of the server's for an address that the NAT has forgotten, `strangers` those from
    anybody else. `overflowed` were lost before the relay saw them, `refused` because the system took or gave no more.
    """

    seconds: float
    up: DirectionCounters
    down: DirectionCounters
    flows: tuple[FlowCounters, ...]
    clients: int
    rebindings: int
    no_mapping: int
    strangers: int
    overflowed: int
    refused: int
    late_mean_us: float
    late_p99_us: float
    late_max_us: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """All of it, for people."""
        yield (
            f"{self.seconds:.1f} s, {self.clients} clients, {self.rebindings} rebindings; sent on after the due time: "
            f"mean {self.late_mean_us:,.0f} µs, 99 % within {self.late_p99_us:,.0f} µs, all {self.late_max_us:,.0f} µs"
        )
        for way in (self.up, self.down):
            yield (
                f"{way.name}: {way.received:,} datagrams ({way.received_bytes:,} bytes) came, "
                f"{way.forwarded:,} sent on, {way.lost:,} lost"
            )
            for element in way.elements:
                drops = ", ".join(
                    f"{number:,} {reason} ({number / element.received:.2%})"
                    for reason, number in element.dropped.items()
                )
                yield f"  {element.name}: {element.received:,}" + (f", dropped {drops}" if drops else "")
        for flow in self.flows:
            yield (
                f"cross traffic {flow.name}: {flow.sent:,} datagrams sent, {flow.received:,} came, "
                f"{flow.goodput / 1e6:.2f} Mbit/s"
            )
        for number, what in (
            (self.no_mapping, "for an address that the NAT had forgotten"),
            (self.strangers, "not from the server"),
            (self.overflowed, "lost before the relay could take them: it is overloaded"),
            (self.refused, "that the system refused"),
        ):
            if number:
                yield f"also {number:,} datagrams {what}"
