"""Plans with routers and cross traffic, plans that extend others, and what `quicsim plan` and `sweep` make of them."""

import csv
import json

import pytest
from typer.testing import CliRunner

from quicsim.cli import app
from quicsim.outputs import OutputDirectory
from quicsim.plan import PlanError, load_plan, parse_plan, sweep_runs
from quicsim.plan.ranges import sweep_values
from quicsim.run import Run
from quicsim.sweep import Sweep

PLAN = """
name = "shared"
description = "A download beside cross traffic"
duration = "10s"
routers = ["left", "right"]
capture = { qlog = false, pcapng = false, plots = false }

[hosts.client]
[hosts.sink]
[hosts.server]
[hosts.source]

[[links]]
between = ["client", "left"]
[[links]]
between = ["sink", "left"]
[[links]]
between = ["left", "right"]
cost = 2
up = [{ rate = "10Mbps" }, { delay = "5ms" }]
down = [{ rate = "10Mbps" }, { taildrop = "30kB" }, { delay = "5ms" }]
[[links]]
between = ["server", "right"]
[[links]]
between = ["source", "right"]

[[applications]]
kind = "bulk"
server = "server"
client = "client"
size = "100kB"

[[traffic]]
kind = "tcp"
source = "source"
destination = "sink"
congestion = "newreno"
name = "rival"

[[traffic]]
kind = "cbr"
source = "source"
destination = "sink"
rate = "500kbps"
start = "20ms"
stop = "100ms"
"""

