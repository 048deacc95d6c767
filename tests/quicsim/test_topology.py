"""Networks with routers: ways through them, what is dropped there, and the common shapes."""

import networkx as nx
import pytest

import quicsim
from links import Datagram, Delay, Loss, Rate, TailDrop
from links.profiles import lte, wifi
from quicsim import Net, Simulation, topology
from quicsim.applications import bulk_client, bulk_server
from quicsim.pcapng import ip_packet
from stack.errors import ConnectionClosed

MS = 1_000_000


async def connect(net: Net, host: str) -> int:
    """Return how long the handshake takes, in ns."""
    started_at = net.now
    await net.connect(host, 4433, trust=quicsim.test_certificate())
    return net.now - started_at


def serve(sim: Simulation, *hosts: str) -> None:
    for host in hosts:
        sim.spawn(host, bulk_server, quicsim.test_certificate())


def handshake(sim: Simulation, client: str, server: str) -> float:
    """Return how long a handshake takes, in ms."""
    if not sim.host(server).taps:
        sim.tap(server, lambda *_: None)
        serve(sim, server)
    duration = sim.run(sim.spawn(client, connect, server))
    assert duration is not None
    return duration / MS


def bulk(sim: Simulation, client: str, server: str, size: int = 200_000) -> None:
    serve(sim, server)
    result = sim.run(sim.spawn(client, bulk_client, server, trust=quicsim.test_certificate(), size=size))
    assert result is not None
    assert result.verified


def chain(length: int, *, delay: str = "5ms") -> Simulation:
    """alice, as many routers, bob; each link with the delay."""
    sim = Simulation(seed=1)
    names = [f"r{number}" for number in range(length)]
    for name in names:
        sim.router(name)
    for one, other in zip(["alice", *names], [*names, "bob"], strict=True):
        sim.link(one, other, up=[Delay(delay)], down=[Delay(delay)])
    return sim


def test_a_datagram_passes_every_link_of_its_way():
    assert handshake(chain(3), "alice", "bob") == 2 * 4 * 5


def test_each_hop_counts_its_datagrams():
    sim = chain(2)
    bulk(sim, "alice", "bob")
    sim.run()
    sent = [link.down.sent for link in sim.links.values()]
    assert sent[0] == sent[1] == sent[2] > 100
    assert sim.routers["r0"].forwarded == sim.routers["r1"].forwarded == sent[0] + sim.links["alice-r0"].up.sent


def test_the_shortest_way_is_taken_by_the_sum_of_costs():
    sim = Simulation()
    for name in ("near", "far", "end"):
        sim.router(name)
    sim.link("alice", "near")
    sim.link("bob", "end")
    direct = sim.link("near", "end", [Delay("30ms")], [Delay("30ms")], cost=3)
    sim.link("near", "far", [Delay("5ms")], [Delay("5ms")])
    sim.link("far", "end", [Delay("5ms")], [Delay("5ms")])
    assert handshake(sim, "alice", "bob") == 20
    assert direct.up.sent == direct.down.sent == 0


def test_a_link_that_is_made_later_is_taken_when_it_is_shorter():
    sim = chain(3)
    assert handshake(sim, "alice", "bob") == 40
    sim.link("r0", "bob", [Delay("1ms")], [Delay("1ms")])
    assert handshake(sim, "alice", "bob") == 12
    sim.link("alice", "bob", [Delay("1ms")], [Delay("1ms")])
    assert handshake(sim, "alice", "bob") == 2


def test_a_host_does_not_pass_on_what_is_for_others():
    sim = Simulation()
    sim.router("r1")
    sim.router("r2")
    for one, other in (("alice", "r1"), ("bob", "r1"), ("bob", "r2"), ("carol", "r2")):
        sim.link(one, other)
    assert handshake(sim, "alice", "bob") == handshake(sim, "carol", "bob") == 0
    with pytest.raises(ValueError, match="host 'carol': no link leads there from alice"):
        sim.run(sim.spawn("alice", connect, "carol"))


