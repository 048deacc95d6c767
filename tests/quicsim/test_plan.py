"""Plans: what they take, and what they say about mistakes."""

from pathlib import Path

import pytest

from links import Delay, Jitter, Loss, LossNth, Rate, TailDrop, Trace
from quicsim.plan import PlanError, load_plan, parse_elements, parse_plan
from quicsim.qlog import Profile

PLAN = """
name = "small"
seed = 3
duration = "10s"
stack = { datagram_size = 1300 }

[hosts.alice]
[hosts.bob]
addresses = ["192.0.2.1"]
stack = { pacing = false }

[capture]
qlog_profile = "rfc"
qlog_limit = "10MB"

[[links]]
between = ["alice", "bob"]
up = [{ delay = "25ms" }]
down = [{ rate = "10Mbps" }, { taildrop = { packets = 25 } }, { jitter = { spread = "1ms" } }, { loss = 0.01 }]

[[applications]]
kind = "bulk"
server = "bob"
client = "alice"
size = "10MiB"
start = "1s"

[[applications]]
kind = "requests"
server = "bob"
client = "alice"
port = 4434
interval = "10ms"
"""


NAT = """
[[nats]]
inside = "alice"
outside = ["198.51.100.1", "198.51.100.2"]
idle_timeout = "30s"

[[actions]]
at = "3s"
do = "rebind"
nat = "alice"
to = "198.51.100.2"
keep_ports = true

[[actions]]
at = "5s"
do = "migrate"
host = "bob"
to = "192.0.2.1"
"""


def problem(*settings, text=PLAN):
    """Return the only line about the plan with these settings."""
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "plan.toml", settings)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_plan_is_read_with_its_units():
    plan = parse_plan(PLAN)
    assert (plan.name, plan.seed, plan.duration) == ("small", 3, 10**10)
    assert plan.hosts["bob"].addresses == ["192.0.2.1"]
    assert (plan.stack, plan.hosts["bob"].stack) == ({"datagram_size": 1300}, {"pacing": False})
    assert (plan.capture.qlog_profile, plan.capture.qlog_limit, plan.capture.pcapng) == (Profile.RFC, 10**7, True)
    bulk, requests = plan.applications
    assert (bulk.port, bulk.start, bulk.arguments) == (4433, 10**9, {"size": 10 << 20})
    assert (requests.port, requests.arguments) == (4434, {"interval": 10_000_000})


def test_elements_are_made_from_their_tables():
    rate, queue, jitter, loss = (element.build() for element in parse_plan(PLAN).links[0].down)
    assert isinstance(rate, Rate)
    assert rate.rate == 10**7
    assert isinstance(queue, TailDrop)
    assert queue.packet_limit == 25
    assert isinstance(jitter, Jitter)
    assert jitter.spread_ns == 10**6
    assert isinstance(loss, Loss)
    assert loss.probability == 0.01


def test_an_element_may_have_several_arguments_and_underscores():
    plan = parse_plan(PLAN, settings=["links.0.up=[{loss_nth = [2, 3]}, {Delay = 5}]"])
    numbers, delay = (element.build() for element in plan.links[0].up)
    assert isinstance(numbers, LossNth)
    assert numbers.numbers == {2, 3}
    assert isinstance(delay, Delay)


def test_an_argument_of_an_element_may_be_a_file_s_text(tmp_path):
    (tmp_path / "two.trace").write_text("2\n5\n")
    file = f"{{file = '{tmp_path / 'two.trace'}'}}"
    for written in (f"[{file}]", f"{{trace = {file}}}"):
        (trace,) = (
            element.build() for element in parse_plan(PLAN, "", [f"links.0.up=[{{trace = {written}}}]"]).links[0].up
        )
        assert isinstance(trace, Trace)
        assert trace.times == (2, 5)
    assert "file 'none' can't be read as text" in problem("links.0.up=[{trace = [{file = 'none'}]}]")


