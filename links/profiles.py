"""Kinds of access networks as element lists: `sim.link("client", "server", *profiles.dsl())`, the client first.

Each function returns new elements for the way up and the way down. They are round figures for typical networks of a
kind, made up for experiments, not measurements of any one of them; `geo` is the QUIC interop runner's satellite.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from links.codel import CoDel
from links.delay import Delay
from links.element import Element
from links.gilbertelliott import GilbertElliott
from links.loss import Loss
from links.outage import Suspension
from links.pie import Pie
from links.rate import Rate
from links.taildrop import TailDrop
from links.trace import Trace
from links.variabledelay import VariableDelay

OVERHEAD: Final = 28  # bytes of UDP and IPv4 headers


class Profile(NamedTuple):
    """The elements from a client to the network, and back."""

    up: list[Element]
    down: list[Element]


def dsl() -> Profile:
    """Return 10 Mbit/s up, 50 down, 20 ms round trip, tail-drop queues of 200 ms up and 100 ms down."""
    return Profile(
        [Rate("10Mbps", OVERHEAD), TailDrop(wait="200ms"), Delay("10ms")],
        [Rate("50Mbps", OVERHEAD), TailDrop(wait="100ms"), Delay("10ms")],
    )


def cable() -> Profile:
    """Return 20 Mbit/s up with PIE (as DOCSIS modems have), 200 down, 24 ms round trip, slots of 2 ms up."""
    return Profile(
        [Rate("20Mbps", OVERHEAD), Pie("10ms"), VariableDelay("12ms", "2ms", "uniform", reorder=False)],
        [Rate("200Mbps", OVERHEAD), TailDrop(wait="100ms"), Delay("12ms")],
    )


def lte() -> Profile:
    """Return 10 Mbit/s up, a trace of 2 to 24 down, 50 ms round trip that varies, deep queues."""
    return Profile(
        [
            Rate("10Mbps", OVERHEAD),
            TailDrop(wait="500ms"),
            VariableDelay("25ms", "4ms", correlation=0.5, reorder=False),
        ],
        [Trace("lte", OVERHEAD), TailDrop(wait="1s"), VariableDelay("25ms", "4ms", correlation=0.5, reorder=False)],
    )


def nr() -> Profile:
    """Return 5G: 50 Mbit/s up, a trace of 20 to 180 down, 20 ms round trip that varies."""
    return Profile(
        [
            Rate("50Mbps", OVERHEAD),
            TailDrop(wait="200ms"),
            VariableDelay("10ms", "1ms", correlation=0.5, reorder=False),
        ],
        [Trace("5g", OVERHEAD), TailDrop(wait="300ms"), VariableDelay("10ms", "1ms", correlation=0.5, reorder=False)],
    )


def leo() -> Profile:
    """Return satellites in low orbit: 10 Mbit/s up, a trace of 20 to 80 down, 40 ms round trip, losses in bursts.

    Each 15 s there is a change of satellite, for which the way up waits too.
    """
    return Profile(
        [
            Suspension("15s", "100ms", "15s"),
            Rate("10Mbps", OVERHEAD),
            TailDrop(wait="200ms"),
            VariableDelay("20ms", "3ms", correlation=0.7, reorder=False),
            GilbertElliott(0.001, 0.3),
        ],
        [
            Trace("leo", OVERHEAD),
            TailDrop(wait="200ms"),
            VariableDelay("20ms", "3ms", correlation=0.7, reorder=False),
            GilbertElliott(0.001, 0.3),
        ],
    )


def geo() -> Profile:
    """Return a geostationary satellite: 2 Mbit/s up, 20 down, 600 ms round trip, queues of 25 datagrams."""
    return Profile(
        [Rate("2Mbps", OVERHEAD), TailDrop(packets=25), Delay("300ms")],
        [Rate("20Mbps", OVERHEAD), TailDrop(packets=25), Delay("300ms")],
    )


def wifi() -> Profile:
    """Return a wireless home network: 30 Mbit/s up, a trace of 5 to 60 down with CoDel, 6 ms round trip, 0.1 % loss."""
    return Profile(
        [
            Suspension("1s", "20ms", "1s"),
            Rate("30Mbps", OVERHEAD),
            TailDrop(packets=256),
            VariableDelay("3ms", "2ms", "pareto", reorder=False),
            Loss(0.001),
        ],
        [Trace("wifi", OVERHEAD), CoDel(), VariableDelay("3ms", "2ms", "pareto", reorder=False), Loss(0.001)],
    )


PROFILES: Final[dict[str, Callable[[], Profile]]] = {
    "dsl": dsl,
    "cable": cable,
    "lte": lte,
    "5g": nr,
    "leo": leo,
    "geo": geo,
    "wifi": wifi,
}
