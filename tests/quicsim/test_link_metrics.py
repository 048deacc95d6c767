"""The metrics of links: queues, sojourn times, utilisation and drops; in summaries, in qlog and as a figure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from links import CoDel, Datagram, Delay, Element, Loss, Rate, TailDrop
from quicsim import Simulation, plot
from quicsim.link_metrics import LinkMetrics, NetworkMetrics
from quicsim.outputs import OutputDirectory
from quicsim.plan import parse_plan
from quicsim.run import Run
from quicsim.summary import summary_json

MS = 1_000_000
SERVICE = 800_000  # of 1000 bytes at 10 Mbit/s, ns


def measured(*elements: Element, times: list[int]) -> LinkMetrics:
    """The metrics of a link over which 1000 bytes go at each of these times."""
    sim = Simulation()
    link = sim.link("a", "b", elements)
    metrics = NetworkMetrics(sim)
    for number, at in enumerate(times):
        datagram = Datagram(bytes(1000), ("10.0.0.1", 1), ("10.0.0.2", 2), sent_at=at, number=number)
        sim.at(at, link.up.send, datagram, at)
    sim.run()
    return metrics.links["a>b"]


def test_a_queue_in_numbers() -> None:
    link = measured(Rate("10Mbps"), TailDrop(packets=2), Delay("5ms"), times=[0, 0, 0, 0, 10 * MS])
    (queue,) = link.queues
    assert queue.sojourn.tolist() == [0, SERVICE, 2 * SERVICE, 0]
    length = queue.length()
    assert list(zip(length["time"].tolist(), length["queued_bytes"].tolist(), strict=True)) == [
        (0, 2000),
        (SERVICE, 1000),
        (2 * SERVICE, 0),
    ]
    assert [(drop.at, drop.element, drop.reason, drop.size, drop.number) for drop in link.drops] == [
        (0, "a>b/TailDrop", "queue full", 1000, 3)
    ]
    summary = queue.summary(20 * MS)
    assert (summary.name, summary.sent, summary.sent_bytes) == ("a>b/Rate", 4, 4000)
    assert summary.utilisation == pytest.approx(4 * SERVICE / (20 * MS))
    assert summary.mean_sojourn == pytest.approx(3 * SERVICE / 4)
    assert (summary.p99_sojourn, summary.max_sojourn, summary.max_queued_bytes) == (2 * SERVICE, 2 * SERVICE, 2000)
    assert summary.mean_queued_bytes == pytest.approx(3000 * SERVICE / (20 * MS))


def test_utilisation_counts_what_is_under_way_by_its_share() -> None:
    link = measured(Rate("10Mbps"), times=[0, 0, 2 * MS])
    middles, busy = link.queues[0].utilisation(MS)
    assert middles.tolist() == [0.0005, 0.0015, 0.0025]
    assert busy.tolist() == pytest.approx([1, 0.6, 0.8])


def test_what_codel_drops_from_its_queue_is_not_in_it_any_more() -> None:
    link = measured(CoDel(), Rate("10Mbps"), times=list(range(0, 600 * MS, SERVICE // 2)))
    (queue,) = link.queues
    assert {drop.reason for drop in link.drops} == {"CoDel"}
    assert len(queue.lost) == len(link.drops) > 3
    lengths = queue.length()["queued_bytes"]
    assert lengths[-1] == 0
    assert lengths.min() == 0
    assert np.abs(np.diff(lengths)).max() <= 2000


def test_an_idle_link_has_empty_metrics() -> None:
    link = measured(Rate("10Mbps"), times=[])
    summary = link.queues[0].summary(MS)
    assert (summary.sent, summary.utilisation, summary.mean_sojourn, summary.max_queued_bytes) == (0, 0, None, 0)
    assert [len(part) for part in link.queues[0].utilisation(MS)] == [0, 0]


PLAN = """
name = "measured"
duration = "30s"
[hosts.client]
[hosts.server]
[[nats]]
inside = "client"
outside = ["198.51.100.1"]
[[links]]
between = ["client", "server"]
up = [{ rate = "10Mbps" }, { delay = "10ms" }]
down = [{ rate = "5Mbps" }, { taildrop = "20kB" }, { delay = "10ms" }, { loss = 0.005 }]
[[applications]]
kind = "bulk"
server = "server"
client = "client"
size = "500kB"
[[actions]]
at = "100ms"
do = "rebind"
nat = "client"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of the plan: where its files are, and its summary."""
    out = OutputDirectory(tmp_path_factory.mktemp("run"))
    outcome = Run(parse_plan(PLAN), out).execute()
    assert outcome.ok
    return out.path, json.loads(summary_json(outcome, out.files))


def test_a_run_s_summary_has_drops_by_element_and_queues(run: tuple[Path, dict[str, Any]]) -> None:
    _, summary = run
    down = next(link for link in summary["links"] if link["name"] == "server>client")
    (queue,) = down["queues"]
    assert down["dropped_by"]["server>client/Loss"] == {"loss": down["dropped"]["loss"]}
    assert 0 < queue["utilisation"] < 1
    assert 0 < queue["mean_sojourn"] <= queue["p99_sojourn"] <= queue["max_sojourn"] <= 20_000 * 1600
    assert queue["max_queued_bytes"] <= 20_000
    (nat,) = summary["nats"]
    assert (nat["inside"], nat["rebindings"]) == ("client", 1)


def test_a_run_s_network_has_a_trace_with_marks(run: tuple[Path, dict[str, Any]]) -> None:
    path, summary = run
    records = [json.loads(line.lstrip("\x1e")) for line in (path / "network.sqlog").read_text().split("\n")[:-1]]
    assert records[0]["trace"]["vantage_point"] == {"name": "network", "type": "network"}
    events = records[1:]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    drops = [event["data"] for event in events if event["name"] == "simulation:datagram_dropped"]
    down = next(link for link in summary["links"] if link["name"] == "server>client")
    assert len(drops) == sum(down["dropped"].values())
    assert {drop["element"] for drop in drops} == set(down["dropped_by"])
    (mark,) = (event for event in events if event["name"] == "simulation:marker")
    assert (mark["time"], mark["data"]["type"]) == (100, "nat_rebinding")
    assert any(event["name"] == "simulation:queue_updated" and event["data"]["queued_bytes"] for event in events)
    for trace in path.glob("*_client.sqlog"):
        assert '"name":"simulation:marker"' in trace.read_text()


def test_a_run_plots_its_queues(run: tuple[Path, dict[str, Any]]) -> None:
    path, _ = run
    assert (path / "queues.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_queues_shows_lengths_waits_utilisation_and_drops() -> None:
    link = measured(Rate("10Mbps"), TailDrop(packets=2), Loss(0.5), times=[0] * 5)
    figure = plot.queues([link])
    length, sojourn, busy = figure.axes
    assert [text.get_text() for text in length.get_legend().get_texts()] == ["a>b/Rate", f"dropped ({len(link.drops)})"]
    assert sojourn.lines[0].get_ydata().tolist() == [0, 0.8, 1.6]
    assert busy.lines[0].get_ydata().max() <= 100
