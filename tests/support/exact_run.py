"""A run that must be the same everywhere; `python -m tests.support.exact_run` prints its digest.

It needs nothing but what the program itself needs.
"""

import quicsim
from links import GilbertElliott, Jitter, Loss, Pie, Rate, VariableDelay
from quicsim import Simulation
from quicsim.applications import bulk_client, bulk_server


def sent_by_alice(sim: Simulation) -> list[tuple[int, str, bytes]]:
    """What goes to and from alice in a transfer over a lossy link."""
    seen: list[tuple[int, str, bytes]] = []
    sim.tap("alice", lambda _, now, direction, datagram: seen.append((now, direction, datagram.payload)))
    sim.spawn("bob", bulk_server, quicsim.test_certificate())
    task = sim.spawn("alice", bulk_client, "bob", trust=quicsim.test_certificate(), size=100_000)
    assert sim.run(task) is not None
    return seen


def digest() -> str:
    """The digest of a transfer over a link with a queue and elements that draw."""
    sim = Simulation(11)
    down = [Rate("5Mbps"), Pie(), VariableDelay("10ms", "1ms", "pareto", correlation=0.5), GilbertElliott(0.01, 0.3)]
    sim.link("alice", "bob", [Jitter("2ms"), Loss(0.01)], down)
    sent_by_alice(sim)
    return sim.digest


if __name__ == "__main__":
    print(digest())
