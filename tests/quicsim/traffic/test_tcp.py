"""The TCP model: what it achieves, how it shares, and what its parts do."""

from math import sqrt

import pytest

from links import Corrupt, Datagram, Delay, LossNth, LossPattern, Rate, TailDrop
from quicsim import Simulation, topology
from quicsim.traffic import Tcp
from quicsim.traffic.segment import ACK, DATA, MSS, decode, encode
from quicsim.traffic.window import Cubic, NewReno

MS = 1_000_000
SECOND = 1_000_000_000


def pipe(*up, delay="20ms"):
    """One link from a to b."""
    sim = Simulation(seed=1)
    sim.link("a", "b", up=[*up, Delay(delay)], down=[Delay(delay)])
    return sim


@pytest.mark.parametrize("congestion", ["newreno", "cubic"])
def test_a_flow_saturates_a_link_with_a_buffer_of_one_bandwidth_delay_product(congestion):
    sim = pipe(Rate("10Mbps"), TailDrop("50kB"))
    flow = Tcp(sim, "a", "b", congestion=congestion)
    sim.run(until="10s")
    assert 0.95 < flow.goodput / (10e6 * MSS / (MSS + 12)) <= 1
    assert sim.links["a-b"].up.lost > 0
    assert flow.timeouts == 0


def windows(sim, flow, rtt, loss_every, cycles):
    """Return the mean window in segments over some losses, after some."""
    while flow.sent < 10 * loss_every:
        sim.run(until=sim.now + SECOND)
    received, now = flow.received_bytes, sim.now
    while flow.sent < (10 + cycles) * loss_every:
        sim.run(until=sim.now + SECOND)
    return (flow.received_bytes - received) / MSS * rtt / (sim.now - now)


def test_newreno_has_the_window_of_mathis_and_others_when_losses_are_periodic():
    # Mathis, Semke, Mahdavi, Ott 1997: sqrt(3/2) / sqrt(p); what is missing is the round trip of each recovery
    sim = pipe(LossPattern("." * 499 + "x", repeat=True), delay="50ms")
    mean = windows(sim, Tcp(sim, "a", "b", congestion="newreno"), 100 * MS, 500, 20)
    assert mean == pytest.approx(sqrt(1.5 * 500), rel=0.1)


def test_cubic_has_the_window_of_rfc_9438_when_losses_are_periodic_and_round_trips_long():
    sim = pipe(LossPattern("." * 999 + "x", repeat=True), delay="250ms")
    mean = windows(sim, Tcp(sim, "a", "b", congestion="cubic"), 500 * MS, 1_000, 10)
    expected = (0.4 * 3.7 / (4 * 0.3)) ** 0.25 * 0.5**0.75 * 1_000**0.75  # figure 5 of section 5.1
    assert mean == pytest.approx(expected, rel=0.2)
    assert mean > 1.5 * sqrt(1.5 * 1_000)  # NewReno's


def test_two_flows_share_a_bottleneck():
    sim = Simulation(seed=4)
    topology.dumbbell(sim, ["a", "b"], ["c", "d"], [Rate("5Mbps"), TailDrop("30kB"), Delay("10ms")], [Delay("1ms")])
    one, other = (Tcp(sim, *ends, congestion="newreno") for ends in (("a", "c"), ("b", "d")))
    sim.run(until="20s")
    assert 0.6 < one.goodput / other.goodput < 1.6
    assert one.goodput + other.goodput > 4.5e6


def test_a_flow_with_a_size_ends_when_all_of_it_is_acknowledged():
    sim = pipe(Rate("10Mbps"))
    flow = Tcp(sim, "a", "b", size="100kB", start="1s")
    sim.run()
    assert flow.received_bytes == sum(flow.arrivals["size"]) == 100_000
    assert flow.arrivals["size"][-1] == 100_000 % MSS
    assert flow.ended_at is not None
    assert 1_080 * MS < flow.ended_at < sim.now + 1
    assert not flow.running


def test_slow_start_doubles_the_window_each_round_trip():
    sim = pipe(delay="50ms")
    flow = Tcp(sim, "a", "b")
    sim.run(until="99ms")
    assert flow.sent == 1  # it asks for a connection
    for window in (10, 20, 40, 80):
        before = flow.sent
        sim.run(until=sim.now + 100 * MS)
        assert flow.sent - before == window


@pytest.mark.parametrize("lost", [[5], [5, 6, 7], [5, 12], [30, 31, 40]])
def test_losses_are_repaired_without_a_timeout(lost):
    sim = pipe(LossNth(*lost))
    flow = Tcp(sim, "a", "b", size=60 * MSS)
    sim.run()
    assert (flow.received_bytes, flow.retransmitted, flow.timeouts) == (60 * MSS, len(lost), 0)


