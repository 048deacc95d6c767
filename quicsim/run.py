"""Running a plan: the network, its applications, and what is written about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from links import HoldingQueue, Pipeline, Rate, TailDrop
from quicsim.actions import schedule
from quicsim.applications import APPLICATIONS, Result
from quicsim.certificates import test_certificate
from quicsim.engine import Task
from quicsim.link_metrics import LinkMetrics, NetworkMetrics
from quicsim.metrics import ConnectionMetrics
from quicsim.net import Net
from quicsim.outputs import OutputDirectory
from quicsim.plan import ApplicationPlan, Plan, PlanError, build_network
from quicsim.recording import Recording
from quicsim.simulation import Simulation
from stack.observer import Observer

Progress = Callable[[int, int], object]  # virtual time in ns, stream bytes received

_PROGRESS_DATAGRAMS: Final = 256  # between calls of a Progress
_VALIDATIONS: Final = 5  # changes of path that get a figure each
_QUEUES: Final = 4  # links whose queues are in the figure of queues
_NO_LIMIT: Final = 1 << 40  # bytes; a queue's limit above is none


@dataclass(frozen=True)
class Direction:
    """One direction of a link: its capacity in bit/s, if limited, its queue's limit (bytes) and the link's name."""

    capacity: int | None
    queue_limit: int | None
    link: str


@dataclass(frozen=True)
class Flow:
    """A connection as both ends saw it: who sent the more stream data, who received it, and the link between."""

    sender: ConnectionMetrics
    receiver: ConnectionMetrics
    direction: Direction | None


@dataclass
class Outcome:
    """What came of a run. `results` are the applications', None for one that is not done; `now` is in ns.

    `failure` says what went wrong; empty when all went well or the run was interrupted.
    """

    plan: Plan
    simulation: Simulation
    flows: list[Flow] = field(default_factory=list)
    network: NetworkMetrics | None = None
    results: list[Result | None] = field(default_factory=list)
    now: int = 0
    failure: str = ""
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether every application is done and its data arrived as it was sent."""
        return not self.failure and not self.interrupted