def test_what_no_link_leads_to_is_dropped_with_its_reason():
    sim = Simulation()
    router = sim.router("r")
    link = sim.link("alice", "r")
    sim.host("bob")
    before = sim.digest
    datagram = Datagram(b"hello", ("10.0.0.1", 1), ("10.0.0.2", 2))
    link.up.send(datagram, 0)
    sim.run()
    assert (router.dropped, router.forwarded) == ({"no route": 1}, 0)
    assert (datagram.dropped_by, datagram.drop_reason) == ("r", "no route")
    assert sim.digest != before


def test_the_hop_limit_ends_a_way_that_is_too_long():
    assert handshake(chain(63, delay="1ms"), "alice", "bob") == 128
    sim = chain(64, delay="1ms")
    with pytest.raises(ConnectionClosed):
        handshake(sim, "alice", "bob")
    assert sim.routers["r63"].dropped["hop limit"] > 1
    assert sim.routers["r62"].dropped == {}


def test_captures_show_how_many_routers_a_datagram_has_passed():
    seen: list[int] = []
    sim = chain(3)
    sim.tap("bob", lambda host, now, direction, it: seen.append(it.hop_limit))
    bulk(sim, "alice", "bob", 10)
    assert seen[:2] == [61, 64]
    assert ip_packet(("10.0.0.1", 1), ("10.0.0.2", 2), b"", hop_limit=61)[8] == 61
    assert ip_packet(("::1", 1), ("::2", 2), b"", hop_limit=61)[7] == 61


def test_both_ip_versions_pass_routers_side_by_side():
    sim = Simulation()
    sim.host("alice", ["192.0.2.1", "2001:db8::1"])
    sim.host("bob", ["192.0.2.2", "2001:db8::2"])
    topology.star(sim, ["alice", "bob"], [Delay("5ms")])
    serve(sim, "bob")

    async def remote(net: Net, host: str) -> str:
        conn = await net.connect(host, 4433, trust=quicsim.test_certificate(), server_name="localhost")
        return conn.path.remote[0]

    for address in ("192.0.2.2", "2001:db8::2"):
        assert sim.run(sim.spawn("alice", remote, address)) == address


def test_a_nat_stands_between_its_host_and_routers():
    sim = Simulation()
    sim.host("alice", ["192.168.0.2"])
    nat = sim.nat("alice", ["198.51.100.1"])
    topology.star(sim, ["alice", "bob"], [Delay("5ms")])
    seen: set[str] = set()
    sim.tap("bob", lambda host, now, direction, it: seen.update((it.source[0], it.destination[0])))
    bulk(sim, "alice", "bob")
    assert seen == {"198.51.100.1", "10.0.0.2"}
    assert next(iter(nat.mappings.values()))[0] == "192.168.0.2"
    # Its inside address means nothing to others
    sim.links["bob-hub"].up.send(Datagram(b"", ("10.0.0.2", 1), ("192.168.0.2", 1)), sim.now)
    sim.run()
    assert sim.routers["hub"].dropped == {"no route": 1}


def test_a_nat_is_there_before_the_links_to_routers_too():
    sim = Simulation()
    topology.star(sim, ["alice"])
    with pytest.raises(ValueError, match="NAT of alice: must be there before the links"):
        sim.nat("alice", ["198.51.100.1"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda sim: sim.link("r", "alice"), "link r-alice: must join two hosts or routers that no link joins yet"),
        (lambda sim: sim.link("10.0.0.1", "r"), "link 10.0.0.1-r: must join two hosts or routers that no link joins"),
        (lambda sim: sim.link("q", "r"), "link q-r: must join two hosts or routers that no link joins yet"),
        (lambda sim: sim.link("r", "r"), "link r-r: must join two hosts or routers"),
        (lambda sim: sim.link("r", "bob", cost=0), "link r-bob: cost 0: must be 1 or more"),
        (lambda sim: sim.router("alice"), "router alice: must have another name, alice is a host"),
        (lambda sim: sim.host("r"), "host r: must have another name, r is a router"),
        (lambda sim: sim.spawn("r", connect, "alice"), "host r: must have another name, r is a router"),
    ],
)
def test_what_can_not_be_is_refused(make, said):
    sim = Simulation()
    sim.router("r")
    sim.router("q")
    sim.link("alice", "r")
    sim.link("r", "q")
    with pytest.raises(ValueError, match=said):
        make(sim)


