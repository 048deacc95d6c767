"""`python -m tests.bench.relay`: how exact `quicsim relay` is, and how much it can pass.

A relay in a process of its own stands between two sockets of this one. The error of a datagram is the time between the
sender's call and the kernel's mark on arrival, less what the link takes with the same datagrams in a simulation. CPU
seconds are the relay's.
"""

import json
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from resource import RUSAGE_CHILDREN, getrusage
from select import select
from statistics import fmean
from typing import Any, Final

from links import Datagram, Pipeline
from quicsim.plan import parse_elements
from quicsim.real.udp import UdpSocket
from quicsim.seeds import random_stream
from stack.transmit import Transmit

SIZE: Final = 1252  # bytes
INTERVAL_NS: Final = (SIZE + 30) * 8 * 100  # at 10 Mbit/s
MS: Final = 10**6
WINDOW: Final = 128  # datagrams under way when throughput is measured
SECOND: Final = 10**9
SEED: Final = 1

EXACT: Final = (
    "delay=15ms",
    "rate(10Mbps, overhead=30), taildrop(packets=25), delay=15ms",
    "rate(10Mbps, overhead=30), taildrop(packets=25), delay=15ms, losscapped(0.02, 3)",
)
FAST: Final = ("", "rate(1Gbps, overhead=30), taildrop(packets=1000), delay=1ms")


class Bench:
    """Two sockets with a relay between them."""

    def __init__(self, link: str, options: Sequence[str] = ()) -> None:
        self.sender = UdpSocket("127.0.0.1")
        self.receiver = UdpSocket("127.0.0.1", timestamps=True)
        port = self.receiver.address[1]
        command = [sys.executable, "-m", "quicsim", "relay", f"127.0.0.1:{port}", "--json", "--up", link]
        command += ["--seed", str(SEED), *options]
        self._relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._relay.stdout is not None
        host, _, port_text = json.loads(self._relay.stdout.readline())["listen"].rpartition(":")
        self._address = (host, int(port_text))
        self.received: list[tuple[int, int]] = []  # when sent and when arrived, ns since 1970
        self._ended = False
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def send(self) -> int:
        """Send one datagram, marked with the time in ns since 1970, and return that."""
        now = time.time_ns()
        payload = now.to_bytes(8) + bytes(SIZE - 8)
        self.sender.send([Transmit(payload, self.sender.address, self._address, 0)])
        return now

    def _read(self) -> None:
        while not self._ended:
            select([self.receiver], [], [], 0.1)
            for each in self.receiver.receive():
                self.received.append((int.from_bytes(each.payload[:8]), self.receiver.received_at))

    def end(self) -> Any:
        """Close all and return the relay's counters, with its CPU seconds."""
        time.sleep(0.1)
        self._ended = True
        self._reading.join()
        before = getrusage(RUSAGE_CHILDREN)
        self._relay.terminate()
        out, _ = self._relay.communicate(timeout=30)
        after = getrusage(RUSAGE_CHILDREN)
        self.sender.close()
        self.receiver.close()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return json.loads(out) | {"cpu": cpu}


def start_up(options: Sequence[str]) -> float:
    """CPU seconds of a relay that passes nothing."""
    cpu: float = Bench("", options).end()["cpu"]
    return cpu


def simulated(link: str, sent: Sequence[int]) -> dict[int, int]:
    """When the datagrams that were sent at these times arrive, without those that are lost."""
    arrivals: dict[int, int] = {}
    pipeline = Pipeline(
        "client>server",
        [element.build() for element in parse_elements(link)],
        rng=lambda name: random_stream(SEED, name),
        schedule=lambda *_: None,
        deliver=lambda datagram, at: arrivals.update({datagram.sent_at: at}),
        lose=lambda *_: None,
    )
    for at in sent:
        pipeline.send(Datagram(bytes(SIZE), ("", 0), ("", 0), sent_at=at), at)
    return arrivals


def quantile(values: Sequence[int], share: float) -> int:
    """Return a value that at least this share of the sorted `values` does not exceed."""
    return values[min(int(share * len(values)), len(values) - 1)]


def exactness(link: str, seconds: float, options: Sequence[str], idle_cpu: float) -> str:
    """Send 10 Mbit/s and tell how the arrivals differ from the simulated ones."""
    bench = Bench(link, options)
    start = time.monotonic_ns()
    sent: list[int] = []
    while (at := start + len(sent) * INTERVAL_NS) < start + seconds * SECOND:
        if (wait := at - time.monotonic_ns()) > 0:
            time.sleep(wait / SECOND)
        sent.append(bench.send())
    counters = bench.end()
    expected = simulated(link, sent)
    arrived = dict(bench.received)
    both = expected.keys() & arrived.keys()
    errors = sorted(arrived[each] - expected[each] for each in both)
    within = sum(abs(error) <= MS for error in errors) / len(errors)
    return (
        f"{link}: {len(sent)} sent, {len(arrived)} came, {len(expected)} in simulation, {len(both)} the same; "
        f"error mean {fmean(errors) / 1e3:+.0f} µs, median {quantile(errors, 0.5) / 1e3:+.0f} µs, "
        f"99 % up to {quantile(errors, 0.99) / 1e3:+.0f} µs, from {errors[0] / 1e3:+.0f} "
        f"to {errors[-1] / 1e3:+.0f} µs; "
        f"{within:.2%} within ±1 ms; {(counters['cpu'] - idle_cpu) / len(sent) * 1e6:.0f} µs of CPU time per datagram"
    )


def throughput(link: str, seconds: float, options: Sequence[str], idle_cpu: float) -> str:
    """Keep datagrams under way and tell how many pass."""
    bench = Bench(link, options)
    start = time.monotonic()
    sent = 0
    while time.monotonic() - start < seconds:
        if sent - len(bench.received) < WINDOW:
            bench.send()
            sent += 1
        else:
            time.sleep(0.0001)
    elapsed = time.monotonic() - start
    passed = len(bench.received)
    counters = bench.end()
    return (
        f"throughput over {link or 'no element'}: {passed / elapsed:,.0f} datagrams/s, "
        f"{passed * SIZE * 8 / elapsed / 1e6:,.0f} Mbit/s, {counters['overflowed']} lost before the relay; "
        f"{(counters['cpu'] - idle_cpu) / sent * 1e6:.0f} µs of CPU time per datagram"
    )


def main() -> None:
    """Measure, and print a line for each case."""
    parser = ArgumentParser(prog="python -m tests.bench.relay", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case")
    parser.add_argument("--realtime", action="store_true", help="let the relay run before all other programs")
    arguments = parser.parse_args()
    options = ["--realtime"] if arguments.realtime else []
    idle_cpu = start_up(options)
    for link in EXACT:
        print(exactness(link, arguments.seconds, options, idle_cpu), flush=True)
    for link in FAST:
        print(throughput(link, arguments.seconds, options, idle_cpu), flush=True)


if __name__ == "__main__":
    main()
