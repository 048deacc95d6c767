"""What a relay takes from a plan."""

import pytest

from links import Delay, Element, Loss, Pipeline
from quicsim.plan import PlanError, parse_plan
from quicsim.relay import Rebind, Setup, rebind_every, setup_of
from quicsim.simulation import Link, Simulation

PLAN = """
name = "net"
seed = 9
[hosts.a]
addresses = ["10.0.0.1", "10.0.1.1"]
[hosts.b]
[hosts.c]
[[nats]]
inside = "10.0.0.1"
outside = ["198.51.100.1", "198.51.100.2"]
idle_timeout = "30s"
[[links]]
between = ["a", "b"]
up = [{ delay = "1ms" }]
down = [{ loss = 0.5 }]
[[links]]
between = ["c", "b"]
[[applications]]
kind = "bulk"
server = "b"
client = "a"
size = 1000
[[actions]]
do = "rebind"
at = "6s"
nat = "10.0.0.1"
[[actions]]
do = "rebind"
at = "1s"
nat = "10.0.0.1"
to = "198.51.100.2"
keep_ports = true
"""


def link_of(setup: Setup) -> Link:
    """The link that a relay with this setup has."""
    return setup.network(Simulation(setup.seed))


def kinds(way: Pipeline) -> list[type[Element]]:
    return [type(element) for element in way.elements]


def test_the_link_may_be_named_from_either_end_clients_first() -> None:
    plan = parse_plan(PLAN)
    there = link_of(setup_of(plan, "a-b"))
    assert (kinds(there.up), kinds(there.down)) == ([Delay], [Loss])
    assert (there.a.name, there.up.name, setup_of(plan, "a-b").seed) == ("a", "a>b", 9)
    back = link_of(setup_of(plan, "b-a"))
    assert (kinds(back.up), kinds(back.down)) == ([Loss], [Delay])
    assert (back.a.name, back.up.name) == ("b", "b>a")
    assert setup_of(plan, "b-a").nat is None


def test_the_nat_of_the_clients_end_rebinds_to_addresses_of_this_machine_in_order_of_time() -> None:
    setup = setup_of(parse_plan(PLAN), "a-b")
    assert setup.nat is not None
    assert setup.nat.idle_timeout == 30 * 10**9
    assert list(setup.rebinds(["127.0.0.1", "127.0.0.2"])) == [
        Rebind(10**9, "127.0.0.2", keep_ports=True),
        Rebind(6 * 10**9),
    ]


def test_the_plans_cross_traffic_is_there_with_the_rest_of_its_network() -> None:
    text = PLAN.replace(
        "[[applications]]",
        """[[traffic]]
kind = "tcp"
source = "b"
destination = "a"
start = "2s"
[[applications]]""",
    )
    simulation = Simulation()
    setup_of(parse_plan(text), "a-b").network(simulation)
    assert list(simulation.links) == ["a-b", "c-b"]
    assert [(flow.kind, flow.started_at) for flow in simulation.traffic.values()] == [("tcp", 2 * 10**9)]


def test_one_of_several_links_must_be_chosen() -> None:
    with pytest.raises(PlanError, match="net: has several links: choose one of a-b, c-b"):
        setup_of(parse_plan(PLAN))
    with pytest.raises(PlanError, match="net: has no link 'a-c': must be one of a-b, c-b, or the other way round"):
        setup_of(parse_plan(PLAN), "a-c")


def test_rebindings_once_or_again_and_again_take_the_addresses_in_turn() -> None:
    assert list(rebind_every(5, None)) == [Rebind(5)]
    again = rebind_every(10, 50, ["one", "two", "three"])
    assert [next(again) for _ in range(4)] == [
        Rebind(10, "two"),
        Rebind(60, "three"),
        Rebind(110, "one"),
        Rebind(160, "two"),
    ]
    assert next(rebind_every(1, 2, ["one"])) == Rebind(1)
