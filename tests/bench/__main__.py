"""`python -m tests.bench`: this stack against aioquic, in memory, without latency, one thread.

Both use the same P-256 certificate, TLS_AES_128_GCM_SHA256, 1280-byte datagrams, NewReno and flow control limits. Our
client pins the certificate and verifies the handshake's signature; aioquic's does not verify the certificate
(CERT_NONE), but verifies the signature too.
"""

from argparse import ArgumentParser
from pathlib import Path

from tests.bench.aioquic_peer import Aioquic
from tests.bench.ours import Ours
from tests.bench.report import Case, compare, save, table

HANDSHAKES = 50  # per round

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
    ),
)


def main() -> None:
    """Measure every case, print the table and keep it in build/bench.json."""
    parser = ArgumentParser(prog="python -m tests.bench", description="Compare this stack with aioquic.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each case (default 5)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where the rows go")
    arguments = parser.parse_args()
    ours, peer = Ours(), Aioquic()
    rows = [compare(case, ours, peer, arguments.rounds) for case in CASES]
    print(table(rows, ours.name))
    save(rows, arguments.out)


main()