def test_settings_replace_and_add_values():
    settings = [
        "links.0.down.3.loss=0.02",
        'applications.0.size="1MiB"',
        "applications.1.count=5",
        "name=other",
        "hosts.alice.stack.pacing=false",
        "hosts.carol={}",
    ]
    plan = parse_plan(PLAN, settings=settings)
    assert plan.links[0].down[3].positional == (0.02,)
    assert plan.applications[0].arguments == {"size": 1 << 20}
    assert plan.applications[1].arguments["count"] == 5
    assert plan.name == "other"
    assert plan.hosts["alice"].stack == {"pacing": False}
    assert list(plan.hosts) == ["alice", "bob", "carol"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sead=3", "plan.toml: unknown key 'sead': did you mean 'seed'? must be one of name, description, seed,"),
        ('seed="x"', 'plan.toml: seed = "x": must be a valid integer'),
        ("seed=true", "plan.toml: seed = true: must be a valid integer"),
        ("duration=1.5", "plan.toml: duration = 1.5: duration 1.5: must be an int of nanoseconds or text such as"),
        ('name="a/b"', 'plan.toml: name = "a/b": must match pattern'),
        ("links.0.dwn=[]", "plan.toml: links.0: unknown key 'dwn': did you mean 'down'? must be one of between, up,"),
        ("links.0.down.3.loss=1.5", "plan.toml: links.0.down.3: probability 1.5: must be a number from 0 to 1"),
        ("links.0.down.3={los=1}", "plan.toml: links.0.down.3: unknown element 'los': did you mean 'loss'? must be"),
        ("links.0.down.3.delay=1", "plan.toml: links.0.down.3: must be a table with one key, such as"),
        ("links.0.down.1.taildrop.packet=3", "plan.toml: links.0.down.1: unknown argument of taildrop 'packet': did"),
        ("links.0.up.0.delay=[1,2]", "plan.toml: links.0.up.0: delay can't be made of [1, 2]: too many positional"),
        ("links.0.up=[{taildrop=3}]", "plan.toml: links.0: link up: TailDrop must stand beside the Rate"),
        ('links.0.between=["bob"]', "plan.toml: links.0.between: must have at least 2 items"),
        ('links.0.between=["bob","bob"]', "plan.toml: links.0: between: must be two different hosts"),
        (
            'links.0.between=["bob","alcie"]',
            "plan.toml: links.0.between: unknown host or address 'alcie': did you mean",
        ),
        ('links.0.between=["bob","10.0.0.1"]', "plan.toml: links.0.between: unknown host or address '10.0.0.1': did"),
        (
            "hosts.bob.addresses=['10.0.0']",
            "plan.toml: hosts.bob.addresses.0 = \"10.0.0\": '10.0.0' does not appear to",
        ),
        (
            "hosts.bob.stack.preferred_address_v4=192.0.2.1",
            'plan.toml: hosts.bob.stack.preferred_address_v4 = "192.0.2.1',
        ),
        (
            "hosts.bob.stack.preferred_address_v6='[::1]:1'",
            "plan.toml: hosts.bob.stack.preferred_address_v6: unknown addr",
        ),
        ("applications.0.server=carol", "plan.toml: applications.0.server: unknown host 'carol': must be one of"),
        ("applications.0.kind=bulq", "plan.toml: applications.0: unknown kind of application 'bulq': did you mean"),
        ("applications.0.sice=1", "plan.toml: applications.0: unknown key 'sice': did you mean 'size'? must be one"),
        ("applications.0.size=10stone", "plan.toml: applications.0.size = \"10stone\": size '10stone': its unit must"),
        ("applications.0.upload=1", "plan.toml: applications.0.upload = 1: must be a valid boolean"),
        ("applications.0.port=0", "plan.toml: applications.0.port = 0: must be greater than or equal to 1"),
        ("applications.1.port=4433", "plan.toml: applications.1.port: port 4433 of bob is taken by a 'bulk' server"),
        ("stack.datagram_size=3", "plan.toml: stack: datagram_size = 3: must be from 1200 to 65527"),
        ("hosts.bob.stack.pasing=true", "plan.toml: hosts.bob.stack: unknown key 'pasing': did you mean 'pacing'?"),
        ("capture.qlog_profile=new", "plan.toml: capture.qlog_profile = \"new\": must be 'rfc', 'qvis' or 'dual'"),
    ],
)
def test_a_mistake_is_named_with_its_place_its_value_and_what_is_right(setting, said):
    assert problem(setting).startswith(said)


