"""The command line from end to end: what it prints, writes and returns."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim import Simulation
from quicsim.applications import APPLICATIONS, Application, bulk_client, bulk_server
from quicsim.cli import app
from quicsim.outputs import OutputDirectory, OutputError
from quicsim.plan import load_plan
from quicsim.run import Run
from stack.path.path import Path as NetworkPath

PLAN = """
name = "tiny"
duration = "60s"
hosts.client = {}
hosts.server = {}
capture.plots = false

[[links]]
between = ["client", "server"]
up = [{ rate = "10Mbps" }, { delay = "5ms" }]
down = [{ rate = "10Mbps" }, { taildrop = "20kB" }, { delay = "5ms" }, { loss = 0.02 }]

[[applications]]
kind = "bulk"
server = "server"
client = "client"
size = "100kB"
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def quicsim(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def digest(result):
    last = result.stdout.splitlines()[-1]
    assert last.startswith("digest: ")
    assert len(bytes.fromhex(last.removeprefix("digest: "))) == 32
    return last.removeprefix("digest: ")


def files(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_a_run_prints_its_summary_and_writes_its_results(plan, tmp_path):
    out = tmp_path / "out"
    result = quicsim("run", plan, "--seed", 7, "--out", out, "--set", "capture.plots=true")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "tiny, seed 7" in result.stdout
    for row in ("server → client", "100,000 bytes", "10.000 Mbit/s", "RTT min / mean / max", "SHA-256 ok"):
        assert row in result.stdout
    names = sorted(files(out))
    cid = json.loads((out / "summary.json").read_text())["connections"][0]["connection"]
    assert names == [
        "client.pcapng",
        f"client_{cid}_client.sqlog",
        "congestion.png",
        "network.sqlog",
        "queues.png",
        "sequence.png",
        "server.pcapng",
        f"server_{cid}_server.sqlog",
        "summary.json",
        "throughput.png",
    ]


def test_the_summary_file_tells_it_all_again(plan, tmp_path):
    result = quicsim("run", plan, "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["digest"] == digest(result)
    assert (summary["plan"], summary["seed"], summary["ok"], summary["failure"]) == ("tiny", 1, True, "")
    (application,) = summary["applications"]
    assert application["result"]["verified"] is True
    (connection,) = summary["connections"]
    assert connection["capacity"] == 10**7
    server, client = connection["ends"]
    assert client["stream_bytes_received"] == 100_000
    assert 0 < client["goodput"] < 10**7
    assert server["packets_lost"] == server["stream_bytes_retransmitted"] == 0 or server["packets_lost"] > 0
    up, down = summary["links"]
    assert (up["name"], down["name"]) == ("client>server", "server>client")
    assert down["sent"] - down["delivered"] == sum(down["dropped"].values())
    assert sorted([*summary["files"], "summary.json"]) == sorted(files(tmp_path / "out"))


def test_the_same_plan_and_seed_give_the_same_files_under_any_hash_seed(plan, tmp_path):
    made = []
    for hash_seed in ("0", "1"):
        out = tmp_path / hash_seed
        command = [sys.executable, "-m", "quicsim", "run", str(plan), "--out", str(out), "--set", "capture.plots=true"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        root = Path(__file__).parents[2]
        subprocess.run(command, check=True, timeout=60, env=environment, capture_output=True, cwd=root)
        made.append(files(out))
    assert made[0] == made[1]


def test_the_seed_makes_the_difference(plan, tmp_path):
    one, other = (quicsim("run", plan, "--seed", seed, "--out", tmp_path / "out") for seed in (1, 2))
    assert digest(one) != digest(other)


def test_recording_does_not_change_the_run(plan, tmp_path):
    nothing = [f"--set=capture.{what}=false" for what in ("qlog", "pcapng")]
    recorded = quicsim("run", plan, "--out", tmp_path / "recorded")
    plain = quicsim("run", plan, "--out", tmp_path / "plain", *nothing)
    assert digest(recorded) == digest(plain)
    assert list(files(tmp_path / "plain")) == ["summary.json"]


def test_settings_change_the_plan(plan, tmp_path):
    out = tmp_path / "out"
    settings = ["--set", "links.0.down.3.loss=0.0", "--set", "applications.0.size=50kB"]
    assert quicsim("run", plan, "--out", out, *settings).exit_code == 0
    (connection,) = json.loads((out / "summary.json").read_text())["connections"]
    assert [end["packets_lost"] for end in connection["ends"]] == [0, 0]
    assert connection["ends"][1]["stream_bytes_received"] == 50_000


def test_results_go_to_a_directory_named_after_plan_and_seed(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert quicsim("run", plan, "--seed", 5).exit_code == 0
    assert "summary.json" in files(tmp_path / "build" / "runs" / "tiny-5")


def test_a_plan_with_a_mistake_is_refused(plan):
    result = quicsim("run", plan, "--set", "links.0.dwn=[]")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"quicsim: {plan}: links.0: unknown key 'dwn': did you mean 'down'?")
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_whose_network_can_not_be_built_is_refused(plan, tmp_path):
    result = quicsim("run", plan, "--out", tmp_path / "out", "--set", 'hosts.client.addresses=["10.0.0.300"]')
    assert result.exit_code == 2
    assert "10.0.0.300" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_that_is_not_there_is_refused(tmp_path):
    result = quicsim("run", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert result.stderr == f"quicsim: {tmp_path / 'none.toml'}: can't be read: No such file or directory\n"


def test_an_unknown_option_is_refused(plan):
    assert quicsim("run", plan, "--sed", 1).exit_code == 2


def test_an_output_directory_that_can_not_be_is_named_once(plan, tmp_path):
    (tmp_path / "file").write_text("")
    result = quicsim("run", plan, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert (
        result.stderr == f"quicsim: {tmp_path / 'file' / 'out'}: the output directory can't be made: Not a directory\n"
    )


def test_a_run_out_of_time_fails_and_says_how_to_see_it_again(plan, tmp_path):
    result = quicsim("run", plan, "--out", tmp_path / "out", "--seed", 3, "--set", "duration=100ms")
    assert result.exit_code == 1
    assert "the run failed at 0.100 s: TimeoutError" in result.stderr
    assert f"replay it with: quicsim run {plan} --set duration=100ms --set seed=3" in result.stderr
    assert "not done" in result.stdout
    digest(result)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["ok"] is False


def test_a_run_that_is_checked_stops_at_a_violation_and_is_the_same_without_one(plan, tmp_path, patch_stack):
    plain = quicsim("run", plan, "--out", tmp_path / "out")
    checked = quicsim("run", plan, "--check", "--out", tmp_path / "out")
    assert digest(checked) == digest(plain)
    patch_stack.setattr(NetworkPath, "window_available", lambda path: 1 << 40)
    broken = quicsim("run", plan, "--check", "--out", tmp_path / "out")
    assert broken.exit_code == 1
    assert "InvariantViolation: at " in broken.stderr
    assert "above the congestion window" in broken.stderr
    assert f"replay it with: quicsim run {plan} --set check=true" in broken.stderr


def register(monkeypatch, client):
    monkeypatch.setitem(APPLICATIONS, "bulk", Application(bulk_server, client))


def test_an_application_that_raises_fails_the_run(plan, tmp_path, monkeypatch):
    async def client(net, host, *, trust, size: int = 1, port: int = 1, **options):
        await bulk_client(net, host, trust=trust, size=size, port=port, **options)
        raise LookupError("nothing to be found")

    register(monkeypatch, client)
    result = quicsim("run", plan, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "LookupError: nothing to be found" in result.stderr
    assert "client.pcapng" in files(tmp_path / "out")


def test_data_that_differs_fails_the_run(plan, tmp_path, monkeypatch):
    async def client(net, host, *, trust, size: int = 1, port: int = 1, **options):
        result = await bulk_client(net, host, trust=trust, size=size, port=port, **options)
        return replace(result, verified=False)

    register(monkeypatch, client)
    result = quicsim("run", plan, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "SHA-256 DIFFERS" in result.stdout
    assert "differs from what was sent" in result.stderr


def test_an_interrupt_keeps_what_was_done_until_then(plan, tmp_path):
    def interrupt(now, received):
        raise KeyboardInterrupt

    out = OutputDirectory(tmp_path / "out")
    outcome = Run(load_plan(plan, ["applications.0.size=2MB", "capture.plots=true"]), out, interrupt).execute()
    assert outcome.interrupted
    assert not outcome.ok
    assert 0 < outcome.flows[0].receiver.stream_bytes_received < 2_000_000
    assert {"client.pcapng", "congestion.png"} < set(files(out.path))
    assert not [name for name in files(out.path) if name.endswith(".part")]


def test_the_command_says_that_it_was_interrupted(plan, tmp_path, monkeypatch):
    run = Simulation.run

    def interrupted(simulation, task=None, until=None):
        run(simulation, until="50ms")
        raise KeyboardInterrupt

    monkeypatch.setattr(Simulation, "run", interrupted)
    result = quicsim("run", plan, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "interrupted at 0.050 s; the results cover what was done until then" in result.stderr
    assert "digest" not in result.stdout
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["interrupted"] is True


def test_the_version_is_shown():
    result = quicsim("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("quicsim ")


def test_several_connections_have_their_own_columns_and_figures(plan, tmp_path):
    plan.write_text(PLAN + PLAN[PLAN.index("[[applications]]") :] + 'upload = true\nstart = "10ms"\n')
    result = quicsim("run", plan, "--out", tmp_path / "out", "--set", "capture.plots=true")
    assert result.exit_code == 0
    assert "server → client" in result.stdout
    assert "client → server" in result.stdout
    assert {"congestion.png", "congestion-2.png"} < set(files(tmp_path / "out"))


def test_a_file_that_is_not_finished_does_not_have_its_name(tmp_path):
    out = OutputDirectory(tmp_path)
    file = out.text("a.txt")
    file.write("half")
    assert list(files(tmp_path)) == [".a.txt.part"]
    file.close()
    assert list(files(tmp_path)) == ["a.txt"]
    with pytest.raises(TypeError), out.binary("b") as other:
        other.write("not bytes")
    assert list(files(tmp_path)) == ["a.txt"]
    assert out.files == ["a.txt"]


def test_a_file_that_can_not_be_written_is_named(tmp_path):
    out = OutputDirectory(tmp_path)
    (tmp_path / ".a.part").mkdir()
    with pytest.raises(OutputError, match="a: can't be written: Is a directory"):
        out.text("a")
