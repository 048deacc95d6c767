"""The bundled applications measure what they should."""

from typing import Any

import pytest

import quicsim
from links import Delay, Loss, Rate, TailDrop
from quicsim.applications import APPLICATIONS, RequestsResult, TransferResult, content, content_sha256

MS = 1_000_000


def run(name: str, loss: float = 0, **parameters: Any) -> Any:
    sim = quicsim.Simulation(seed=3)
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


def test_content_is_fixed_and_its_blocks_differ() -> None:
    blocks = list(content(200_000))
    assert [len(block) for block in blocks] == [65_536, 65_536, 65_536, 3_392]
    assert len(set(blocks)) == 4
    assert b"".join(content(200_000)) == b"".join(blocks)
    assert list(content(0)) == []
