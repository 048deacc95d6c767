"""`python -m tests.bench.instructions`: machine instructions of a handshake, both ends together, beside aioquic's.

Unlike times they don't depend on what else a machine does, nor on its caches. Needs valgrind (Debian: `valgrind`), and
takes some minutes for each row.
"""

import os
import re
import subprocess
import sys
from typing import Final

from tests.bench.aioquic_peer import Aioquic
from tests.bench.ours import Ours

STACKS: Final = {"quicsim": Ours, "aioquic": Aioquic}
FEW: Final = 1
MANY: Final = 21  # handshakes; the difference leaves out what happens once


def run(stack: str, handshakes: int, resumed: bool) -> int:
    """Return the instructions of a process that does so many handshakes."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", __spec__.name]
    finished = subprocess.run(
        [*command, stack, str(handshakes), *["resumed"] * resumed],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Collected : (\d+)", finished.stderr)
    if found is None:
        raise RuntimeError(f"valgrind did not tell the number of instructions:\n{finished.stderr}")
    return int(found[1])


def main(arguments: list[str]) -> None:
    """Without arguments, measure and print; else be the process that is measured."""
    if arguments:
        stack, handshakes, *resumed = arguments
        STACKS[stack]().handshakes(int(handshakes), bool(resumed))
        return
    for resumed_too in (False, True):
        counts = {name: (run(name, MANY, resumed_too) - run(name, FEW, resumed_too)) // (MANY - FEW) for name in STACKS}
        figures = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        kind = "resumed" if resumed_too else "full"
        print(f"instructions of a {kind} handshake: {figures}; ratio {counts['aioquic'] / counts['quicsim']:.2f}")


main(sys.argv[1:])
