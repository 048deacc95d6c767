"""The search for the path MTU by itself: probes sent, acknowledged and lost by hand (RFC 8899)."""

import pytest

from stack.path.mtu import BASE_PLPMTU, MAX_PROBES, PMTU_RAISE_TIMER_NS, MtuDiscovery, MtuState
from stack.path.path import Path
from stack.recovery.acknowledgments import NEVER
from stack.recovery.sent import SentPacket
from tests.support.loss_bench import LossBench

LARGEST = 1452


class Bench:
    """A search on a path that carries `mtu` bytes; `probes` are the sizes tried, `sizes` those adopted."""

    def __init__(self, mtu: int, maximum: int = LARGEST, size: int = BASE_PLPMTU) -> None:
        self.mtu = mtu
        self.probes: list[int] = []
        self.sizes: list[int] = []
        self.discovery = MtuDiscovery(size, self.sizes.append)
        self.discovery.start(maximum)

    def probe(self, now: int = 0, lost: bool = False) -> None:
        """Send one probe, and tell what became of it."""
        assert self.discovery.probe_at <= now
        size = self.discovery.probe_size()
        sent = self.discovery.on_probe_sent()
        assert sent[1] == size
        assert self.discovery.probe_at == NEVER  # one at a time
        self.probes.append(sent[1])
        if lost or sent[1] > self.mtu:
            self.discovery.on_lost(sent, now)
        else:
            self.discovery.on_acked(sent, now)

    def search(self, now: int = 0) -> int:
        """Probe until the search is complete; return what it found."""
        while self.discovery.state is MtuState.SEARCHING:
            self.probe(now)
        return self.discovery.size


def packet(size: int, sent_at: int) -> SentPacket:
    return SentPacket(0, sent_at, size, True, True, [], PATH)


PATH: Path = LossBench().path


@pytest.mark.requirement("rfc9000:14.3:1")
def test_the_base_size_is_the_smallest_that_quic_allows() -> None:
    assert BASE_PLPMTU == 1200


def test_a_path_that_carries_the_maximum_takes_one_probe() -> None:
    bench = Bench(1500)
    assert bench.search() == LARGEST
    assert (bench.probes, bench.sizes) == ([LARGEST], [LARGEST])
    assert bench.discovery.probe_at == NEVER


def test_a_size_is_given_up_after_three_lost_probes_and_halves_follow() -> None:
    bench = Bench(1400)
    assert bench.search() == 1389
    # 1404 failed, and the 15 bytes that are left are not worth another round
    assert bench.probes == [*[1452] * 3, 1326, 1389, *[1420] * 3, *[1404] * 3]
    assert bench.sizes == [1326, 1389]


@pytest.mark.parametrize("mtu", range(1200, 1480, 7))
def test_what_is_found_is_never_too_large_and_misses_at_most_sixteen_bytes(mtu: int) -> None:
    found = Bench(mtu).search()
    assert found <= mtu
    assert min(mtu, LARGEST) - found < 16
    assert found >= BASE_PLPMTU


def test_lost_probes_that_others_of_their_size_survive_cost_nothing() -> None:
    bench = Bench(1452)
    for _ in range(MAX_PROBES - 1):
        bench.probe(lost=True)
    assert bench.search() == LARGEST
    assert bench.probes == [LARGEST] * MAX_PROBES


def test_a_larger_size_is_looked_for_again_after_ten_minutes() -> None:
    bench = Bench(1300)
    assert bench.search(now=5) == 1294
    assert bench.discovery.probe_at == 5 + PMTU_RAISE_TIMER_NS == 600_000_000_005
    bench.mtu = 1500
    bench.probes.clear()
    bench.probe(now=bench.discovery.probe_at)
    assert bench.probes == [LARGEST]
    assert bench.discovery.size == LARGEST


def test_a_search_in_vain_after_ten_minutes_leaves_the_size_as_it_is() -> None:
    bench = Bench(1300)
    found = bench.search()
    bench.probe(now=PMTU_RAISE_TIMER_NS)
    assert bench.discovery.state is MtuState.SEARCHING
    assert bench.search(now=PMTU_RAISE_TIMER_NS) == found
    assert bench.discovery.probe_at == 2 * PMTU_RAISE_TIMER_NS


def test_nothing_is_probed_when_the_peer_takes_no_more() -> None:
    bench = Bench(1500, maximum=BASE_PLPMTU)
    assert bench.discovery.state is MtuState.COMPLETE
    assert bench.discovery.probe_at == NEVER


def test_nothing_is_probed_before_the_start() -> None:
    assert MtuDiscovery(BASE_PLPMTU, [].append).probe_at == NEVER


def test_three_large_packets_lost_while_small_ones_arrive_are_a_black_hole() -> None:
    bench = Bench(1500)
    bench.search()
    for sent_at in (10, 11, 12):
        bench.discovery.on_packet_lost(packet(LARGEST, sent_at))
    bench.discovery.judge([packet(LARGEST, 9), packet(BASE_PLPMTU, 13)])
    assert (bench.discovery.size, bench.sizes[-1]) == (BASE_PLPMTU, BASE_PLPMTU)
    bench.mtu = 1300
    assert bench.search() == 1294


def test_two_lost_large_packets_are_no_black_hole_yet() -> None:
    bench = Bench(1500)
    bench.search()
    bench.discovery.on_packet_lost(packet(LARGEST, 10))
    bench.discovery.on_packet_lost(packet(LARGEST, 11))
    bench.discovery.judge([packet(BASE_PLPMTU, 13)])
    assert bench.discovery.size == LARGEST
    assert bench.discovery.suspects == 2


def test_a_large_packet_that_arrives_later_clears_the_suspicion() -> None:
    bench = Bench(1500)
    bench.search()
    for sent_at in (10, 11, 12, 13):
        bench.discovery.on_packet_lost(packet(LARGEST, sent_at))
    bench.discovery.judge([packet(BASE_PLPMTU + 1, 11)])
    assert (bench.discovery.size, bench.discovery.suspects) == (LARGEST, 0)


def test_a_probe_from_before_the_black_hole_says_nothing_about_it() -> None:
    bench = Bench(1326)
    for _ in range(MAX_PROBES + 1):
        bench.probe()
    assert bench.discovery.size == 1326
    early = bench.discovery.on_probe_sent()
    for sent_at in (10, 11, 12):
        bench.discovery.on_packet_lost(packet(LARGEST, sent_at))
    bench.discovery.judge([packet(BASE_PLPMTU, 13)])
    bench.discovery.on_acked(early, 20)
    bench.discovery.on_lost(early, 20)
    assert bench.discovery.size == BASE_PLPMTU
    assert bench.discovery.probe_size() == LARGEST


def test_without_discovery_losses_change_nothing() -> None:
    discovery = MtuDiscovery(LARGEST, [].append)
    for sent_at in range(10):
        discovery.on_packet_lost(packet(LARGEST, sent_at))
    assert (discovery.size, discovery.suspects) == (LARGEST, 0)
