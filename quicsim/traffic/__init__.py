"""Cross traffic: flows that share a simulated network with the applications, none of which speaks to them.

    from quicsim import traffic

    flow = traffic.Tcp(sim, "left2", "right2", congestion="cubic", start="1s", stop="20s")
    sim.run(task)
    print(flow.goodput, flow.retransmitted)

A flow is on the clock once it is made. What it sends are datagrams like any others, so links, taps and captures show
them; their payloads are none of QUIC's (but those of `traffic.Quic`). Flows are in `Simulation.traffic` by name, and
each draws from a random stream of its own, named after it.
"""

from quicsim.traffic.flow import Flow
from quicsim.traffic.open_loop import Cbr, OnOffPareto, Poisson
from quicsim.traffic.quic import Quic
from quicsim.traffic.tcp import Tcp

KINDS: dict[str, type[Flow]] = {"tcp": Tcp, "quic": Quic, "cbr": Cbr, "poisson": Poisson, "pareto": OnOffPareto}

__all__ = ["KINDS", "Cbr", "Flow", "OnOffPareto", "Poisson", "Quic", "Tcp"]