class Run:
    """One run of a plan, whose files go to `out`. Raises PlanError when the network can't be built."""

    def __init__(
        self,
        plan: Plan,
        out: OutputDirectory,
        progress: Progress | None = None,
        observer: Callable[[str], Observer | None] | None = None,
    ) -> None:
        """`observer(host name)` gives a further observer of the host's endpoints, or None."""
        self.plan: Final = plan
        self._out: Final = out
        self._progress: Final = progress
        scenario = {"seed": plan.seed, "description": plan.description}
        self._recording: Final = Recording(list(plan.hosts), plan.capture, out, plan.name, scenario, observer)
        self._simulation: Final = Simulation(plan.seed, observer=self._recording.observer, check=plan.check)
        self._directions: Final[dict[tuple[str, str], Direction]] = {}
        self._tasks: Final[list[Task[Any]]] = []
        self._datagrams = 0
        try:
            self._build()
        except ValueError as error:
            raise PlanError(plan.name, [str(error)]) from None

    def execute(self) -> Outcome:
        """Run to the end, to a failure or to an interrupt from the keyboard, and write everything but the summary."""
        plan, simulation = self.plan, self._simulation
        outcome = Outcome(plan, simulation)
        try:
            for task in self._tasks:
                outcome.results.append(simulation.run(task, plan.duration))
            if not self._tasks:
                simulation.run(until=plan.duration)
            outcome.now = simulation.now
            for flow in simulation.traffic.values():
                flow.stop()
            simulation.run(until=max(plan.duration, simulation.now))  # the connections close
        except KeyboardInterrupt:
            outcome.interrupted = True
        except Exception as error:  # whatever an application raises
            outcome.failure = f"{type(error).__name__}: {error}"
        outcome.now = outcome.now or simulation.now
        outcome.results += [None] * (len(self._tasks) - len(outcome.results))
        if not outcome.failure and not all(result is None or result.verified for result in outcome.results):
            outcome.failure = "what an application received differs from what was sent"
        outcome.flows, outcome.network = self._flows(), self._recording.network
        self._recording.finish()
        if plan.capture.plots:
            self._plot(outcome.flows)
        return outcome

    def _build(self) -> None:
        plan, simulation = self.plan, self._simulation
        build_network(plan, simulation)
        for name in plan.hosts:
            if name in self._recording.captures:
                simulation.tap(name, self._recording.captures[name].datagram)
            if self._progress is not None:
                simulation.tap(name, self._count)
        for link in simulation.links.values():
            self._add_direction(link.a.name, link.b.name, link.up)
            self._add_direction(link.b.name, link.a.name, link.down)
        self._recording.watch(simulation)
        for action in plan.actions:
            schedule(action, simulation)
        served: set[tuple[str, int]] = set()
        for application in plan.applications:
            if (application.server, application.port) not in served:
                served.add((application.server, application.port))
                server = APPLICATIONS[application.kind].server
                options = plan.stack | plan.hosts[application.server].stack
                simulation.spawn(application.server, server, test_certificate(), port=application.port, **options)
            options = plan.stack | plan.hosts[application.client].stack
            self._tasks.append(simulation.spawn(application.client, _client, application, options))
        for flow in plan.traffic:
            flow.build(simulation)

    def _add_direction(self, sender: str, receiver: str, way: Pipeline) -> None:
        """Note what is known of a way between hosts; of several ways none has the capacity or the queue."""
        several = (sender, receiver) in self._directions
        self._directions[sender, receiver] = Direction(None, None, "") if several else _direction(way)

    def _count(self, *_: object) -> None:
        self._datagrams += 1
        if self._progress is not None and not self._datagrams % _PROGRESS_DATAGRAMS:
            received = sum(metrics.stream_bytes_received for metrics in self._recording.connections)
            self._progress(self._simulation.now, received)

    def _flows(self) -> list[Flow]:
        """Pair the ends of each connection."""
        ends: dict[str, list[ConnectionMetrics]] = {}
        for metrics in self._recording.connections:
            ends.setdefault(metrics.connection, []).append(metrics)
        flows = []
        for pair in ends.values():
            sender = max(pair, key=lambda end: end.stream_bytes_sent)
            others = [end for end in pair if end is not sender]
            receiver = others[0] if others else sender  # alone when nothing arrived
            direction = self._directions.get((sender.host, receiver.host)) or self._bottleneck(sender)
            flows.append(Flow(sender, receiver, direction))
        return flows

    def _bottleneck(self, sender: ConnectionMetrics) -> Direction | None:
        """Return the slowest link of a connection's first way through routers, None if none has a rate."""
        local, remote = sender.paths.addresses[0]
        limited: dict[int, Direction] = {}
        for link in self._simulation.way(local[0], remote[0]):
            direction = _direction(link)
            if direction.capacity is not None:
                limited.setdefault(direction.capacity, direction)
        return limited[min(limited)] if limited else None

    def _plot(self, flows: list[Flow]) -> None:
        from quicsim import plot  # here: it takes a second to import, and most commands draw nothing

        network = self._recording.network
        busiest = [] if network is None else _busiest(network)
        if busiest:
            with self._out.binary("queues.png") as file:
                plot.save(plot.queues(busiest), file.write)
        for number, flow in enumerate(flows, 1):
            suffix = f"-{number}" if number > 1 else ""
            way = flow.direction or Direction(None, None, "")
            link = None if network is None else network.links.get(way.link)
            queue = link.queues[0].length() if link is not None and link.queues else None
            figures = {
                "congestion": plot.congestion(flow.sender),
                "sequence": plot.sequence(flow.sender, flow.receiver),
                "throughput": plot.throughput(flow.receiver, queue, capacity=way.capacity, queue_limit=way.queue_limit),
            }
            if flow.sender.path_numbers != [0] or flow.receiver.path_numbers != [0]:
                figures["paths"] = plot.paths(flow.sender)
            ends = {end.role: end for end in (flow.sender, flow.receiver)}
            if len(ends) == 2:
                changes = ends["server"].paths.changes[:_VALIDATIONS]
                for index, change in enumerate(changes, 1):
                    figures[f"validation{index}"] = plot.path_validation(ends["client"], ends["server"], change)
            for name, figure in figures.items():
                with self._out.binary(f"{name}{suffix}.png") as file:
                    plot.save(figure, file.write)


async def _client(net: Net, application: ApplicationPlan, options: dict[str, Any]) -> Result:
    await net.sleep(application.start)
    client = APPLICATIONS[application.kind].client
    return await client(
        net,
        application.server,
        trust=test_certificate(),
        port=application.port,
        **application.arguments,
        **options,
    )


def _busiest(network: NetworkMetrics) -> list[LinkMetrics]:
    """Return the links in whose queues datagrams waited longest in sum, if any did, in their order."""
    waited = {name: sum(int(queue.sojourn.sum()) for queue in link.queues) for name, link in network.links.items()}
    least = max(waited.values(), default=0) // 100 + 1
    longest = sorted((name for name in waited if waited[name] >= least), key=lambda name: -waited[name])[:_QUEUES]
    return [link for name, link in network.links.items() if name in longest]


def _direction(way: Pipeline) -> Direction:
    rates = [element.rate for element in way.elements if isinstance(element, Rate)]
    queues = [element for element in way.elements if isinstance(element, TailDrop | HoldingQueue)]
    limit = queues[0].size_limit if queues and queues[0].size_limit < _NO_LIMIT else None
    return Direction(min(rates, default=None), limit, way.name)
