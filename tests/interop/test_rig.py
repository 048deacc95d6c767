"""The interop runner's networks: times on the wire, queue, loss and damage as its simulator has them."""

from itertools import pairwise

import pytest

from links import Datagram
from quicsim import Simulation
from quicsim.interop import rig
from quicsim.interop.rig import Network

MS = 10**6
CLIENT = {False: "10.0.0.1", True: "fd00::1"}
SERVER = {False: "10.0.0.2", True: "fd00::2"}


def arrivals(network: Network, sizes: list[int], interval: int = 0, seed: int = 1) -> list[tuple[int, bytes]]:
    """Send datagrams to the server and return when each arrived, and what."""
    simulation = Simulation(seed)
    client = simulation.host("client", [CLIENT[network.ipv6]])
    server = simulation.host("server", [SERVER[network.ipv6]])
    simulation.link("client", "server", network.up(), network.down())
    seen: list[tuple[int, bytes]] = []
    simulation.tap("server", lambda _, now, __, datagram: seen.append((now, datagram.payload)))
    source, destination = (client.addresses[0], 1), (server.addresses[0], 2)
    for number, size in enumerate(sizes):
        at = number * interval
        payload = number.to_bytes(2) + bytes(size - 2)
        simulation.at(at, client.send, Datagram(payload, source, destination, sent_at=at, number=number))
    simulation.run()
    return seen


@pytest.mark.parametrize(("size", "on_the_wire"), [(1200, 984_000), (1252, 1_025_600), (1472, 1_201_600)])
def test_a_datagram_takes_its_time_on_the_wire(size: int, on_the_wire: int) -> None:
    assert [at for at, _ in arrivals(rig.SIMPLE, [size] * 3)] == [
        number * on_the_wire + 15 * MS for number in (1, 2, 3)
    ]


def test_ipv6_takes_20_bytes_more() -> None:
    ((at, _),) = arrivals(rig.IPV6, [1200])
    assert at == 984_000 + 20 * 800 + 15 * MS


def test_of_a_burst_27_are_taken() -> None:
    """25 in the queue, one in the device, one on the wire."""
    assert [payload[:2] for _, payload in arrivals(rig.SIMPLE, [1200] * 40)] == [
        number.to_bytes(2) for number in range(27)
    ]


def test_what_is_lost_has_taken_its_place_on_the_wire() -> None:
    first, second = arrivals(rig.DROP_LIST, [1200] * 8)
    assert (first[0], second[0]) == (984_000 + 15 * MS, 8 * 984_000 + 15 * MS)


def test_the_blackhole_passes_for_five_seconds_and_drops_for_two() -> None:
    passed = {at // (1000 * MS) for at, _ in arrivals(rig.BLACKHOLE, [100] * 1500, interval=10 * MS)}
    assert passed == {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14, 15}


@pytest.mark.parametrize(("network", "rate"), [(rig.HIGH_LOSS, 0.2943), (rig.SOME_LOSS, 0.02)])
def test_loss_has_the_rate_that_its_limited_bursts_leave(network: Network, rate: float) -> None:
    number = 20_000
    seen = [int.from_bytes(payload[:2]) for _, payload in arrivals(network, [100] * number, interval=MS)]
    assert 1 - len(seen) / number == pytest.approx(rate, abs=0.01)
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 4


def test_damage_changes_one_of_the_first_51_bytes_and_loses_nothing() -> None:
    number = 5000
    seen = arrivals(rig.HIGH_CORRUPTION, [200] * number, interval=MS)
    assert len(seen) == number
    changes = []
    for index, (_, payload) in enumerate(seen):
        whole = index.to_bytes(2) + bytes(198)
        changes.append([place for place in range(200) if payload[place] != whole[place]])
    damaged = [places for places in changes if places]
    assert len(damaged) / number == pytest.approx(0.2943, abs=0.02)
    assert all(len(places) == 1 and places[0] < 51 for places in damaged)
