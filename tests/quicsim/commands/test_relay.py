"""`quicsim relay`: a process between a client and a server, what it prints and captures, what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicsim.cli import app
from quicsim.commands import exits
from quicsim.real.udp import UdpSocket
from tests.support.tshark import tshark

ROOT = Path(__file__).parents[3]

PLAN = """
name = "relayed"
seed = 5
[hosts.client]
[hosts.server]
[[nats]]
inside = "client"
outside = ["198.51.100.1", "198.51.100.2"]
[[links]]
between = ["client", "server"]
up = [{ lossnth = 2 }, { delay = "1ms" }]
down = [{ delay = "2ms" }]
[[applications]]
kind = "bulk"
server = "server"
client = "client"
size = 1000
[[actions]]
do = "rebind"
at = "300ms"
nat = "client"
to = "198.51.100.2"
"""


def refused(*arguments: object) -> tuple[int, str]:
    """The exit code and what is said of it in one line."""
    result = CliRunner().invoke(app, ["relay", *map(str, arguments)])
    assert len(result.stderr.splitlines()) == 1
    return result.exit_code, result.stderr.removeprefix("quicsim: ").strip()


class Network:
    """A client's socket, a server's, and a relay between them in a process of its own."""

    def __init__(self, relay: subprocess.Popen[str], server: socket.socket, client: socket.socket) -> None:
        assert relay.stdout is not None
        self.first_line = relay.stdout.readline()
        self.lines = relay.stdout
        self._relay = relay
        self._server = server
        self._client = client

    def use(self, address: tuple[str, int]) -> None:
        self._client.connect(address)

    def tell(self) -> tuple[str, int]:
        """Send to the server; return the client's address as the server sees it."""
        self._client.send(b"ask")
        asked, source = self._server.recvfrom(2000)
        assert asked == b"ask"
        return str(source[0]), int(source[1])

    def ask(self) -> tuple[str, int]:
        """The same, and the server answers."""
        source = self.tell()
        self._server.sendto(b"answer", source)
        assert self._client.recv(2000) == b"answer"
        return source

    def lose(self) -> None:
        self._client.send(b"to be lost")

    def notify(self, number: signal.Signals) -> None:
        self._relay.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """End the relay; return its exit code and what else it printed."""
        self.notify(number)
        out, err = self._relay.communicate(timeout=10)
        return self._relay.returncode, out, err