def test_nats_and_actions_are_read_with_their_units():
    plan = parse_plan(PLAN + NAT)
    (nat,) = plan.nats
    assert (nat.inside, nat.outside) == ("alice", ["198.51.100.1", "198.51.100.2"])
    assert (nat.idle_timeout, nat.symmetric) == (30 * 10**9, False)
    rebind, migrate = plan.actions
    assert (rebind.at, rebind.nat, rebind.to, rebind.keep_ports) == (3 * 10**9, "alice", "198.51.100.2", True)
    assert (migrate.at, migrate.host, migrate.to, migrate.probe) == (5 * 10**9, "bob", "192.0.2.1", True)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("nats.0.inside=carol", "plan.toml: nats.0.inside: unknown host or address 'carol': must be one of alice, bob"),
        ("nats.0.outside=[]", "plan.toml: nats.0: NAT with the outside addresses []: must be one or more of one IP"),
        ("nats.0.outside=['::1','1.2.3.4']", "plan.toml: nats.0: NAT with the outside addresses ['::1', '1.2.3.4']:"),
        ("nats.0.outside.0=alice", "plan.toml: nats.0.outside.0 = \"alice\": 'alice' does not appear to be an IPv4 or"),
        (
            "nats.0.idle_time=3",
            "plan.toml: nats.0: unknown key 'idle_time': did you mean 'idle_timeout'? must be one of",
        ),
        ("actions.0.do=rebound", "plan.toml: actions.0: unknown action 'rebound': did you mean 'rebind'? must be one"),
        ("actions.0={at=1}", "plan.toml: actions.0: must be a table such as { at ="),
        ("actions.0.at=soon", "plan.toml: actions.0.at = \"soon\": duration 'soon': must be an int of nanoseconds or"),
        ("actions.0.nat=bob", "plan.toml: actions.0.nat: unknown NAT 'bob': must be one of alice"),
        (
            "actions.0.to=10.0.0.1",
            "plan.toml: actions.0: rebinding to 10.0.0.1: the NAT must have that address, it has",
        ),
        ("actions.0={do='rebind',at=1,nat='alice',keep_ports=true}", "plan.toml: actions.0: rebinding with keep_ports"),
        ("actions.1.host=carol", "plan.toml: actions.1.host: unknown host 'carol': must be one of alice, bob"),
        (
            "actions.1.to=10.0.0.1",
            "plan.toml: actions.1.to: unknown address of bob '10.0.0.1': did you mean '192.0.2",
        ),
        (
            "actions.1.prob=true",
            "plan.toml: actions.1: unknown key 'prob': did you mean 'probe'? must be one of at, every,",
        ),
    ],
)
def test_a_mistake_in_nats_and_actions_is_named(setting, said):
    assert problem(setting, text=PLAN + NAT).startswith(said)


def test_a_preferred_address_is_text_with_a_port():
    settings = ["hosts.bob.stack.preferred_address_v4='192.0.2.1:443'"]
    assert parse_plan(PLAN, settings=settings).hosts["bob"].stack["preferred_address_v4"] == ("192.0.2.1", 443)
    settings = ["hosts.bob.addresses=['2001:db8::1']", "hosts.bob.stack.preferred_address_v6='[2001:DB8::1]:443'"]
    plan = parse_plan(PLAN, settings=settings)
    assert plan.hosts["bob"].stack["preferred_address_v6"] == ("2001:db8::1", 443)


