"""What the simulated network costs: CPU time of a datagram for each hop, which is a link of one element."""

from itertools import pairwise
from time import process_time
from typing import Final

from links import Datagram, Delay
from quicsim import Simulation

LIMIT: Final = 2.5  # µs
FEW: Final = 1  # hops
MANY: Final = 9
_DATAGRAMS: Final = 20_000
_SPACING: Final = 10_000  # ns


def microseconds_per_hop(rounds: int) -> float:
    """Return what one more hop costs a datagram: passing a router, the link's element, the event of its arrival.

    Of so many rounds the quickest counts, of either way: what else a machine does, and its slower times, only add.
    """
    few, many = zip(*((_trip(FEW), _trip(MANY)) for _ in range(rounds)), strict=True)
    return (min(many) - min(few)) / (MANY - FEW) * 1e6


def _trip(hops: int) -> float:
    """Return the CPU seconds of a datagram on its way over so many links of 1 ms, from a host to another."""
    sim = Simulation()
    names = ["a", *(f"router{number}" for number in range(1, hops)), "b"]
    for name in names[1:-1]:
        sim.router(name)
    for one, other in pairwise(names):
        sim.link(one, other, up=[Delay("1ms")], down=[Delay("1ms")])
    a, b = sim.hosts["a"], sim.hosts["b"]
    source, destination = (a.addresses[0], 50_000), (b.addresses[0], 4433)
    payload = bytes(1200)

    def send(number: int) -> None:
        a.send(Datagram(payload, source, destination, sent_at=sim.now, number=number))
        if number + 1 < _DATAGRAMS:
            sim.at(sim.now + _SPACING, send, number + 1)

    sim.at(0, send, 0)
    start = process_time()
    sim.run()
    seconds = process_time() - start
    if b.unreachable != _DATAGRAMS:
        raise RuntimeError(f"{b.unreachable} of {_DATAGRAMS} datagrams came over {hops} hops")
    return seconds / _DATAGRAMS
