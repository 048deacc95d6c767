"""The relay's link with an injected clock: delays, fates, NAT, counters."""

from collections.abc import Callable
from random import Random

import pytest

from links import Datagram, Delay, Duplicate, Element, Jitter, Loss, LossCapped, LossIf, Nat, Rate, TailDrop
from quicsim import Simulation
from quicsim.predicates import ack_only
from quicsim.relay.counters import Lateness
from quicsim.relay.link import RelayedLink
from quicsim.traffic import Cbr, Tcp

MS = 10**6
CLIENT = ("127.0.0.1", 1000)
SERVER = ("127.0.0.1", 4433)
OUTSIDE = ("127.0.0.9", 20_000)


class Bench:
    """A link, and what came out of it: (time, payload, source, destination)."""

    def __init__(
        self,
        up: list[Element],
        down: list[Element],
        seed: int = 1,
        *,
        nat_on_arrival: bool = False,
        traffic: Callable[[Simulation], object] = lambda _: None,
    ) -> None:
        self.to_server: list[tuple[int, bytes]] = []
        self.to_client: list[tuple[int, bytes]] = []
        self.seen: list[Datagram] = []
        self.nat = Nat(["127.0.0.9", "127.0.0.10"])
        self.simulation = simulation = Simulation(seed)
        link = simulation.link("client", "server", up, down)
        traffic(simulation)
        self.link = RelayedLink(
            simulation,
            link,
            nat=self.nat,
            servers=[SERVER],
            to_server=self._reach_server,
            to_client=self._reach_client,
            nat_on_arrival=nat_on_arrival,
        )

    def _reach_server(self, datagram: Datagram, at: int) -> None:
        self.to_server.append((at, datagram.payload))
        self.seen.append(datagram)

    def _reach_client(self, datagram: Datagram, at: int) -> None:
        self.to_client.append((at, datagram.payload))
        self.seen.append(datagram)

    def up(self, payload: bytes, now: int) -> None:
        self.link.send_up(Datagram(payload, CLIENT, SERVER), now)

    def down(self, payload: bytes, now: int, to: tuple[str, int] = OUTSIDE) -> None:
        self.link.send_down(Datagram(payload, SERVER, to), now)


def test_each_direction_has_its_elements_and_nothing_arrives_before_its_time() -> None:
    bench = Bench([Delay("15ms")], [Delay("20ms")])
    bench.up(b"ask", 5)
    bench.link.run(15 * MS + 4)
    assert bench.to_server == []
    bench.link.run(15 * MS + 5)
    assert bench.to_server == [(15 * MS + 5, b"ask")]
    bench.down(b"answer", 16 * MS)
    assert bench.link.next_at == 36 * MS
    bench.link.run(99 * MS)
    assert bench.to_client == [(36 * MS, b"answer")]
    there, back = bench.seen
    assert (there.source, there.destination) == (OUTSIDE, SERVER)
    assert (back.source, back.destination) == (SERVER, CLIENT)


def test_a_late_run_does_not_shift_what_comes_behind() -> None:
    bench = Bench([Rate("10Mbps", 30), Delay("15ms")], [])
    for _ in range(3):
        bench.up(bytes(1252), 0)
    bench.link.run(10**9)
    assert [at for at, _ in bench.to_server] == [15 * MS + 1_025_600 * number for number in (1, 2, 3)]


def test_a_datagram_that_was_read_late_leaves_as_if_it_were_not() -> None:
    """The relay may be busy when a datagram comes: what counts is when it came."""
    bench = Bench([Delay("5ms")], [Delay("5ms")])
    bench.up(b"one", 0)
    bench.link.run(9 * MS)
    bench.up(b"two", 8 * MS)
    bench.link.run(20 * MS)
    assert bench.to_server == [(5 * MS, b"one"), (13 * MS, b"two")]


