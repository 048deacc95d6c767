"""The bundled applications measure what they should."""

from typing import Any

import pytest

import quicsim
from links import Delay, Loss, Rate, TailDrop
from quicsim.applications import (
    APPLICATIONS,
    DatagramsResult,
    RequestsResult,
    TransferResult,
    content,
    content_sha256,
)
from stack.errors import DatagramError
from tests.support.recorder import Recorder

MS = 1_000_000


def run(name: str, loss: float = 0, observer: Recorder | None = None, **parameters: Any) -> Any:
    sim = quicsim.Simulation(seed=3, observer=None if observer is None else lambda host: observer)
    sim.link(
        "alice",
        "bob",
        up=[Rate("10Mbps"), TailDrop(64_000), Delay("10ms"), Loss(loss)],
        down=[Rate("10Mbps"), TailDrop(64_000), Delay("10ms"), Loss(loss)],
    )
    certificate = quicsim.test_certificate()
    sim.spawn("bob", APPLICATIONS[name].server, certificate)
    task = sim.spawn("alice", APPLICATIONS[name].client, "bob", trust=certificate, **parameters)
    return sim.run(task, until="120s")


@pytest.mark.parametrize("upload", [False, True])
@pytest.mark.parametrize("loss", [0, 0.02])
def test_bulk_transfers_are_whole_and_stay_below_the_rate(upload: bool, loss: float) -> None:
    result: TransferResult = run("bulk", loss, size=1_000_001, upload=upload)
    assert result.verified
    assert result.size == 1_000_001
    assert result.sha256 == content_sha256(1_000_001)
    assert 1e6 < result.goodput < 10e6
    if not loss:
        assert result.goodput > 7e6
        assert 20 * MS < result.handshake_ns < 25 * MS


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
def test_echo_returns_everything(size: int) -> None:
    result: TransferResult = run("echo", size=size)
    assert result.verified
    assert result.duration_ns > 20 * MS


def test_requests_have_a_latency_each() -> None:
    result: RequestsResult = run("requests", count=10, request_size=200, response_size=5_000, interval="100ms")
    assert result.verified
    assert len(result.latencies_ns) == 10
    assert all(20 * MS < latency < 30 * MS for latency in result.latencies_ns)
    assert result.duration_ns == 9 * 100 * MS + sum(result.latencies_ns)


def test_datagrams_come_back_after_a_round_trip_each() -> None:
    result: DatagramsResult = run("datagrams", count=50, size=1_000, interval="10ms", wait="100ms")
    assert result.verified
    assert (result.sent, result.lost) == (50, 0)
    assert len(result.latencies_ns) == 50
    assert all(20 * MS < latency < 23 * MS for latency in result.latencies_ns)
    assert result.duration_ns == 49 * 10 * MS


def test_lost_datagrams_do_not_come_back() -> None:
    result: DatagramsResult = run("datagrams", 0.1, count=500, size=200, interval="2ms")
    assert result.verified
    assert 30 < result.lost < 100
    assert 330 < len(result.latencies_ns) < 470


@pytest.mark.requirement("rfc9221:3:5")
def test_the_datagrams_application_takes_all_that_fit_a_packet() -> None:
    recorder = Recorder()
    run("datagrams", observer=recorder, count=1, size=1_168)
    assert len(recorder.connections) == 2
    for connection in recorder.connections:
        assert connection.remote_parameters["max_datagram_frame_size"] == 65_535


def test_a_datagram_too_large_for_a_packet_says_so() -> None:
    with pytest.raises(DatagramError, match="1169 bytes: bob and the path take at most 1168"):
        run("datagrams", count=1, size=1_169)


def test_content_is_fixed_and_its_blocks_differ() -> None:
    blocks = list(content(200_000))
    assert [len(block) for block in blocks] == [65_536, 65_536, 65_536, 3_392]
    assert len(set(blocks)) == 4
    assert b"".join(content(200_000)) == b"".join(blocks)
    assert list(content(0)) == []
