"""Hosts with several addresses, NATs before them, and connections that move."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import quicsim
from links import Datagram, Delay, Rate, TailDrop
from quicsim import Connection, Net, Simulation
from quicsim.applications import bulk_client, bulk_server
from quicsim.metrics import MetricsObserver
from stack.errors import ConnectionClosed, MigrationError

MS = 1_000_000
WIFI, LTE, LTE_V6 = "10.0.1.1", "10.0.2.1", "2001:db8:2::1"
SERVER, PREFERRED, SERVER_V6 = "10.0.9.1", "10.0.9.2", "2001:db8:9::1"
SIZE = 1 << 20

Seen = list[tuple[int, str, Datagram]]


def two_ways() -> Simulation:
    """A client with Wi-Fi (20 Mbit/s, 10 ms) and LTE (10 Mbit/s, 30 ms), and a server with two addresses."""
    sim = Simulation(1)
    sim.host("client", [WIFI, LTE, LTE_V6])
    sim.host("server", [SERVER, PREFERRED, SERVER_V6])
    sim.link(WIFI, "server", up=[Delay("10ms")], down=[Rate("20Mbps"), Delay("10ms")])
    sim.link(LTE, "server", up=[Delay("30ms")], down=[Rate("10Mbps"), Delay("30ms")])
    sim.link(LTE_V6, SERVER_V6, up=[Delay("30ms")], down=[Rate("10Mbps"), Delay("30ms")])
    return sim


def watch(sim: Simulation, host: str) -> Seen:
    """What a host sends and receives, with the addresses as it sees them."""
    seen: Seen = []
    sim.tap(host, lambda _, now, direction, datagram: seen.append((now, direction, datagram.copy())))
    return seen


def transfer(sim: Simulation, *, at: str = "200ms", do: Callable[[Net, Connection], Any], **server: Any) -> Connection:
    """Download SIZE bytes and meanwhile, at a time, await `do(net, connection)`; returns the connection."""

    async def act(net: Net) -> Connection:
        await net.sleep(at)
        (connection,) = sim.net("client").connections
        done = do(net, connection)
        if done is not None:
            await done
        return connection

    sim.spawn("server", bulk_server, quicsim.test_certificate(), **server)
    downloading = sim.spawn("client", bulk_client, "server", trust=quicsim.test_certificate(), size=SIZE)
    acting = sim.spawn("client", act)
    result = sim.run(downloading, until="30s")
    assert result is not None
    assert result.verified
    connection = sim.run(acting)
    assert connection is not None
    return connection


def test_links_of_addresses_lead_each_its_own_way() -> None:
    sim = two_ways()

    async def client(net: Net) -> int:
        await net.connect(SERVER_V6, 4433, trust=quicsim.test_certificate(), server_name="server")
        return net.now

    sim.spawn("server", bulk_server, quicsim.test_certificate())
    handshake = sim.run(sim.spawn("client", client))
    assert handshake is not None
    assert handshake > 60 * MS, "over LTE, the only link with IPv6"
    assert sim.links[f"{LTE_V6}-{SERVER_V6}"].up.sent > 0
    assert sim.links[f"{WIFI}-server"].up.sent == 0


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("10.0.7.7", "server", "address 10.0.7.7: must be of a host that is there already"),
        (WIFI, SERVER, "link 10.0.1.1-10.0.9.1: must join two hosts or routers that no link joins yet"),
        (LTE_V6, PREFERRED, "link 2001:db8:2::1-10.0.9.2: must join two hosts with addresses of one IP version"),
        (WIFI, "client", "link 10.0.1.1-client: must join two hosts"),
    ],
)
def test_a_link_that_can_not_be_is_refused(a: str, b: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        two_ways().link(a, b)


@pytest.mark.parametrize("probe", [True, False])
def test_a_client_migrates_in_the_middle_of_a_transfer(probe: bool) -> None:
    sim = two_ways()
    seen = watch(sim, "client")
    connection = transfer(sim, do=lambda net, connection: connection.migrate(LTE, probe=probe))
    assert connection.path.local[0] == LTE
    assert connection.path.remote == (SERVER, 4433)
    moved_at = next(now for now, direction, datagram in seen if direction == "sent" and datagram.source[0] == LTE)
    assert moved_at == 200 * MS
    late = {datagram.destination[0] for now, direction, datagram in seen if direction == "received" and now > 500 * MS}
    assert late == {LTE}


def test_packets_on_a_slower_path_are_not_lost_because_later_ones_on_the_faster_arrive_first() -> None:
    server = MetricsObserver("server")
    sim = Simulation(1, observer=lambda host: server if host == "server" else None)
    sim.host("client", [WIFI, LTE])
    sim.link(WIFI, "server", up=[Delay("10ms")], down=[Rate("20Mbps"), TailDrop("50kB"), Delay("10ms")])
    sim.link(LTE, "server", up=[Delay("30ms")], down=[Rate("20Mbps"), Delay("30ms")])
    transfer(sim, do=lambda net, connection: connection.migrate(LTE))
    (metrics,) = server.connections
    windows = metrics.recovery["congestion_window"][metrics.recovery["path"] == 1]
    assert len(windows) > 100
    assert windows[0] >= 12_000
    assert (np.diff(windows) >= 0).all()


def test_a_client_migrates_to_another_ip_version_with_a_preferred_address() -> None:
    sim = two_ways()
    options = {"preferred_address_v6": (SERVER_V6, 4433)}
    connection = transfer(sim, do=lambda net, connection: connection.migrate(LTE_V6), **options)
    assert (connection.path.local[0], connection.path.remote) == (LTE_V6, (SERVER_V6, 4433))


def test_a_client_moves_to_the_preferred_address_with_a_port_of_its_own() -> None:
    sim = two_ways()
    connection = transfer(sim, do=lambda *_: None, preferred_address_v4=(PREFERRED, 443))
    assert (connection.path.local[0], connection.path.remote) == (WIFI, (PREFERRED, 443))


def test_a_preferred_address_that_the_server_does_not_have_is_refused() -> None:
    sim = two_ways()
    task = sim.spawn("server", bulk_server, quicsim.test_certificate(), preferred_address_v4=("10.0.9.9", 4433))
    with pytest.raises(ValueError, match=r"host server: must have the address 10\.0\.9\.9, not 10\.0\.9\.1, 10\.0"):
        sim.run(task)


def test_a_migration_to_an_address_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"host client: must have the address 10\.0\.7\.7"):
        transfer(two_ways(), do=lambda net, connection: connection.migrate("10.0.7.7"))


def test_a_migration_that_the_server_disabled_is_refused() -> None:
    with pytest.raises(MigrationError, match="the server has disabled active migration"):
        transfer(two_ways(), do=lambda net, connection: connection.migrate(LTE), disable_active_migration=True)


@pytest.mark.parametrize("probe", [True, False])
def test_a_path_without_an_answer_is_told_and_the_connection_goes_on_where_it_was(probe: bool) -> None:
    sim = Simulation()
    sim.host("client", [WIFI, LTE])
    sim.link(WIFI, "server", up=[Delay("10ms")], down=[Rate("1Mbps"), Delay("10ms")])

    async def fails(net: Net, connection: Connection) -> None:
        with pytest.raises(MigrationError, match=r"there is no answer on the path from 10\.0\.2\.1"):
            await connection.migrate(LTE, probe=probe)
        assert net.now > 3_000 * MS

    connection = transfer(sim, do=fails)
    assert connection.path.local[0] == WIFI
    assert sim.hosts["client"].unroutable > 0


def test_a_migration_waits_for_the_confirmed_handshake_and_ends_with_the_connection() -> None:
    sim = two_ways()

    async def client(net: Net) -> int:
        connection = await net.connect("server", 4433, trust=quicsim.test_certificate())
        ready_at = net.now
        await connection.migrate(LTE)
        moved_after = net.now - ready_at
        connection.close()
        with pytest.raises(ConnectionClosed):
            await connection.migrate(WIFI)
        return moved_after

    sim.spawn("server", bulk_server, quicsim.test_certificate())
    moved_after = sim.run(sim.spawn("client", client))
    assert moved_after is not None
    assert 80 * MS <= moved_after < 82 * MS, (
        "a round trip over Wi-Fi for HANDSHAKE_DONE, one over LTE for the challenge"
    )


def behind_a_nat(**options: Any) -> Simulation:
    sim = Simulation(seed=1)
    sim.nat("client", ["198.51.100.1", "198.51.100.2"], **options)
    sim.link("client", "server", up=[Delay("10ms")], down=[Rate("10Mbps"), Delay("10ms")])
    return sim


def test_a_nat_hides_the_client_from_the_server() -> None:
    sim = behind_a_nat()
    at_server, at_client = watch(sim, "server"), watch(sim, "client")
    transfer(sim, do=lambda *_: None)
    assert {it.source for _, direction, it in at_server if direction == "received"} == {("198.51.100.1", 20_000)}
    assert {it.destination for _, direction, it in at_client if direction == "received"} == {("10.0.0.1", 49_152)}


@pytest.mark.parametrize(
    ("address", "keep_ports", "expected"),
    [
        (None, False, ("198.51.100.1", 20_001)),
        ("198.51.100.2", False, ("198.51.100.2", 20_001)),
        ("198.51.100.2", True, ("198.51.100.2", 20_000)),
    ],
)
def test_a_transfer_goes_on_through_a_rebinding(
    address: str | None, keep_ports: bool, expected: tuple[str, int]
) -> None:
    sim = behind_a_nat()
    at_server = watch(sim, "server")
    transfer(sim, do=lambda *_: sim.nats["client"].rebind(address, keep_ports=keep_ports))
    sources = [it.source for _, direction, it in at_server if direction == "received"]
    assert list(dict.fromkeys(sources)) == [("198.51.100.1", 20_000), expected]
    assert sim.nats["client"].dropped or keep_ports, "what was under way to the old port"


def test_what_a_nat_drops_is_in_the_digest() -> None:
    def digest(rebinds: bool) -> str:
        sim = behind_a_nat()
        sim.hosts["client"].send(Datagram(b"x", ("10.0.0.1", 1), ("10.0.0.2", 2)))
        sim.links["client-server"].down.send(Datagram(b"y", ("10.0.0.2", 2), ("198.51.100.1", 20_000)), 0)
        if rebinds:
            sim.at("1ms", sim.nats["client"].rebind)
        sim.run()
        return sim.digest

    assert digest(rebinds=True) != digest(rebinds=False)


def test_an_idle_mapping_costs_a_client_nothing_but_a_new_path() -> None:
    sim = behind_a_nat(idle_timeout="5s")
    at_server = watch(sim, "server")

    async def client(net: Net) -> None:
        connection = await net.connect("server", 4433, trust=quicsim.test_certificate(), max_idle_timeout_ms=0)
        for pause in ("4s", "6s"):
            await net.sleep(pause)
            stream = await connection.open_stream()
            await stream.write(bytes(1) + (1000).to_bytes(8))
            assert len(await stream.read_all()) == 1000

    sim.spawn("server", bulk_server, quicsim.test_certificate(), max_idle_timeout_ms=0)
    sim.run(sim.spawn("client", client), until="60s")
    ports = [it.source[1] for _, direction, it in at_server if direction == "received"]
    assert list(dict.fromkeys(ports)) == [20_000, 20_001]


def test_a_nat_that_can_not_be_is_refused() -> None:
    sim = behind_a_nat()
    with pytest.raises(ValueError, match=r"NAT of client: must have an address of its IP version .* and no other NAT"):
        sim.nat("client", ["198.51.100.7"])
    with pytest.raises(ValueError, match="NAT of client: must have an address of its IP version"):
        sim.nat("client", ["2001:db8::7"])
    with pytest.raises(ValueError, match="NAT of server: must be there before the links"):
        sim.nat("server", ["198.51.100.7"])
    with pytest.raises(ValueError, match=r"address 198\.51\.100\.2: host client has it"):
        sim.nat("other", ["198.51.100.2"])