def test_time_does_not_go_back_for_elements_that_act_themselves() -> None:
    bench = Bench([Jitter("3ms"), Rate("10Mbps"), Delay("1ms")], [])
    for number in range(50):
        bench.up(bytes(100 + number), number * MS // 2)
        if number % 10 == 0:
            bench.link.run((number + 2) * MS // 2)
    bench.link.run(10**9)
    times = [at for at, _ in bench.to_server]
    assert len(times) == 50
    assert times == sorted(times)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_datagrams_meet_the_fates_that_they_meet_in_a_simulation(seed: int) -> None:
    def elements() -> list[Element]:
        return [LossCapped(0.3, 3), Loss(0.05), Duplicate(0.1)]

    simulation = Simulation(seed)
    link = simulation.link("client", "server", elements(), elements())
    bench = Bench(elements(), elements(), seed)
    bench.up(b"", 0)  # for the NAT
    link.up.send(Datagram(b"", ("10.0.0.1", 1), ("10.0.0.2", 1)), 0)
    arrived: list[bytes] = []
    simulation.tap("client", lambda _, now, direction, datagram: arrived.append(datagram.payload))
    for number in range(500):
        payload = number.to_bytes(2)
        bench.down(payload, number)
        simulation.at(number, link.down.send, Datagram(payload, ("10.0.0.2", 1), ("10.0.0.1", 1)), number)
    simulation.run()
    bench.link.run(10**9)
    assert [payload for _, payload in bench.to_client] == arrived
    assert bench.link.down.lost == link.down.lost > 100


def test_another_seed_loses_others() -> None:
    def lost(seed: int) -> list[bytes]:
        bench = Bench([Loss(0.5)], [], seed)
        for number in range(64):
            bench.up(bytes([number]), number)
        bench.link.run(10**9)
        return [payload for _, payload in bench.to_server]

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)


def test_after_a_rebinding_the_old_address_leads_nowhere_even_for_what_is_under_way() -> None:
    bench = Bench([Delay("1ms")], [Delay("10ms")])
    bench.up(b"one", 0)
    bench.down(b"early", 2 * MS)
    bench.down(b"under way", 5 * MS)
    bench.link.run(12 * MS)
    bench.nat.rebind()
    bench.up(b"two", 13 * MS)
    bench.link.run(20 * MS)
    bench.down(b"to the new one", 21 * MS, ("127.0.0.9", 20_001))
    bench.link.run(40 * MS)
    assert [payload for _, payload in bench.to_client] == [b"early", b"to the new one"]
    assert bench.nat.dropped == {"no mapping": 1}
    assert [each.source for each in bench.seen if each.destination == SERVER] == [OUTSIDE, ("127.0.0.9", 20_001)]
    assert bench.link.down.forwarded == 2


def test_a_nat_on_arrival_gives_what_is_under_way_the_new_address() -> None:
    """As in the network of the interop runner, where a client that only acknowledges is not cut off."""
    bench = Bench([Delay("10ms")], [Delay("10ms")], nat_on_arrival=True)
    bench.up(b"one", 0)
    bench.up(b"under way", 8 * MS)
    bench.link.run(12 * MS)
    bench.down(b"answer", 13 * MS)
    bench.nat.rebind()
    bench.link.run(40 * MS)
    assert bench.to_server == [(10 * MS, b"one"), (18 * MS, b"under way")]
    assert [each.source for each in bench.seen] == [OUTSIDE, ("127.0.0.9", 20_001)]
    assert (bench.to_client, bench.nat.dropped) == ([], {"no mapping": 1})


def test_cross_traffic_shares_the_link_as_in_a_simulation() -> None:
    """However late and unevenly the relay gets to run."""

    def elements() -> list[Element]:
        return [Rate("2Mbps", 28), TailDrop(packets=20), Delay("15ms"), Loss(0.01)]

    def cross(simulation: Simulation) -> None:
        Tcp(simulation, "server", "client", congestion="cubic")
        Cbr(simulation, "client", "server", rate="1Mbps", stop="2s")

    end, times = 3 * 10**9, [number * 37 * MS for number in range(60)]
    simulation = Simulation(5)
    link = simulation.link("client", "server", elements(), elements())
    cross(simulation)
    arrived: list[tuple[int, bytes]] = []

    def note(_: str, now: int, direction: str, datagram: Datagram) -> None:
        if datagram.source[1] == SERVER[1]:
            arrived.append((now, datagram.payload))

    simulation.tap("client", note)
    for number, at in enumerate(times):
        datagram = Datagram(bytes([number]) * 1000, ("10.0.0.2", SERVER[1]), ("10.0.0.1", 1))
        simulation.at(at, link.down.send, datagram, at)
    simulation.run(until=end)

    bench = Bench(elements(), elements(), 5, traffic=cross)
    bench.nat.send(Datagram(b"", CLIENT, SERVER), 0)
    for number, at in enumerate(times):
        bench.down(bytes([number]) * 1000, at)
        if number % 3 == 0:
            bench.link.run(at + 20 * MS)
    bench.link.run(end)
    assert bench.to_client == arrived
    assert 0 < len(arrived) < len(times)  # the flow's queue took some
    flows = {name: (flow.sent, flow.received) for name, flow in simulation.traffic.items()}
    assert {each.name: (each.sent, each.received) for each in bench.link.flows} == flows
    assert flows["server>client/tcp"][1] > 300


def test_a_host_must_not_have_the_servers_address_where_there_is_cross_traffic() -> None:
    simulation = Simulation()
    simulation.host("server", [SERVER[0]])
    link = simulation.link("client", "server", [], [])
    options = {"nat": Nat(["127.0.0.9"]), "servers": [SERVER], "to_server": print, "to_client": print}
    Cbr(simulation, "client", "server", rate="1Mbps")
    with pytest.raises(ValueError, match=r"address 127\.0\.0\.1: is the server's"):
        RelayedLink(simulation, link, **options)  # type: ignore[arg-type]


def test_counters_tell_what_each_element_dropped_and_why() -> None:
    bench = Bench([Rate("1Mbps"), TailDrop(packets=2), Loss(1.0), Delay("1ms")], [])
    for _ in range(5):
        bench.up(bytes(1000), 0)
    bench.link.run(10**9)
    up = bench.link.up
    assert (up.name, up.received, up.received_bytes, up.forwarded, up.lost) == ("client>server", 5, 5000, 0, 5)
    assert [(each.name, each.received, each.dropped) for each in up.elements] == [
        ("client>server/TailDrop", 5, {"queue full": 2}),
        ("client>server/Rate", 3, {}),
        ("client>server/Loss", 3, {"loss": 3}),
        ("client>server/Delay", 0, {}),
    ]


def test_lateness_has_mean_quantiles_and_the_worst() -> None:
    late = Lateness()
    assert (late.mean_ns, late.quantile_ns(0.99), late.max_ns) == (0, 0, 0)
    times = list(range(0, 1_000_000, 1000))
    Random(1).shuffle(times)
    for each in times:
        late.add(each)
    late.add(3 * 10**9)
    assert late.count == 1001
    assert late.mean_ns == (sum(times) + 3 * 10**9) // 1001
    assert late.quantile_ns(0.5) == 510_000
    assert late.quantile_ns(0.99) == 1_000_000
    assert late.max_ns == 3 * 10**9


def test_frames_which_a_relay_can_not_read_are_refused() -> None:
    with pytest.raises(ValueError, match="link client>server: LossIf asks for frames, which a relay can't read"):
        Bench([LossIf(ack_only())], [])