SWEEP = """
[sweep]
"applications.0.size" = ["10kB", "20kB"]
seed = { from = 1, to = 2 }
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "shared.toml"
    path.write_text(PLAN + SWEEP)
    return path


def problem(text, *settings):
    """Return the only line about a plan."""
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "plan.toml", settings)
    (line,) = str(caught.value).splitlines()
    return line


def quicsim(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_plan_with_routers_and_cross_traffic_runs_until_its_applications_are_done(tmp_path):
    outcome = Run(parse_plan(PLAN), OutputDirectory(tmp_path)).execute()
    assert outcome.ok
    tcp, cbr = outcome.simulation.traffic.values()
    assert (tcp.name, cbr.started_at, cbr.ended_at) == ("rival", 20_000_000, 100_000_000)
    assert cbr.sent == 5
    assert tcp.received_bytes > 10_000
    assert tcp.ended_at == outcome.now < 10**9
    assert outcome.simulation.routers["left"].forwarded > 200
    (flow,) = outcome.flows
    assert flow.direction is not None
    assert (flow.direction.capacity, flow.direction.link) == (10**7, "right>left")


def test_a_plan_may_have_cross_traffic_alone(tmp_path):
    text = PLAN.replace("[[applications]]", "[unused]").split("[unused]")[0] + PLAN[PLAN.index("[[traffic]]") :]
    outcome = Run(parse_plan(text, settings=["duration=1s"]), OutputDirectory(tmp_path)).execute()
    assert outcome.ok
    assert outcome.now == 10**9
    assert outcome.simulation.traffic["rival"].goodput > 5e6


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("routers.0=client", "plan.toml: routers.0: must have another name, 'client' is there already"),
        (
            "links.2.between.0=lft",
            "plan.toml: links.2.between: unknown host, router or address 'lft': did you mean 'left'",
        ),
        ("links.2.cost=0", "plan.toml: links.2.cost = 0: must be greater than or equal to 1"),
        ("links.2.between.1=left", "plan.toml: links.2: between: must be two different hosts or routers"),
        ("applications.0.server=right", "plan.toml: applications.0.server: unknown host 'right': must be one of"),
        ("traffic.0.kind=tpc", "plan.toml: traffic.0: unknown kind of traffic 'tpc': did you mean 'tcp'? must be one"),
        ("traffic.0.source=left", "plan.toml: traffic.0.source: unknown host 'left': "),
        ("traffic.0.rate=3", "plan.toml: traffic.0: unknown key 'rate': must be one of kind, source, destination,"),
        ("traffic.0.congestion=vegas", "plan.toml: traffic.0: congestion 'vegas': must be one of newreno, cubic"),
        ("traffic.1.rate=fast", "plan.toml: traffic.1"),
        ("traffic.1.stop=10ms", "plan.toml: traffic.1: traffic a>b/cbr: must stop after 20000000 ns"),
        ("applications=[]\ntraffic", "plan.toml: "),
        ("sweep.seed={from=1}", "plan.toml: sweep: 'seed': must be a list of values, or a table such as"),
        ("sweep.seed=[]", "plan.toml: sweep: 'seed': must have one value at least"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_right(setting, said):
    if "\n" in setting:
        text = PLAN.split("[[applications]]")[0]
        assert problem(text) == "plan.toml: applications: is missing: must be one at least, or traffic"
    else:
        assert problem(PLAN, setting).startswith(said)


def test_a_plan_takes_another_as_its_base_and_sets_values_of_it(plan, tmp_path):
    (tmp_path / "more").mkdir()
    own = tmp_path / "more" / "slow.toml"
    own.write_text(
        'extends = "../shared.toml"\nname = "slow"\ntraffic = []\nset = { "links.2.down.0.rate" = "1Mbps" }\n'
        "[hosts.client]\nstack = { pacing = false }\n"
    )
    loaded = load_plan(own)
    assert (loaded.name, loaded.duration, loaded.traffic) == ("slow", 10**10, [])
    assert loaded.links[2].down[0].positional == ("1Mbps",)
    assert list(loaded.hosts) == ["client", "sink", "server", "source"]
    assert loaded.hosts["client"].stack == {"pacing": False}
    again = tmp_path / "again.toml"
    again.write_text('extends = "more/slow.toml"\nname = "again"')
    assert load_plan(again, ["seed=5"]).links[2].down[0].positional == ("1Mbps",)


def test_mistakes_in_what_a_plan_extends_are_named(plan, tmp_path):
    own = tmp_path / "own.toml"
    for text, said in (
        ('extends = "none.toml"', r"own\.toml: extends: .*none\.toml: can't be read: No such file"),
        ("extends = 3", r"own\.toml: extends = 3: must be the path of a plan"),
        ('extends = "own.toml"', r"own\.toml: extends: must not lead back to a plan that extends this one"),
        ('extends = "shared.toml"\nset = 3', r"own\.toml: set: must be a table such as"),
        (
            'extends = "shared.toml"\nset = { "links.9.up" = [] }',
            r"own\.toml: set\.'links\.9\.up': links has 5 items: '9' must be the index of one",
        ),
    ):
        own.write_text(text)
        with pytest.raises(PlanError, match=said):
            load_plan(own)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([1, "a"], [1, "a"]),
        ({"from": 1, "to": 4}, [1, 2, 3, 4]),
        ({"from": 0, "to": 0.3, "step": 0.1}, [0, 0.1, 0.2, 0.3]),
        ({"from": 0, "to": 1, "count": 5}, [0, 0.25, 0.5, 0.75, 1]),
        ({"from": 1, "to": 64, "count": 7, "scale": "log"}, [1, 2, 4, 8, 16, 32, 64]),
        ({"from": 0.001, "to": 0.1, "count": 3, "scale": "log"}, [0.001, 0.01, 0.1]),
    ],
)
def test_a_range_is_a_list_of_numbers(given, values):
    assert sweep_values({"key": given}) == {"key": values}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "must be a list of values, or a table"),
        ({"from": 1, "too": 2}, "unknown key 'too': did you mean 'to'"),
        ({"from": "a", "to": 2}, "from = 'a': must be a number"),
        ({"from": 3, "to": 2}, "must go up from 3 to 2"),
        ({"from": 1, "to": 2, "step": 0}, "must go up from 1 to 2, by a step above 0"),
        ({"from": 1, "to": 2, "step": 1, "count": 2}, "step: must not be there beside count"),
        ({"from": 1, "to": 2, "count": 1}, "count = 1: must be an int from 2"),
        ({"from": 1, "to": 2, "scale": "log"}, "count: must be there with scale"),
        ({"from": 0, "to": 2, "count": 2, "scale": "log"}, "from and to: must be above 0"),
        ({"from": 1, "to": 2, "scale": "exp"}, "unknown scale 'exp'"),
    ],
)
def test_a_range_that_is_none_is_refused(given, said):
    with pytest.raises(ValueError, match=f"'key': {said}"):
        sweep_values({"key": given})


def test_a_sweep_has_every_combination_and_may_set_several_values_at_once(plan):
    runs = sweep_runs(plan, ['sweep."x"=1'][:0])
    assert [run.parameters for run in runs] == [
        {"applications.0.size": size, "seed": seed} for size in ("10kB", "20kB") for seed in (1, 2)
    ]
    assert len({run.key for run in runs}) == 4
    assert [run.key for run in sweep_runs(plan)] == [run.key for run in runs]
    (both,) = sweep_runs(plan, ["sweep={'links.2.up.0.rate, links.2.down.0.rate' = ['2Mbps']}"])
    assert both.data["links"][2]["up"][0] == both.data["links"][2]["down"][0] == {"rate": "2Mbps"}
    assert [run.parameters["seed"] for run in sweep_runs(plan, ["sweep={}"], range(3, 6))] == [3, 4, 5]


def test_a_combination_that_can_not_be_is_named_before_anything_runs(plan, tmp_path):
    result = quicsim(
        "sweep", plan, "--set", "sweep={'applications.0.size' = ['1kB', 'much']}", "--out", tmp_path / "out"
    )
    assert result.exit_code == 2
    assert "with {'applications.0.size': 'much'}: applications.0.size" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_plan_without_a_sweep_is_refused(plan):
    result = quicsim("sweep", plan, "--set", "sweep={}")
    assert result.exit_code == 2
    assert "sweep: is missing: must be a table such as" in result.stderr


def test_a_sweep_writes_a_row_for_each_run_and_goes_on_where_it_was_interrupted(plan, tmp_path, monkeypatch):
    out = tmp_path / "out"
    runs = sweep_runs(plan)
    Sweep(runs[:2], out).measure(2, lambda there, total: None)
    first = (out / "rows" / f"{runs[0].key}.json").stat().st_mtime_ns
    seen = []
    whole = Sweep(runs, out)
    whole.measure(1, lambda there, total: seen.append((there, total)))
    assert seen == [(2, 4), (3, 4), (4, 4)]
    assert (out / "rows" / f"{runs[0].key}.json").stat().st_mtime_ns == first
    rows = whole.save()
    with (out / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert json.loads((out / "results.json").read_text()) == rows
    assert [(row["applications.0.size"], row["seed"]) for row in table] == [
        ("10kB", "1"), ("10kB", "2"), ("20kB", "1"), ("20kB", "2"),
    ]  # fmt: skip
    assert len({row["digest"] for row in table}) == 4
    assert all(float(row["applications.0.goodput"]) > 0 and row["ok"] == "True" for row in table)
    # A row's digest is that of the run
    changes = ["applications.0.size=20kB", "seed=2"]
    outcome = Run(load_plan(plan, changes), OutputDirectory(tmp_path / "run")).execute()
    assert table[3]["digest"] == outcome.simulation.digest
    # All there: nothing is run again
    monkeypatch.setattr("quicsim.sweep.measured", None)
    result = quicsim("sweep", plan, "--out", out)
    assert (result.exit_code, result.stdout) == (0, f"4 runs, 0 failed: {out / 'results.csv'}\n")


def test_an_interrupt_keeps_what_is_there(plan, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sweep, "measure", interrupted)
    result = quicsim("sweep", plan, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "interrupted: 0 of 4 runs are there; go on with the same command" in result.stderr


def test_seeds_are_a_range(plan):
    result = quicsim("sweep", plan, "--seeds", "5")
    assert result.exit_code == 2
    assert "--seeds 5: must be the first and the last seed, such as 1:20" in result.stderr


def test_plan_check_says_what_there_is_or_what_is_wrong(plan):
    result = quicsim("plan", "check", plan)
    assert (result.exit_code, result.stdout) == (0, f"{plan}: ok: 4 hosts, 2 routers, 5 links, 4 runs to sweep\n")
    for setting, said in (
        ("sead=1", "unknown key 'sead': did you mean 'seed'?"),
        ("links.2.between=['left','sink']", "link left-sink: must join two hosts or routers that no link joins yet"),
        ("links.3.between=['server','source']", "applications.0: host 'server': no link leads there from client"),
        ("traffic.1.name=rival", "traffic.1: traffic rival: must have another name"),
        ("sweep={'links.9.cost'=[1]}", "sweep.'links.9.cost': links has 5 items"),
    ):
        result = quicsim("plan", "check", plan, "--set", setting)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"quicsim: {plan}")
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_plan_show_describes_the_plan_and_draws_its_network(plan, tmp_path):
    picture = tmp_path / "pictures" / "network.png"
    result = quicsim("plan", "show", plan, "--out", picture)
    assert result.exit_code == 0
    for line in (
        "shared, seed 1: A download beside cross traffic",
        "router left",
        "link left - right, cost 2",
        "  down rate 10Mbps, taildrop 30kB, delay 5ms",
        "application bulk: client of server size=100000",
        "traffic cbr: source to sink rate=500000 from 0.02 s to 0.1 s",
        "sweep applications.0.size: 10kB, 20kB",
        f"picture: {picture}",
    ):
        assert line in result.stdout.splitlines()
    assert picture.read_bytes().startswith(b"\x89PNG")
