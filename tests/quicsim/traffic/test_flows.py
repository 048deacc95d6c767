"""Flows of cross traffic: rates, times, counters, and that they leave everybody else alone."""

import numpy as np
import pytest

from links import Delay, Loss, Rate, TailDrop
from quicsim import Simulation, test_certificate
from quicsim.applications import bulk_client, bulk_server
from quicsim.pcapng import HostCapture
from quicsim.traffic import KINDS, Cbr, OnOffPareto, Poisson, Quic, Tcp
from tests.support.tshark import dissect, values

MS = 1_000_000


def network(seed=1, up=(), down=()):
    sim = Simulation(seed)
    sim.link("a", "b", up=[*up, Delay("10ms")], down=[*down, Delay("10ms")])
    return sim


def test_constant_rate_is_exact_to_the_nanosecond():
    sim = network()
    flow = Cbr(sim, "a", "b", rate="7Mbps", size=1_000, stop="1s")
    sim.run()
    assert flow.sent == flow.received == 875
    times = flow.arrivals["time"] - 10 * MS
    assert list(times[:4]) == [0, 1_142_857, 2_285_714, 3_428_571]
    assert times[-1] == 874 * 8_000 * 10**9 // 7_000_000


def test_a_poisson_process_has_exponential_distances():
    sim = network()
    flow = Poisson(sim, "a", "b", rate="10Mbps", size=125, stop="2s")
    sim.run()
    gaps = np.diff(flow.arrivals["time"])
    assert gaps.mean() == pytest.approx(100_000, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert (gaps > 100_000).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_on_off_times_have_pareto_s_tails():
    sim = network()
    flow = OnOffPareto(sim, "a", "b", rate="1Mbps", size=125, on="10ms", off="20ms", shape=1.5, stop="60s")
    sim.run()
    gaps = np.diff(flow.arrivals["time"])
    pauses = gaps[gaps > MS] - MS  # of the off times, and the gap that they come in
    least = 20 * MS / 3
    assert pauses.min() >= least
    assert (pauses > 4 * least).mean() == pytest.approx(4**-1.5, abs=0.03)
    assert 0.15e6 < flow.goodput < 0.6e6


def test_quic_is_cross_traffic_too_for_ever_or_with_a_size():
    sim = network(up=[Rate("10Mbps"), TailDrop("30kB")])
    endless = Quic(sim, "a", "b", stop="3s")
    sized = Quic(sim, "a", "b", size="200kB", start="4s", keep_alive_ms=1_000)
    sim.run()
    assert endless.goodput > 8e6
    assert endless.ended_at == 3_000 * MS
    assert sized.received_bytes == 200_000
    assert sized.ended_at is not None
    assert sized.ended_at < 5_000 * MS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_starts_and_stops_at_its_time(kind):
    options = {"rate": "2Mbps"} if kind in ("cbr", "poisson", "pareto") else {}
    sim = network(up=[Rate("10Mbps"), TailDrop("30kB")])
    sent_at = []
    sim.tap("a", lambda host, now, direction, it: sent_at.append(now) if direction == "sent" else None)
    flow = KINDS[kind](sim, "a", "b", start="1s", stop="2s", **options)
    assert sim.traffic == {f"a>b/{kind}": flow}
    sim.run()
    assert sent_at[0] == 1_000 * MS
    assert sent_at[-1] <= (2_100 if kind == "quic" else 2_000) * MS  # QUIC answers what is still under way
    assert flow.received_bytes == sum(flow.arrivals["size"]) > 50_000
    assert (flow.ended_at, flow.running) == (2_000 * MS, False)


def test_a_flow_draws_from_a_stream_of_its_own():
    def arrivals(*others):
        sim = network(seed=5)
        for number in others:
            Poisson(sim, "a", "b", rate="1Mbps", stop="1s", name=f"other{number}")
        flow = Poisson(sim, "a", "b", rate="1Mbps", stop="1s")
        sim.run()
        return list(flow.arrivals["time"])

    assert arrivals() == arrivals(1, 2, 3)


def test_the_same_seed_gives_the_same_run():
    def digest():
        sim = network(seed=5, up=[Rate("5Mbps"), TailDrop("20kB"), Loss(0.01)])
        for kind in (Tcp, Quic):
            kind(sim, "a", "b", stop="1s")
        for kind in (Cbr, Poisson, OnOffPareto):
            kind(sim, "b", "a", rate="1Mbps", stop="1s")
        sim.run()
        return sim.digest

    assert digest() == digest()


def test_cross_traffic_slows_an_application_down_and_can_be_stopped_by_hand():
    def duration(traffic):
        sim = network(up=[Rate("10Mbps")], down=[Rate("10Mbps"), TailDrop("30kB")])
        flow = Tcp(sim, "b", "a") if traffic else None
        sim.spawn("b", bulk_server, test_certificate())
        result = sim.run(sim.spawn("a", bulk_client, "b", trust=test_certificate(), size=1_000_000))
        assert result.verified
        if flow is not None:
            assert flow.running
            flow.stop()
            sent = flow.sent
            sim.run(until=sim.now + 500 * MS)
            assert flow.sent == sent
        return result.duration_ns

    assert duration(True) > 1.3 * duration(False)


def test_a_nat_stands_before_a_source():
    sim = Simulation()
    sim.host("a", ["192.168.0.2"])
    sim.nat("a", ["198.51.100.1"])
    sim.link("a", "b", up=[Delay("5ms")], down=[Delay("5ms")])
    flow = Tcp(sim, "a", "b", size="50kB")
    sim.run()
    assert flow.received_bytes == 50_000


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda sim: Tcp(sim, "a", "c"), "host 'c': must be one of a, b, or an address of theirs"),
        (lambda sim: Tcp(sim, "c", "a"), "host 'c': must be one of a, b"),
        (lambda sim: Tcp(sim, "a", "a"), "host 'a': no link leads there from a"),
        (lambda sim: Tcp(sim, "a", "b", name="one"), "traffic one: must have another name, there is such a flow"),
        (lambda sim: Tcp(sim, "a", "b", start="2s", stop="2s"), "traffic a>b/tcp: must stop after 2000000000 ns"),
        (lambda sim: Tcp(sim, "a", "b", size=0), "size 0: must be 1 byte or more"),
        (lambda sim: Cbr(sim, "a", "b", rate=0), "rate 0: must be a positive int"),
        (lambda sim: Cbr(sim, "a", "b", rate=1, size=3), "size 3: must be from 8 to 65527 bytes"),
        (lambda sim: OnOffPareto(sim, "a", "b", rate=1, shape=3), "shape 3: must be a number from 1 to 2"),
        (lambda sim: OnOffPareto(sim, "a", "b", rate=1, shape=1), "shape 1: must be more than 0 and more than 1"),
    ],
)
def test_what_can_not_be_is_refused(make, said):
    sim = network()
    Cbr(sim, "a", "b", rate=1, name="one")
    with pytest.raises(ValueError, match=said):
        make(sim)


@pytest.mark.peer("tshark")
def test_other_programs_read_captures_of_cross_traffic(tmp_path):
    sim = network(up=[Loss(0.05)])
    capture = HostCapture("a")
    sim.tap("a", capture.datagram)
    flows = [Tcp(sim, "a", "b", size="50kB"), Poisson(sim, "a", "b", rate="2Mbps", stop="100ms")]
    sim.run()
    path = tmp_path / "a.pcapng"
    with path.open("wb") as file:
        capture.save(file.write)
    frames = dissect(path)
    assert len(frames) == capture.count
    assert sum(frame["ip.src"] == ["10.0.0.1"] for frame in frames) == sum(flow.sent for flow in flows)
    assert values(frames, "_ws.malformed") == values(frames, "quic.version") == []
    assert set(values(frames, "udp.checksum.status")) == {"1"}
