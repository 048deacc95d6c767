"""ECN and path MTU discovery over simulated links, with the figures that follow from the links."""

import pytest

import quicsim
from links import Datagram, Delay, EcnMark, EcnRemark, Element, Mtu, Rate, TailDrop

MILLISECOND = 1_000_000
RTT = 40 * MILLISECOND
RATE = 10_000_000  # bit/s


class Download:
    """A download of `size` bytes from bob to alice, 20 ms away; `down` is what the data passes besides the delay."""

    def __init__(self, size: int, down: list[Element], **options: object) -> None:
        self.size = size
        self.options = options
        self.sim = quicsim.Simulation(seed=1, check=True)
        self.sim.link("alice", "bob", up=[Delay("20ms")], down=[*down, Delay("20ms")])
        self.sent: list[tuple[int, int, int]] = []  # by bob: time, size, codepoint
        self.sim.tap("bob", self._on_datagram)
        self.started_at = 0
        serving = self.sim.spawn("bob", self._serve)
        assert self.sim.run(self.sim.spawn("alice", self._fetch)) == size
        self.finished_at = self.sim.now
        self.connection = self.sim.run(serving)

    def _on_datagram(self, host: str, now: int, direction: str, datagram: Datagram) -> None:
        if direction == "sent":
            self.sent.append((now, datagram.size, datagram.ecn))

    async def _serve(self, net):
        listener = await net.listen(4433, quicsim.test_certificate(), **self.options)
        connection = await listener.accept()
        stream = await connection.accept_stream()
        await stream.read_all()
        await stream.write(bytes(self.size), end=True)
        await stream.wait_sent()
        return connection

    async def _fetch(self, net):
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream()
        await net.sleep("1s")
        self.started_at = net.now
        await stream.write(b"go", end=True)
        return len(await stream.read_all())


def test_a_marking_queue_keeps_the_link_busy_without_a_single_loss():
    """Marks at 20 ms of queue, half the round trip: after each halving the link is as good as never idle."""
    mark = EcnMark("20ms")
    download = Download(5_000_000, [Rate(RATE), TailDrop("300kB"), mark])
    stats = download.connection.stats
    assert stats.packets_lost == 0
    assert stats.congestion_events > 3
    assert mark.marked >= stats.congestion_events
    seconds = (download.finished_at - download.started_at) / 1e9
    assert download.size * 8 / seconds > 0.85 * RATE


def test_the_same_queue_without_ecn_fills_up_and_loses():
    download = Download(5_000_000, [Rate(RATE), TailDrop("75kB"), EcnMark("20ms")], ecn=False)
    assert download.connection.stats.packets_lost > 0
    assert {ecn for _, _, ecn in download.sent} == {0}


@pytest.mark.parametrize("to", ["not-ect", "ect1"])
def test_a_path_that_loses_the_marks_costs_nothing_but_them(to):
    plain = Download(500_000, [Rate(RATE)], ecn=False)
    tampered = Download(500_000, [EcnRemark(to), Rate(RATE)])
    assert tampered.connection.stats.packets_lost == 0
    assert [ecn for _, _, ecn in tampered.sent].count(2) <= 10
    assert tampered.sent[-1][2] == 0
    assert tampered.finished_at - tampered.started_at == pytest.approx(
        plain.finished_at - plain.started_at, abs=MILLISECOND
    )


@pytest.mark.parametrize(
    ("overhead", "largest", "found", "lost"),
    [
        (0, 1400, 1395, [1472] * 3 + [1404] * 3),
        (28, 1372, 1370, [1472] * 3 + [1404] * 3 + [1387] * 3 + [1378] * 3),
    ],
)
def test_the_mtu_of_a_link_is_found_by_halves(overhead, largest, found, lost):
    download = Download(1_000_000, [Mtu(1400, overhead)], path_mtu_discovery=True)
    too_large = [size for _, size, _ in download.sent if size > largest]
    assert too_large == lost
    assert max(size for _, size, _ in download.sent if size <= largest) == found
    assert download.connection.stats.congestion_events == 0
    assert download.connection.stats.packets_lost == len(too_large)


class Shrinking(Mtu):
    """Carries 1472 bytes at first, and 1280 from the time `at` on."""

    def __init__(self, at: int) -> None:
        super().__init__(1472)
        self.at = at

    def receive(self, datagram: Datagram, now: int) -> int:
        self.size = 1472 if now < self.at else 1280
        return super().receive(datagram, now)


def test_a_link_that_comes_to_carry_less_stops_a_transfer_for_one_probe_timeout():
    link = Shrinking(1_500 * MILLISECOND)
    download = Download(2_000_000, [Rate(RATE), link], path_mtu_discovery=True)
    assert download.connection.stats.pto_expired == 1
    assert download.started_at < link.at < download.finished_at
    sizes = {size for at, size, _ in download.sent if at > link.at + 10 * RTT}
    assert max(size for size in sizes if size <= 1280) > 1264