@contextmanager
def relaying(*options: object) -> Iterator[Network]:
    udp = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*udp) as server, socket.socket(*udp) as client:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        client.settimeout(5)
        port = server.getsockname()[1]
        relay = subprocess.Popen(
            [sys.executable, "-m", "quicsim", "relay", f"127.0.0.1:{port}", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            yield Network(relay, server, client)
        finally:
            relay.kill()
            relay.communicate()


def address_in(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_relay_passes_datagrams_until_it_is_told_to_end_and_then_tells_what_it_did(end: signal.Signals) -> None:
    with relaying("--up", "lossnth(2, 3), delay=1ms", "--down", "delay=2ms", "--seed", 3) as network:
        words = network.first_line.split()
        assert words[0] == "relaying"
        network.use(address_in(words[1]))
        network.ask()
        network.lose()
        network.lose()
        network.ask()
        code, out, err = network.end(end)
    assert (code, err) == (0, "")
    assert ", 1 clients, 0 rebindings; " in out
    assert "client>server: 4 datagrams (26 bytes) came, 2 sent on, 2 lost\n" in out
    assert "  client>server/LossNth: 4, dropped 2 nth datagram (50.00%)\n" in out
    assert "server>client: 2 datagrams (12 bytes) came, 2 sent on, 0 lost\n" in out


def test_a_plan_says_what_the_link_and_the_nat_do(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    with relaying("--plan", plan, "--set", "links.0.up.1.delay=2ms", "--json") as network:
        network.use(address_in(json.loads(network.first_line)["listen"]))
        first = network.tell()
        network.lose()
        while (now := network.tell()) == first:
            pass
        code, out, _ = network.end()
    assert code == 0
    assert first[0] == "127.0.0.1"
    assert now[0] == "127.0.0.2"
    counters = json.loads(out)
    assert counters["rebindings"] == 1
    assert counters["seconds"] >= 0.3
    assert counters["up"]["elements"][0] == {
        "name": "client>server/LossNth",
        "received": counters["up"]["received"],
        "dropped": {"nth datagram": 1},
    }


def test_a_plans_cross_traffic_shares_the_link_in_real_time(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
name = "shared"
routers = ["r"]
[hosts]
client = {}
server = {}
other = {}
[[links]]
between = ["client", "r"]
down = [{ rate = "2Mbps" }, { taildrop = "40kB" }]
[[links]]
between = ["server", "r"]
[[links]]
between = ["other", "r"]
[[traffic]]
kind = "tcp"
source = "server"
destination = "client"
[[traffic]]
kind = "cbr"
source = "other"
destination = "server"
rate = "1Mbps"
"""
    )
    with relaying("--plan", plan, "--link", "client-r", "--json") as network:
        network.use(address_in(json.loads(network.first_line)["listen"]))
        network.ask()
        time.sleep(0.8)
        network.ask()
        code, out, _ = network.end()
    assert code == 0
    counters = json.loads(out)
    tcp, elsewhere = counters["flows"]
    assert (tcp["name"], elsewhere["name"]) == ("server>client/tcp", "other>server/cbr")
    assert 1e6 < tcp["goodput"] < 2e6
    assert elsewhere["received"] > 50
    assert counters["down"]["forwarded"] == tcp["received"] + 3  # two answers, and the request for a connection


def test_counters_come_at_intervals_and_when_asked_for_and_the_end_may_be_set() -> None:
    with relaying("--json", "--interval", 0.2, "--time", 0.9, "--rebind", "1ms,100ms") as network:
        network.use(address_in(json.loads(network.first_line)["listen"]))
        network.tell()
        lines = [json.loads(line) for line in network.lines]
    assert len(lines) >= 3
    assert lines[0]["up"]["received"] == lines[-1]["up"]["received"] == 1
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert lines[-1]["rebindings"] >= 5
    with relaying() as network:
        network.notify(signal.SIGUSR1)
        assert network.lines.readline().startswith("0.0 s, 0 clients, ")
        assert network.end()[0] == 0


def test_each_side_has_its_capture_with_the_secrets_of_the_programs(tmp_path: Path) -> None:
    captures, log = tmp_path / "captures", tmp_path / "keys.txt"
    log.write_text(f"CLIENT_RANDOM {'00' * 32} {'11' * 48}\nno secret\n")
    with relaying("--pcap", captures, "--keylog", log, "--keylog", tmp_path / "none") as network:
        near = address_in(network.first_line.split()[1])
        network.use(near)
        outside = network.ask()
        assert network.end()[::2] == (0, "")
    for name, port, directions in (("client", near[1], ["1", "2"]), ("server", outside[1], ["2", "1"])):
        path = captures / f"{name}.pcapng"
        rows = [row.split("\t") for row in tshark(path, "-T", "fields", "-e", "frame.packet_flags", "-e", "udp.port")]
        assert [flags[-1] for flags, _ in rows] == directions
        assert all(str(port) in ports.split(",") for _, ports in rows)
        assert f"CLIENT_RANDOM {'00' * 32} {'11' * 48}\n".encode() in path.read_bytes()
        assert b"no secret" not in path.read_bytes()


def test_what_can_not_be_relayed_is_told(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    for arguments, message in (
        (["127.0.0.1:x"], "127.0.0.1:x: must be HOST:PORT"),
        (["127.0.0.1", "--both", "delay"], "--both: element 'delay': delay can't be made of []"),
        (["127.0.0.1", "--up", "taildrop=9000"], "link client>server: TailDrop must stand beside the Rate"),
        (["127.0.0.1", "--down", "los=0.1"], "--down: element 'los=0.1': unknown element 'los': did you mean 'loss'?"),
        (["127.0.0.1", "--both", "", "--profile", "lte"], "--up and --down, --both, --profile, --plan: must be one"),
        (["127.0.0.1", "--profile", "isdn"], "--profile: unknown profile 'isdn'"),
        (["127.0.0.1", "--plan", tmp_path / "none.toml"], f"{tmp_path / 'none.toml'}: can't be read"),
        (["127.0.0.1", "--plan", plan, "--link", "a-b"], "relayed: has no link 'a-b': must be one of client-server"),
        (["127.0.0.1", "--link", "a-b"], "--link and --set: are for a plan"),
        (["127.0.0.1", "--plan", plan, "--outside", "127.0.0.1"], "--outside: the plan's NAT has 2 addresses"),
        (["127.0.0.1", "--rebind", "often"], "--rebind often: must be such as"),
        (["127.0.0.1", "--rebind", "1s,0s"], "--rebind 1s,0s: must be such as"),
        (["127.0.0.1", "--outside", "::1"], "outside ::1: must be of the IP version of the server's addresses"),
        (["127.0.0.1", "--idle", "never"], "duration 'never': must be"),
        (["127.0.0.1", "--keylog", plan], "--keylog: is for the captures, and there is no --pcap"),
        (["127.0.0.1", "--pcap", plan / "x"], f"{plan / 'x'}: the output directory can't be made"),
    ):
        code, said = refused(*arguments)
        assert code == exits.BAD_INPUT
        assert said.startswith(message)


def test_an_address_that_is_not_there_or_taken_is_told() -> None:
    assert refused("nowhere.invalid")[0] == exits.UNREACHABLE
    assert refused("127.0.0.1", "--outside", "192.0.2.1") == (
        exits.FAILED,
        "UDP port 0 of 192.0.2.1: Cannot assign requested address",
    )
    taken = UdpSocket("127.0.0.1")
    code, said = refused("127.0.0.1", "--listen", f"127.0.0.1:{taken.address[1]}")
    taken.close()
    assert code == exits.FAILED
    assert said == f"UDP port {taken.address[1]} of 127.0.0.1: Address already in use"
