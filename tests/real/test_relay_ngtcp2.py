"""`quicsim relay` between two processes of ngtcp2: the interop runner's cases L2 and BP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from links import Datagram, LossCapped, Pipeline
from quicsim.interop.peers import H3
from quicsim.seeds import random_stream
from tests.support.endpoints import Exchange, installed
from tests.support.tshark import tshark

ROOT = Path(__file__).parents[2]
RIG = "rate(10Mbps, overhead=30), taildrop(packets=26), delay=15ms"
PROBABILITY, BURST, EFFECTIVE = 0.02, 3, 0.02
PATH_CHALLENGE, PATH_RESPONSE = "26", "27"


class Relaying:
    """A relay as a process: where it listens, and at the end its counters."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._process = process
        self.port = int(json.loads(process.stdout.readline())["listen"].rpartition(":")[2])

    def end(self) -> Any:
        self._process.terminate()
        out, err = self._process.communicate(timeout=20)
        assert (self._process.returncode, err) == (0, "")
        return json.loads(out)


@contextmanager
def relaying(server: int, *options: object) -> Iterator[Relaying]:
    arguments = [sys.executable, "-m", "quicsim", "relay", f"127.0.0.1:{server}", "--json", *map(str, options)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield Relaying(process)
    finally:
        process.kill()
        process.communicate()


def fates(name: str, seed: int, count: int) -> int:
    """How many of `count` datagrams an element of this name and seed loses in a simulation."""
    link = Pipeline(
        name.partition("/")[0],
        [LossCapped(PROBABILITY, BURST)],
        rng=lambda each: random_stream(seed, each),
        schedule=lambda *_: None,
        deliver=lambda *_: None,
        lose=lambda *_: None,
    )
    for number in range(count):
        link.send(Datagram(b"", ("", 0), ("", 0)), number)
    return link.lost


@pytest.mark.peer("ngtcp2")
def test_transferloss_passes_and_the_loss_is_that_of_the_plan(tmp_path: Path) -> None:
    ngtcp2, seed = installed("ngtcp2"), 7
    exchange = Exchange(tmp_path, 2 << 20, protocol=H3)
    link = f"{RIG}, losscapped({PROBABILITY}, {BURST})"
    with exchange.serving(ngtcp2, "transfer") as port, relaying(port, "--both", link, "--seed", seed) as relay:
        assert exchange.fetch(ngtcp2, "transfer", relay.port) == 0
        counters = relay.end()
    assert exchange.fetched, exchange.log("client")
    assert counters["overflowed"] == counters["refused"] == counters["strangers"] == 0
    received = lost = 0
    for way in (counters["up"], counters["down"]):
        loss = way["elements"][-1]
        assert loss["name"].endswith("/LossCapped")
        drops = loss["dropped"].get("capped loss", 0)
        assert drops == fates(loss["name"], seed, loss["received"])
        received += loss["received"]
        lost += drops
    assert received > 1500
    assert abs(lost - EFFECTIVE * received) < 5 * sqrt(received * EFFECTIVE * (1 - EFFECTIVE))


@pytest.mark.peer("ngtcp2")
def test_rebind_port_passes_and_the_new_paths_are_validated(tmp_path: Path) -> None:
    ngtcp2 = installed("ngtcp2")
    exchange = Exchange(tmp_path, 5 << 20, protocol=H3)
    captures, keys = tmp_path / "captures", tmp_path / "client.keys"
    options = ("--both", RIG, "--rebind", "1s,1s", "--pcap", captures, "--keylog", keys)
    with exchange.serving(ngtcp2, "transfer") as port, relaying(port, *options) as relay:
        assert exchange.fetch(ngtcp2, "transfer", relay.port) == 0
        counters = relay.end()
    assert exchange.fetched, exchange.log("client")
    assert counters["rebindings"] >= 3
    fields = ("-T", "fields", "-E", "aggregator=|", "-e", "udp.srcport", "-e", "udp.dstport", "-e", "quic.frame_type")
    lines = tshark(captures / "server.pcapng", "-d", f"udp.port=={port},quic", *fields)
    seen: dict[str, set[str]] = {}  # frame types of the server's packets to each port, and of the client's from it
    for source, destination, types in (line.split("\t") for line in lines):
        client = destination if source == str(port) else source
        seen.setdefault(client, set()).update(types.split("|"))
    _, *new = seen.values()
    assert len(new) >= 3
    # A path may be left again, or the transfer be over, before its validation is
    assert sum({PATH_CHALLENGE, PATH_RESPONSE} <= types for types in new) >= len(new) - 1
