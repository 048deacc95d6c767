"""A run in figures: as JSON for programs, as a table for people."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from rich.table import Table

import stack.endpoint
from quicsim.applications import DatagramsResult, RequestsResult, Result, TransferResult
from quicsim.metrics import ConnectionSummary
from quicsim.run import Flow, Outcome
from quicsim.series import NS_PER_S
from quicsim.traffic import Flow as CrossTraffic

_MS: Final = 1e6  # ns


def program_version() -> str:
    """Return the version of this program, "0+unknown" when it runs from a source tree that is not installed."""
    try:
        return version("quicsim")
    except PackageNotFoundError:
        return "0+unknown"


def is_compiled() -> bool:
    """Whether the protocol stack is machine code (docs/PERFORMANCE.md); it does the same either way."""
    return not stack.endpoint.__file__.endswith(".py")


def summary_json(outcome: Outcome, files: list[str]) -> str:
    """Return the summary as JSON: the same text for the same plan and seed. Durations are in ns, rates in bit/s."""
    return json.dumps(summary(outcome) | {"files": sorted(files)}, indent=2, ensure_ascii=False) + "\n"


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return the summary as JSON has it, without the names of files."""
    simulation = outcome.simulation
    return {
        "quicsim": program_version(),
        "plan": outcome.plan.name,
        "description": outcome.plan.description,
        "seed": outcome.plan.seed,
        "ok": outcome.ok,
        "failure": outcome.failure,
        "interrupted": outcome.interrupted,
        "virtual_time_ns": outcome.now,
        "digest": simulation.digest,
        "applications": [
            {"kind": application.kind, "client": application.client, "server": application.server}
            | {"result": None if result is None else asdict(result) | _goodput(result)}
            for application, result in zip(outcome.plan.applications, outcome.results, strict=True)
        ],
        "connections": [_flow(flow, outcome.now) for flow in outcome.flows],
        "traffic": [_traffic(flow) for flow in simulation.traffic.values()],
        "links": list(_links(outcome)),
        "nats": [
            {"inside": inside, "outside": nat.outside, "rebindings": nat.rebindings, "dropped": nat.dropped}
            for inside, nat in simulation.nats.items()
        ],
    }


def _goodput(result: Result) -> dict[str, float]:
    return {"goodput": result.goodput} if isinstance(result, TransferResult) else {}


def _flow(flow: Flow, now: int) -> dict[str, object]:
    capacity = flow.direction.capacity if flow.direction is not None else None
    ends = (flow.sender, flow.receiver) if flow.receiver is not flow.sender else (flow.sender,)
    return {
        "connection": flow.sender.connection,
        "capacity": capacity,
        "ends": [asdict(end.summary(now)) for end in ends],
    }


def _traffic(flow: CrossTraffic) -> dict[str, object]:
    return {
        "name": flow.name,
        "kind": flow.kind,
        "sent": flow.sent,
        "received": flow.received,
        "received_bytes": flow.received_bytes,
        "goodput": flow.goodput,
    }


def _links(outcome: Outcome) -> Iterator[dict[str, object]]:
    network = outcome.network
    for link in outcome.simulation.links.values():
        for pipeline in (link.up, link.down):
            drops: dict[str, int] = {}
            for element in pipeline.elements:
                for reason, count in element.dropped.items():
                    drops[reason] = drops.get(reason, 0) + count
            yield {
                "name": pipeline.name,
                "sent": pipeline.sent,
                "sent_bytes": pipeline.sent_bytes,
                "delivered": pipeline.delivered,
                "delivered_bytes": pipeline.delivered_bytes,
                "dropped": drops,
                "dropped_by": {element.name: element.dropped for element in pipeline.elements if element.dropped},
                "queues": [asdict(queue.summary(outcome.now)) for queue in network.links[pipeline.name].queues]
                if network is not None
                else None,
            }


def summary_table(outcome: Outcome) -> Table:
    """Return a table with a column for each connection."""
    table = Table(title=f"{outcome.plan.name}, seed {outcome.plan.seed}", title_justify="left", show_edge=False)
    table.add_column("")
    columns: list[list[str]] = []
    for flow in outcome.flows:
        table.add_column(f"{flow.sender.host} → {flow.receiver.host}", justify="right")
        sender, receiver = flow.sender.summary(outcome.now), flow.receiver.summary(outcome.now)
        columns.append([text(flow, sender, receiver) for _, text in _ROWS])
    for (name, _), *texts in zip(_ROWS, *columns, strict=True):
        table.add_row(name, *texts)
    return table


def verification(outcome: Outcome) -> Iterator[str]:
    """Return a line for each application: whether its data arrived as sent."""
    for number, (application, result) in enumerate(zip(outcome.plan.applications, outcome.results, strict=True)):
        where = f"applications.{number} ({application.kind}, {application.client} and {application.server})"
        if result is None:
            yield f"{where}: not done"
        elif isinstance(result, TransferResult):
            took = f"{result.size:,} bytes in {result.duration_ns / NS_PER_S:.3f} s after the handshake"
            check = "SHA-256 ok" if result.verified else "SHA-256 DIFFERS"
            yield f"{where}: {took}, {check}"
        else:
            check = "data ok" if result.verified else "data DIFFERS"
            yield f"{where}: {_exchanges(result)}, {check}"


def _exchanges(result: RequestsResult | DatagramsResult) -> str:
    count = len(result.latencies_ns)
    mean = sum(result.latencies_ns) / count / _MS if count else 0.0
    what = f"{count} of {result.sent} datagrams echoed" if isinstance(result, DatagramsResult) else f"{count} requests"
    return f"{what}, mean latency {mean:.3f} ms"


def _capacity(flow: Flow) -> str:
    if flow.direction is None or flow.direction.capacity is None:
        return "unlimited"
    return _mbps(flow.direction.capacity)


def _mbps(rate: float | None) -> str:
    return "–" if rate is None else f"{rate / 1e6:.3f} Mbit/s"


def _range(low: float | None, mean: float | None, high: float | None) -> str:
    return " / ".join("–" if value is None else f"{value / _MS:.1f}" for value in (low, mean, high)) + " ms"


def _window(sender: ConnectionSummary) -> str:
    mean, highest = sender.mean_congestion_window, sender.max_congestion_window
    return "–" if mean is None or highest is None else f"{mean:,.0f} / {highest:,} bytes"


_Cell = Callable[[Flow, ConnectionSummary, ConnectionSummary], str]  # flow, sender, receiver
_ROWS: Final[tuple[tuple[str, _Cell], ...]] = (
    ("stream data received", lambda _, __, receiver: f"{receiver.stream_bytes_received:,} bytes"),
    ("time, handshake included", lambda _, __, receiver: f"{receiver.duration / NS_PER_S:.3f} s"),
    ("goodput", lambda _, __, receiver: _mbps(receiver.goodput)),
    ("link capacity", lambda flow, _, __: _capacity(flow)),
    ("packets sent", lambda _, sender, __: f"{sender.packets_sent:,}"),
    ("packets declared lost", lambda _, sender, __: f"{sender.packets_lost:,}"),
    ("stream data sent again", lambda _, sender, __: f"{sender.stream_bytes_retransmitted:,} bytes"),
    ("RTT min / mean / max", lambda _, sender, __: _range(sender.min_rtt, sender.mean_rtt, sender.max_rtt)),
    ("congestion window mean / max", lambda _, sender, __: _window(sender)),
)
