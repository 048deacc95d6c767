"""`python -m tests.completion_times`: 100 MB over a satellite link, too long for a test; what each takes and may take.

`tests/scenarios/test_completion_times.py` has the shorter transfers, and where the bounds come from.
"""

import sys
from typing import Final, NamedTuple

from tests.scenarios.test_completion_times import LOSS, LOSSY, satellite

SIZE: Final = 100_000_000
BUFFERS: Final = {"max_send_buffer": 1 << 28, "send_buffer": 1 << 27}


class Case(NamedTuple):
    """A transfer, and the bound on its time in seconds; None where a controller can't keep one."""

    congestion: str
    lossy: bool
    bound: float | None


# The stack that takes 7.35 s with one datagram in 64 lost ignores losses as rare as that, and asks for fewer ACKs.
# Without `loss_tolerance` CUBIC comes to some 200 kbit/s there (RFC 9438 section 4.6: each loss reduces the window).
CASES: Final = (
    Case("cubic", False, 6.1),
    Case("cubic", True, 7.35),
    Case("bbr", False, None),
    Case("bbr", True, None),
)


def run(case: Case) -> float:
    """Return the virtual seconds that it takes, with the handshake."""
    if case.lossy:
        return satellite(case.congestion, SIZE, LOSS, **LOSSY, **BUFFERS).seconds
    return satellite(case.congestion, SIZE, None, **BUFFERS).seconds


def main() -> int:
    """Print a line for each case; return 1 if one takes longer than it may."""
    failed = 0
    for case in CASES:
        seconds = run(case)
        late = case.bound is not None and seconds > case.bound
        failed += late
        allowed = "" if case.bound is None else f" of {case.bound} s{': too long' if late else ''}"
        print(
            f"{case.congestion:<10}{'1/64 lost' if case.lossy else 'no loss':<12}{seconds:8.3f} s{allowed}", flush=True
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
