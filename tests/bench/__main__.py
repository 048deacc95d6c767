"""`python -m tests.bench`: this stack against aioquic, in memory, without latency, one thread.

Both use the same P-256 certificate, TLS_AES_128_GCM_SHA256, 1280-byte datagrams, NewReno and flow control limits. Our
client pins the certificate and verifies the handshake's signature; aioquic's does not verify the certificate
(CERT_NONE), but verifies the signature too.

The last rows have limits beside them: what the simulated network costs for each hop of a datagram, what a packet costs
among a thousand connections (beside 1.3 times of that among ten), and what an idle connection holds.

With `--real`, over UDP on the loopback interface, each with client and server on one asyncio event loop.

Where `make compiled` has made the compiled stack, all of it follows once more for that, in a process of its own.
"""

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from tests.bench.aioquic_peer import Aioquic
from tests.bench.hops import LIMIT, microseconds_per_hop
from tests.bench.ours import Ours
from tests.bench.real import RealAioquic, RealOurs
from tests.bench.report import Case, compare, limited, save, table
from tests.bench.scale import MEMORY, MOST_MEMORY, PACKET, among_many, idle_memory
from tests.support import compiled

HANDSHAKES = 10  # per round, of which there are more than of other cases
HOP = "simulated network, a datagram's hop of one element"

CASES = (
    Case(
        "data datagram, 1 stream of 20 MB",
        "µs",
        lower_is_better=True,
        measure=lambda stack: stack.download(1, 20_000_000).microseconds_per_datagram,
    ),
    Case(
        "data datagram, 100 streams of 200 kB",
        "µs",
        lower_is_better=True,
        measure=lambda stack: stack.download(100, 200_000).microseconds_per_datagram,
    ),
    Case(
        "handshakes",
        "per second",
        lower_is_better=False,
        measure=lambda stack: HANDSHAKES / stack.handshakes(HANDSHAKES),
        rounds=6,
    ),
    Case(
        "handshakes, resumed",
        "per second",
        lower_is_better=False,
        measure=lambda stack: HANDSHAKES / stack.handshakes(HANDSHAKES, resumed=True),
        rounds=6,
    ),
)


REAL_SIZE = 30_000_000  # bytes
REAL_CASES = (
    Case(
        "goodput over loopback, both ends in one thread",
        "MB/s",
        lower_is_better=False,
        measure=lambda stack: stack.download(REAL_SIZE) / 1e6,
    ),
)


def main() -> None:
    """Measure every case, print the table and keep it."""
    parser = ArgumentParser(prog="python -m tests.bench", description="Compare this stack with aioquic.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each case (default 5)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where the rows go")
    parser.add_argument("--real", action="store_true", help="over UDP on the loopback interface instead of in memory")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the cases with this in their names")
    arguments = parser.parse_args()
    if arguments.real:
        rows = [compare(case, RealOurs(), RealAioquic(), arguments.rounds) for case in REAL_CASES]
    else:
        cases = [case for case in CASES if arguments.only in case.name]
        rows = [compare(case, Ours(), Aioquic(), arguments.rounds) for case in cases]
        if arguments.only in HOP:
            rows.append(limited(HOP, "µs", lambda: microseconds_per_hop(2 * arguments.rounds), LIMIT))
        if arguments.only in MEMORY:  # while there is little else
            rows.append(limited(MEMORY, "kB", idle_memory, MOST_MEMORY))
        if arguments.only in PACKET:
            rows.append(among_many())
    print(table(rows, "compiled" if compiled.COMPILED else Ours.name), flush=True)
    out = arguments.out
    save(rows, out.with_stem(f"{out.stem}-compiled") if compiled.COMPILED else out)


def main_compiled() -> None:
    """The same by the compiled stack."""
    if compiled.is_made():
        subprocess.run([sys.executable, "-m", "tests.bench", *sys.argv[1:]], env=compiled.environment(), check=True)
    else:
        print("no compiled stack, or one of other sources: `make compiled` makes it")


main()
if not compiled.COMPILED:
    main_compiled()
