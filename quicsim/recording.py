"""What is recorded of each host of a run: metrics always, traces and captures as the plan says."""

from collections.abc import Callable, Mapping
from typing import Final

from quicsim.metrics import ConnectionMetrics, MetricsObserver
from quicsim.observers import Observers
from quicsim.outputs import OutputDirectory
from quicsim.pcapng import HostCapture
from quicsim.plan import CapturePlan
from quicsim.qlog import QlogObserver
from stack.observer import Observer


class Recording:
    """Observers and captures for all hosts; `hosts` are their names.

    Give `observer` to the simulation, and what `captures` holds to its taps; `finish` writes the files.
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
        self._traces: Final[dict[str, QlogObserver]] = {}
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

    @property
    def connections(self) -> list[ConnectionMetrics]:
        """The metrics of every end of every connection, by host and in order of their start."""
        return [metrics for observer in self._metrics.values() for metrics in observer.connections]

    def finish(self) -> None:
        """Complete all files."""
        for trace in self._traces.values():
            trace.close()
        for host, capture in self.captures.items():
            with self._out.binary(f"{host}.pcapng") as file:
                capture.save(file.write)
