"""What is recorded of a run, of each host and of the network: metrics, traces and captures as the plan says."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from links import Nat
from quicsim.link_metrics import NetworkMetrics
from quicsim.metrics import ConnectionMetrics, MetricsObserver
from quicsim.observers import Observers
from quicsim.outputs import OutputDirectory
from quicsim.pcapng import HostCapture
from quicsim.plan import CapturePlan
from quicsim.qlog import Mark, QlogObserver, write_network_trace
from quicsim.simulation import Simulation
from stack.observer import Observer


class Recording:
    """Observers and captures for all hosts; `hosts` are their names.

    Give `observer` to the simulation, and what `captures` holds to its taps, and let `watch` see the finished network,
    of which `network` then has the metrics; `finish` writes the files.
    """

    def __init__(
        self,
        hosts: list[str],
        plan: CapturePlan,
        out: OutputDirectory,
        title: str,
        scenario: Mapping[str, object],
        further: Callable[[str], Observer | None] | None = None,
    ) -> None:
        """`further(host name)` gives another observer of the host's endpoints, or None."""
        self._out: Final = out
        self._further: Final = further
        self._metrics: Final = {host: MetricsObserver(host) for host in hosts} if plan.metrics else {}
        self._title: Final = title
        self._plan: Final = plan
        self._traces: Final[dict[str, QlogObserver]] = {}
        self._marks: Final[list[Mark]] = []
        self.network: NetworkMetrics | None = None
        self.captures: Final[dict[str, HostCapture]] = {}
        for host in hosts:
            if plan.qlog:
                self._traces[host] = QlogObserver(
                    host, out.text, profile=plan.qlog_profile, title=title, scenario=scenario, limit=plan.qlog_limit
                )
            if plan.pcapng:
                self.captures[host] = HostCapture(host)

    def observer(self, host: str) -> Observer:
        """Return what observes the endpoints of a host."""
        further = None if self._further is None else self._further(host)
        recorders = (self._metrics.get(host), self._traces.get(host), self.captures.get(host), further)
        return Observers([recorder for recorder in recorders if recorder is not None])

    def watch(self, simulation: Simulation) -> None:
        """Record what happens on the links and NATs of a simulation, if metrics are wanted; before any datagram."""
        if self._plan.metrics:
            self.network = NetworkMetrics(simulation)
        for name, nat in simulation.nats.items():
            nat.on_rebind = partial(self._rebound, simulation, name, nat)

    def _rebound(self, simulation: Simulation, name: str, nat: Nat) -> None:
        mark = Mark(simulation.now, "nat_rebinding", f"the NAT of {name} has rebound, now with {nat.address}")
        self._marks.append(mark)
        for trace in self._traces.values():
            trace.mark(*mark)

    @property
    def connections(self) -> list[ConnectionMetrics]:
        """The metrics of every end of every connection, by host and in order of their start."""
        return [metrics for observer in self._metrics.values() for metrics in observer.connections]

    def finish(self) -> None:
        """Complete all files."""
        for trace in self._traces.values():
            trace.close()
        if self._plan.qlog and self.network is not None:
            stream = self._out.text("network.sqlog")
            limit, profile = self._plan.qlog_limit, self._plan.qlog_profile
            write_network_trace(stream, self.network, self._marks, profile=profile, title=self._title, limit=limit)
        for host, capture in self.captures.items():
            with self._out.binary(f"{host}.pcapng") as file:
                capture.save(file.write)
