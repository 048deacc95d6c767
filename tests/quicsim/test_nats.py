"""NATs under QUIC: in a row, of IPv6, without ports left; rebindings at times, after events, over and over."""

from typing import Any

import pytest

import quicsim
from links import Datagram, Delay, Rate
from quicsim import Net, Simulation
from quicsim.actions import schedule
from quicsim.applications import bulk_client, bulk_server
from quicsim.plan.actions import action_plan
from stack.errors import ConnectionClosed

MS = 1_000_000
SERVER_V6 = "2001:db8:f::1"


class Network:
    """A client behind NATs and a server, 10 Mbit/s and 10 ms each way; `ports` are what the server sees, in order."""

    def __init__(self, *nats: tuple[str, list[str]], v6: bool = False, **options: Any) -> None:
        self.sim = sim = Simulation(seed=1)
        sim.host("client", ["fd00::1"] if v6 else ["10.0.0.1"])
        sim.host("server", [SERVER_V6] if v6 else ["10.0.9.1"])
        for inside, outside in nats or (("client", ["198.51.100.1", "198.51.100.2"]),):
            sim.nat(inside, outside, **options)
        sim.link("client", "server", up=[Delay("10ms")], down=[Rate("10Mbps"), Delay("10ms")])
        self.sources: dict[tuple[str, int], int] = {}  # to when the server saw them first
        sim.tap("server", self._see)
        sim.spawn("server", bulk_server, quicsim.test_certificate())

    def _see(self, _: str, now: int, direction: str, datagram: Datagram) -> None:
        if direction == "received":
            self.sources.setdefault(datagram.source, now)

    @property
    def ports(self) -> list[int]:
        return [port for _, port in self.sources]

    def transfer(self, size: int = 2_000_000) -> None:
        # Who only receives has nothing to send through a new mapping, unless it keeps the connection alive.
        options: dict[str, Any] = {"trust": quicsim.test_certificate(), "keep_alive_ms": 50}
        task = self.sim.spawn("client", bulk_client, "server", size=size, **options)
        result = self.sim.run(task, until="60s")
        assert result is not None
        assert result.verified


def test_a_transfer_goes_on_through_rebindings_of_two_nats_in_a_row() -> None:
    network = Network(("client", ["100.64.0.1"]), ("100.64.0.1", ["198.51.100.1", "198.51.100.2"]))
    sim = network.sim
    sim.at("200ms", sim.nats["client"].rebind)
    sim.at("600ms", sim.nats["100.64.0.1"].rebind, "198.51.100.2")
    network.transfer()
    # Another port at the inner NAT is one at the outer NAT too.
    assert list(network.sources) == [("198.51.100.1", 20_000), ("198.51.100.1", 20_001), ("198.51.100.2", 20_002)]
    assert sim.behind("100.64.0.1").name == "client"


@pytest.mark.parametrize("symmetric", [False, True])
def test_ipv6_has_nats_too(symmetric: bool) -> None:
    network = Network(("client", ["2001:db8::1", "2001:db8::2"]), v6=True, symmetric=symmetric)
    network.sim.at("300ms", network.sim.nats["client"].rebind, "2001:db8::2")
    network.transfer()
    assert list(network.sources) == [("2001:db8::1", 20_000), ("2001:db8::2", 20_001)]


def test_a_connection_for_which_there_is_no_port_times_out() -> None:
    network = Network(port_range=(5000, 5000))
    sim = network.sim
    network.transfer(10_000)

    async def another(net: Net) -> None:
        with pytest.raises(ConnectionClosed):
            await net.connect("server", 4433, trust=quicsim.test_certificate(), max_idle_timeout_ms=3000)

    sim.run(sim.spawn("client", another), until="20s")
    assert network.ports == [5000]
    assert sim.nats["client"].dropped["no port left"] >= 3


def test_a_rebinding_follows_the_confirmed_handshake() -> None:
    network = Network()
    schedule(action_plan({"do": "rebind", "nat": "client", "on": "handshake_confirmed"}), network.sim)
    network.transfer()
    assert network.ports == [20_000, 20_001]
    # The client knows after one and a half round trips; at most 50 ms later it sends, which the server sees after 10.
    assert 40 * MS < network.sources["198.51.100.1", 20_001] < 110 * MS


def test_a_rebinding_follows_so_many_bytes_after_a_while() -> None:
    network = Network()
    sent: list[tuple[int, int]] = []
    network.sim.tap("client", lambda _, now, way, it: sent.append((now, it.size)) if way == "sent" else None)
    action = action_plan({"do": "rebind", "nat": "client", "sent": "5kB", "after": "100ms"})
    schedule(action, network.sim)
    network.transfer()
    total, reached = 0, 0
    for now, size in sent:
        total += size
        if total >= 5000:
            reached = now
            break
    assert network.ports == [20_000, 20_001]
    assert reached + 110 * MS <= network.sources["198.51.100.1", 20_001] < reached + 170 * MS


def test_rebindings_come_by_a_schedule() -> None:
    network = Network()
    schedule(action_plan({"do": "rebind", "nat": "client", "at": "200ms", "every": "400ms"}), network.sim)
    network.transfer()
    count = network.sim.nats["client"].rebindings
    assert network.ports == list(range(20_000, 20_001 + count))
    seen = list(network.sources.values())[1:]
    assert all(200 * MS < at - 400 * MS * number < 600 * MS for number, at in enumerate(seen)), "each in its time"
    assert count >= 4


def test_a_migration_follows_an_event_too() -> None:
    sim = Simulation()
    sim.host("client", ["10.0.1.1", "10.0.2.1"])
    for address in ("10.0.1.1", "10.0.2.1"):
        sim.link(address, "server", up=[Delay("10ms")], down=[Rate("10Mbps"), Delay("10ms")])
    schedule(action_plan({"do": "migrate", "host": "client", "to": "10.0.2.1", "on": "handshake_confirmed"}), sim)
    sim.spawn("server", bulk_server, quicsim.test_certificate())
    task = sim.spawn("client", bulk_client, "server", trust=quicsim.test_certificate(), size=1_000_000)
    assert sim.run(task, until="20s") is not None
    assert sim.links["10.0.2.1-server"].down.delivered > 500


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ({}, 'must have one of at, on and sent, such as at = "3s"; has none'),
        ({"at": "1s", "sent": 5}, "has at and sent"),
        ({"sent": 5, "every": "1s"}, "every: must be a duration above 0, beside at"),
        ({"at": 5, "every": 0}, "every: must be a duration above 0, beside at"),
        ({"at": 5, "after": 1}, "after: goes with on or sent, not with at"),
    ],
)
def test_a_moment_that_can_not_be_is_refused(moment: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        action_plan({"do": "rebind", "nat": "client"} | moment)


def test_what_comes_too_late_to_be_seen_is_refused() -> None:
    network = Network()
    network.transfer(1000)
    with pytest.raises(ValueError, match="host client: must be observed before it connects or listens"):
        network.sim.when_confirmed("client", print)
    with pytest.raises(ValueError, match="period 0: must be above 0"):
        network.sim.every(0, print)
