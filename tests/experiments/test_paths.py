"""The experiments with several paths show what their READMEs claim."""

from pathlib import Path

from quicsim.outputs import OutputDirectory
from quicsim.plan import load_plan
from quicsim.run import Outcome, Run

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def run(plan: str, out: Path, *settings: str) -> Outcome:
    """Run a plan with these settings, and look that it succeeds."""
    settings += ("capture.qlog=false", "capture.pcapng=false", "duration='60s'")
    outcome = Run(load_plan(EXPERIMENTS / plan, settings), OutputDirectory(out)).execute()
    assert outcome.failure == ""
    assert outcome.ok
    return outcome


def test_a_transfer_goes_on_through_three_rebindings(tmp_path: Path) -> None:
    times = [f"actions.{index}.at={at}ms" for index, at in enumerate((500, 1_300, 2_100))]
    settings = ("applications.0.size=2MiB", "hosts.client.stack.keep_alive_ms=200", *times)
    outcome = run("nat_rebinding/plan.toml", tmp_path, *settings)
    (flow,) = outcome.flows
    remotes = [remote for _, remote in flow.sender.paths.addresses.values()]
    assert remotes == [
        ("198.51.100.1", 20_000),
        ("198.51.100.1", 20_001),
        ("198.51.100.1", 20_002),
        ("198.51.100.2", 20_002),
    ]
    assert [change.path for change in flow.sender.paths.changes] == [1, 2, 3]
    recovery = flow.sender.recovery
    assert recovery["congestion_window"][recovery["path"] == 3][0] == 12_000, "afresh at another address"
    assert recovery["smoothed_rtt"][recovery["path"] == 1][0] < 100_000_000, "kept at another port"
    assert {"paths.png", "validation1.png", "validation2.png", "validation3.png"} <= set(files(tmp_path))


def test_without_a_word_from_the_client_a_download_ends_in_the_idle_timeout(tmp_path: Path) -> None:
    settings = (
        "hosts.client.stack.keep_alive_ms=0",
        "capture.qlog=false",
        "capture.pcapng=false",
        "capture.plots=false",
    )
    plan = load_plan(EXPERIMENTS / "nat_rebinding/plan.toml", settings)
    outcome = Run(plan, OutputDirectory(tmp_path)).execute()
    assert "idle timeout" in outcome.failure


def test_a_transfer_moves_from_wifi_to_lte_and_on_to_another_ip_version(tmp_path: Path) -> None:
    times = ("actions.0.at=500ms", "actions.1.at=1500ms")
    outcome = run("migration/plan.toml", tmp_path, "applications.0.size=3MiB", *times)
    (flow,) = outcome.flows
    assert [(local[0], remote[0]) for local, remote in flow.sender.paths.addresses.values()] == [
        ("10.0.9.1", "10.0.1.2"),
        ("10.0.9.1", "10.0.2.2"),
        ("2001:db8:9::1", "2001:db8:2::2"),
    ]
    recovery = flow.sender.recovery
    for path in (1, 2):
        first = recovery["congestion_window"][recovery["path"] == path][0]
        assert first in (12_000, 13_200), "the initial window, and what the challenge has added"
    assert {"paths.png", "validation1.png", "validation2.png"} <= set(files(tmp_path))


def test_clients_of_both_ip_versions_move_to_the_preferred_address(tmp_path: Path) -> None:
    outcome = run("migration/preferred_address.toml", tmp_path, "capture.plots=false")
    for flow, near in zip(outcome.flows, ("10.0.9.2", "2001:db8:9::2"), strict=True):
        assert [local for local, _ in flow.sender.paths.addresses.values()][-1] == (near, 443)
        sent = flow.sender.paths.traffic
        on_first = sent["size"][(sent["path"] == 0) & (sent["sent"] == 1)].sum()
        assert on_first < 20_000
        assert flow.sender.stream_bytes_sent >= 2 << 20


def files(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]