def test_a_missing_key_is_named():
    text = PLAN.replace('name = "small"', "")
    assert problem(text=text) == "plan.toml: name: is missing"


def test_all_mistakes_are_named_at_once():
    with pytest.raises(PlanError) as caught:
        parse_plan(PLAN, "plan.toml", ["seed=x", "duration=x"])
    assert [line.split(" = ")[0] for line in str(caught.value).splitlines()] == [
        "plan.toml: seed",
        "plan.toml: duration",
    ]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("loss", "--set loss: must be KEY=VALUE, such as"),
        ("a..b=1", "--set a..b=1: must be KEY=VALUE, such as"),
        ("links.7.up=[]", "--set links.7.up=[]: links has 1 items: '7' must be the index of one, counted from 0"),
        ("links.up=[]", "--set links.up=[]: links has 1 items: 'up' must be the index of one, counted from 0"),
        ("seed.x=1", "--set seed.x=1: seed = 3 is a value and has no 'x'"),
    ],
)
def test_a_setting_that_leads_nowhere_is_named(setting, said):
    assert problem(setting).startswith(said)


def test_text_that_is_not_toml_is_named_with_its_line():
    assert problem(text="seed = \n").startswith("plan.toml: isn't TOML: Invalid value (at line 1,")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"none\.toml: can't be read: No such file or directory"):
        load_plan(tmp_path / "none.toml")


def test_a_file_of_another_encoding_is_named(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(PlanError, match="must be UTF-8"):
        load_plan(path)


def test_the_plans_of_all_experiments_can_be_used():
    plans = sorted((Path(__file__).parents[2] / "experiments").glob("*/*.toml"))
    assert plans
    for path in plans:
        assert load_plan(path).name == (path.parent.name if path.name == "plan.toml" else path.stem)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", []),
        ("codel", [("codel", (), {})]),
        ("rate=10Mbps,delay=15ms", [("rate", ("10Mbps",), {}), ("delay", ("15ms",), {})]),
        (
            "Rate(10Mbps, overhead=30), tail_drop(packets = 25),",
            [("rate", ("10Mbps",), {"overhead": 30}), ("taildrop", (), {"packets": 25})],
        ),
        ("losscapped(0.02, 3)", [("losscapped", (0.02, 3), {})]),
        ("losspattern='.x.'", [("losspattern", (".x.",), {})]),
    ],
)
def test_a_line_of_text_names_elements(text: str, kinds: list[object]) -> None:
    assert [(each.kind, each.positional, each.named) for each in parse_elements(text)] == kinds


@pytest.mark.parametrize("text", ["delay=", "=1", "loss(0.1", "loss)0.1(", "delay 1ms", "rate=10Mbps)", "loss=2"])
def test_a_line_that_names_no_elements_is_refused_with_the_one_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="element '"):
        parse_elements(f"codel, {text}")


def test_nats_in_a_row_and_actions_after_events_are_read():
    another = """
[[nats]]
inside = "198.51.100.1"
outside = ["203.0.113.7"]
filtering = "port"
port_range = [5000, 5001]

[[actions]]
on = "handshake_confirmed"
after = "5ms"
do = "rebind"
nat = "198.51.100.1"

[[actions]]
sent = "1MB"
do = "rebind"
nat = "alice"
"""
    plan = parse_plan(PLAN + NAT + another)
    assert plan.nats[1].options["filtering"] == "port"
    assert plan.nats[1].options["port_range"] == (5000, 5001)
    confirmed, sent = plan.actions[2:]
    assert (confirmed.on, confirmed.after, confirmed.at) == ("handshake_confirmed", 5_000_000, None)
    assert sent.sent == 1_000_000
    said = problem("actions.3.at=5", text=PLAN + NAT + another)
    assert said.startswith('plan.toml: actions.3: must have one of at, on and sent, such as at = "3s"; has at and sent')