def test_a_dumbbell_has_all_traffic_on_one_link():
    sim = Simulation(seed=3)
    net = topology.dumbbell(
        sim,
        left=["a", "b"],
        right=["c", "d"],
        bottleneck=[Rate("10Mbps"), TailDrop("30kB"), Delay("5ms")],
        access=[Delay("1ms")],
    )
    serve(sim, "c", "d")
    trust = quicsim.test_certificate()
    tasks = [sim.spawn(*pair, trust=trust, size=500_000) for pair in (("a", bulk_client, "c"), ("b", bulk_client, "d"))]
    for task in tasks:
        result = sim.run(task)
        assert result is not None
        assert result.verified
    assert net.bottleneck.down.delivered_bytes > 1_000_000
    assert net.bottleneck.down.lost > 0
    assert sim.now > 1_000_000 * 8 * 100  # ns: both share 10 Mbit/s


def test_a_parking_lot_has_a_pair_across_each_link():
    sim = Simulation()
    net = topology.parking_lot(
        sim, ("a", "z"), [("b", "c"), ("d", "e"), ("f", "g")], bottleneck=[Delay("10ms")], access=[Delay("1ms")]
    )
    assert net.routers == ("r1", "r2", "r3", "r4")
    assert handshake(sim, "a", "z") == 2 * (3 * 10 + 2)
    assert handshake(sim, "d", "e") == 2 * (10 + 2)
    source, destination = (sim.hosts[name].addresses[0] for name in ("a", "z"))
    assert [link.name for link in sim.way(source, destination)] == ["a>r1", "r1>r2", "r2>r3", "r3>r4", "r4>z"]
    assert sim.way(source, "192.0.2.1") == []
    assert net.bottlenecks[1].up.sent > net.bottlenecks[0].up.sent > 0
    with pytest.raises(ValueError, match="must have one pair of hosts across a link at least"):
        topology.parking_lot(sim, ("x", "y"), [], bottleneck=[])


def test_a_multihomed_host_hands_over_from_wifi_to_lte():
    sim = Simulation(seed=2)
    ways = topology.multihomed(sim, "phone", {"10.0.1.2": wifi(), "10.0.2.2": lte()}, router="internet")
    sim.link("internet", "server", [Delay("5ms")], [Delay("5ms")])
    serve(sim, "server")

    async def walk(net: Net) -> bytes:
        conn = await net.connect("server", 4433, trust=quicsim.test_certificate())
        stream = await conn.open_stream()
        await stream.write(bytes(1) + (500_000).to_bytes(8), end=True)
        data = await stream.read_exactly(100_000)
        await conn.migrate("10.0.2.2")
        return data + await stream.read_all()

    data = sim.run(sim.spawn("phone", walk))
    assert data is not None
    assert len(data) == 500_000
    assert all(link.down.delivered > 50 for link in ways.values())


def test_any_graph_becomes_a_network():
    sim = Simulation()
    network = nx.cycle_graph(["r1", "r2", "r3", "r4", "r5"])
    network.add_edge("alice", "r1", elements=[Delay("1ms")])
    network.add_edge("r3", "bob", elements=([Delay("1ms")], [Delay("2ms")]))
    links = topology.graph(sim, network, [Delay("10ms")])
    assert handshake(sim, "alice", "bob") == 2 * 20 + 2 + 3
    assert links["r4-r5"].up.sent == 0
    network.add_node("x", kind="bridge")
    with pytest.raises(ValueError, match="node x: its kind must be 'host' or 'router', not 'bridge'"):
        topology.graph(Simulation(), network)


def test_each_link_of_a_shape_has_elements_and_draws_of_its_own():
    def losses(*hosts: str) -> list[str]:
        sim = Simulation(seed=5)
        links = topology.star(sim, hosts, [Loss(0.5)])
        fates = []
        for link in links[:2]:
            for _ in range(64):
                before = link.up.lost
                link.up.send(Datagram(b"", ("10.0.0.1", 1), ("10.0.0.2", 1)), 0)
                fates.append("x" if link.up.lost > before else ".")
        return fates

    alone, among_others = losses("a", "b"), losses("a", "b", "c", "d")
    assert alone == among_others
    assert alone[:64] != alone[64:]
