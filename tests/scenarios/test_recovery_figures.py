"""Loss recovery and slow start in the simulator, held against figures that follow from RFC 9002.

`experiments/` has those that take longer, such as the goodput under random loss.
"""

import pytest

import quicsim
from links import Datagram, Delay, LossIf, Rate, ReorderDepth
from stack.errors import ConnectionClosed

MILLISECOND = 1_000_000
DATAGRAM = 1200


IMMEDIATE = {"max_ack_delay_ms": 0, "pacing": False}  # every packet is acknowledged at once; rounds leave at once


class Nth:
    """A predicate for link elements: true for the `number`-th full-sized datagram of the answer."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.datagram: Datagram | None = None

    def __call__(self, datagram: Datagram) -> bool:
        if datagram.size < DATAGRAM - 60 or datagram.sent_at < 1_000 * MILLISECOND:
            return False
        self.left -= 1
        if self.left == 0:
            self.datagram = datagram
        return self.left == 0


class Transfer:
    """A download of `size` bytes from bob to alice over a path of `rtt_ms`; what it left behind."""

    def __init__(
        self, size: int, rtt_ms: int, down: list[object], seed: int = 1, options: dict[str, object] | None = None
    ) -> None:
        self.size = size
        self.options = options or {}
        self.sim = quicsim.Simulation(seed=seed, check=True)
        one_way = f"{rtt_ms // 2}ms"
        self.sim.link("alice", "bob", up=[Delay(one_way)], down=[Delay(one_way), *down])
        self.sent: list[tuple[int, Datagram]] = []  # by bob, with data in them, after the request
        self.sim.tap("bob", self._on_datagram)
        self.started_at = 0
        serving = self.sim.spawn("bob", self._serve)
        received = self.sim.run(self.sim.spawn("alice", self._fetch))
        self.finished_at = self.sim.now
        assert received == size
        self.connection = self.sim.run(serving)

    def _on_datagram(self, host: str, now: int, direction: str, datagram: Datagram) -> None:
        if direction == "sent" and datagram.size > DATAGRAM // 2 and now > self.started_at > 0:
            self.sent.append((now, datagram))

    async def _serve(self, net):
        listener = await net.listen(4433, quicsim.test_certificate(), **self.options)
        connection = await listener.accept()
        stream = await connection.accept_stream()
        await stream.read_all()
        await stream.write(bytes(self.size), end=True)
        await stream.wait_sent()
        return connection

    async def _fetch(self, net):
        windows = {"initial_max_data": 1 << 28, "initial_max_stream_data_bidi_local": 1 << 28}
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **windows, **self.options)
        stream = await connection.open_stream()
        await net.sleep("1s")  # what the handshake left in flight is acknowledged by then
        self.started_at = net.now
        await stream.write(b"go", end=True)
        return len(await stream.read_all())

    @property
    def goodput(self) -> float:
        """Stream bytes per second, from the request to the last byte."""
        return self.size / ((self.finished_at - self.started_at) / 1e9)


@pytest.mark.requirement("rfc9002:6.2.1:5")
@pytest.mark.requirement("rfc9002:6.2.2:2")
@pytest.mark.requirement("rfc9002:6.2.4:2")
def test_probe_timeouts_double_exactly_while_the_server_is_silent():
    """initial_rtt 333 ms: PTO = 333 + 4·166.5 = 999 ms, then twice that, and so on; at most two packets each."""
    sim = quicsim.Simulation(seed=1, check=True)
    sim.link("alice", "bob", up=[Delay("25ms")], down=[Delay("25ms")])
    times: list[int] = []
    sim.tap("alice", lambda host, now, direction, datagram: times.append(now))

    async def client(net):
        with pytest.raises(ConnectionClosed, match="idle timeout"):
            await net.connect("bob", 4433, trust=quicsim.test_certificate(), max_idle_timeout_ms=40_000)

    sim.run(sim.spawn("alice", client))
    expected = [0, 999, 2_997, 6_993, 14_985, 30_969]
    assert sorted(set(times)) == [at * MILLISECOND for at in expected]
    assert all(times.count(at * MILLISECOND) <= 2 for at in expected)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reordering_below_the_packet_threshold_is_no_loss_and_at_it_exactly_one(depth):
    """A datagram overtaken by `depth` others, all within RTT/8: only three and more make it look lost."""
    chosen = Nth(20)  # in the middle of the second round
    transfer = Transfer(200_000, 100, [Rate("100Mbps"), ReorderDepth(chosen, depth)], options=IMMEDIATE)
    assert chosen.datagram is not None
    assert transfer.connection.stats.packets_lost == (1 if depth == 3 else 0)


@pytest.mark.requirement("rfc9002:6.1.1:1")
def test_a_packet_three_below_the_largest_acknowledged_is_lost_with_that_acknowledgment():
    """The 20th data datagram is dropped; the ACK of the third one after it makes it lost, and it goes again."""
    chosen = Nth(20)
    transfer = Transfer(200_000, 100, [LossIf(chosen)], options=IMMEDIATE)
    stats = transfer.connection.stats
    assert (stats.packets_lost, stats.congestion_events, stats.pto_expired) == (1, 1, 0)
    assert stats.stream_bytes_retransmitted < DATAGRAM
    index = next(i for i, (_, datagram) in enumerate(transfer.sent) if datagram is chosen.datagram)
    third_after, at = transfer.sent[index + 3][1], transfer.sent[index + 3][0]
    assert third_after.sent_at == at
    # Its ACK comes one RTT later; the reduction leaves no room in the window before half of it was acknowledged.
    assert at + 100 * MILLISECOND <= transfer.finished_at


def test_a_loss_that_too_few_packets_follow_is_found_after_nine_eighths_of_the_round_trip():
    """The last datagram but two is dropped: two follow, so time decides, 112.5 ms after it was sent."""
    chosen = Nth(7)
    transfer = Transfer(9 * 1150, 100, [LossIf(chosen)], options=IMMEDIATE)
    stats = transfer.connection.stats
    assert len(transfer.sent) == 10  # nine, one of them twice
    assert (stats.packets_lost, stats.pto_expired) == (1, 0)
    # The request takes half an RTT, detection 9/8 of one, the repetition half of one.
    assert transfer.finished_at - transfer.started_at == (50 + 112.5 + 50) * MILLISECOND


def test_slow_start_doubles_what_is_acknowledged_each_round():
    """Infinite link, initial window 12,000: IW·(2ⁿ − 1) bytes are acknowledged after n rounds."""
    rtt = 100 * MILLISECOND
    transfer = Transfer(3_000_000, 100, [], options={**IMMEDIATE, "send_buffer": 4_000_000})
    first = transfer.started_at + rtt // 2  # the request arrives, and the answer starts
    for rounds in range(1, 8):
        sent = sum(datagram.size for at, datagram in transfer.sent if at < first + rounds * rtt)
        # What was sent within n rounds is acknowledged after n rounds.
        assert sent == pytest.approx(12_000 * (2**rounds - 1), abs=DATAGRAM), rounds