def test_a_lost_retransmission_is_noticed_by_what_was_sent_after_it():
    # The eleven segments and requests of the first round trip, then the ACKs bring more, among them the repetition
    sim = pipe(LossNth(3, 18))
    flow = Tcp(sim, "a", "b", size=60 * MSS)
    seen = []
    sim.tap("a", lambda host, now, direction, it: seen.append(decode(it.payload).number) if direction == "sent" else 0)
    sim.run()
    assert seen.count(1) >= 2
    assert (flow.received_bytes, flow.timeouts) == (60 * MSS, 0)


def test_the_timer_repeats_the_last_segment_and_the_request():
    sim = pipe(LossNth(1, 12))
    flow = Tcp(sim, "a", "b", size=10 * MSS)
    sim.run()
    assert flow.timeouts == 2
    assert flow.received_bytes == 10 * MSS
    assert flow.ended_at == pytest.approx((1_000 + 40 + 200 + 40) * MS, rel=0.15)


def test_a_corrupted_segment_is_as_good_as_lost():
    sim = pipe(Corrupt(0.02), Rate("10Mbps"))
    flow = Tcp(sim, "a", "b", size="300kB")
    sim.run()
    assert flow.received_bytes == 300_000
    assert flow.retransmitted > 0


def test_the_receive_window_bounds_what_is_under_way():
    sim = pipe(delay="50ms")
    flow = Tcp(sim, "a", "b", receive_window=20 * MSS)
    sim.run(until="10s")
    assert flow.goodput == pytest.approx(8 * 20 * MSS / 0.1, rel=0.05)
    assert flow.congestion_window < 50 * MSS


def test_a_segment_s_payload_says_what_it_is_and_is_none_of_quic_s():
    for segment in (encode(DATA, 7, 100), encode(ACK, 9, blocks=[(11, 12), (15, 20)])):
        assert not segment[0] & 0xC0  # QUIC's fixed bit, and its long headers'
    assert len(encode(DATA, 7, MSS)) == MSS + 40 - 28
    assert len(encode(ACK, 7)) == 40 - 28
    assert len(encode(ACK, 7, blocks=[(9, 10)])) == 40 - 28 + 12
    assert decode(encode(DATA, 7, 100)) == (DATA, 7, 100, ())
    assert decode(encode(ACK, 9, blocks=[(11, 12), (15, 20)])) == (ACK, 9, 0, ((11, 12), (15, 20)))
    damaged = bytearray(encode(DATA, 7, 100))
    damaged[50] ^= 1
    assert decode(bytes(damaged)) is None
    assert decode(b"short") is None


def acknowledgments(*segments):
    """Return what the receiver answers to these segments, sent one ms apart."""
    sim = pipe(delay="1ms")
    Tcp(sim, "a", "b", start="30s")
    answers = []
    sim.tap("a", lambda host, now, direction, it: answers.append((now // MS, *decode(it.payload)[1::2])))
    port = ("10.0.0.2", 49_152)
    for at, number in enumerate(segments):
        datagram = Datagram(encode(DATA, number, MSS), ("10.0.0.1", 49_152), port)
        sim.at(at * MS, sim.links["a-b"].up.send, datagram, at * MS)
    sim.run(until="1s")
    return answers


def test_every_second_segment_is_acknowledged_and_a_single_one_after_40_ms():
    assert acknowledgments(0, 1, 2) == [(3, 2, ()), (44, 3, ())]


def test_what_comes_out_of_order_is_acknowledged_at_once_with_the_newest_block_first():
    answers = acknowledgments(0, 2, 5, 3, 1, 4)
    assert [answer[1:] for answer in answers] == [
        (1, ((2, 3),)),
        (1, ((5, 6), (2, 3))),
        (1, ((2, 4), (5, 6))),
        (4, ((5, 6),)),
        (6, ()),
    ]


def test_newreno_halves_and_cubic_keeps_seven_tenths():
    for window, kept in ((NewReno(), 0.5), (Cubic(), 0.7)):
        window.size = 100.0
        window.on_loss(0)
        assert window.size == window.threshold == 100 * kept
        window.on_timeout(0)
        assert (window.size, window.threshold) == (1.0, 100 * kept * kept)


def test_cubic_is_back_at_its_maximum_after_k_seconds():
    window = Cubic()
    window.size = 100.0
    window.on_loss(0)
    now, rtt = 0, SECOND // 10
    sizes = []
    while now < 6 * SECOND:
        window.on_acknowledged(int(window.size), now, rtt)
        now += rtt
        sizes.append(window.size)
    k = (100 * 0.3 / 0.4) ** (1 / 3)  # 4.2 s
    assert sizes[int(k * 10)] == pytest.approx(100, abs=1)
    assert sizes[int(k * 5)] > 90  # concave
    assert max(sizes) > 101  # and on to find more


def test_an_unknown_congestion_control_is_refused():
    with pytest.raises(ValueError, match="congestion 'vegas': must be one of newreno, cubic"):
        Tcp(pipe(), "a", "b", congestion="vegas")
