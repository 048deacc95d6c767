"""What came of a test case between two implementations."""

from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev

from quicsim.interop.cases import Case


class Status(StrEnum):
    """How it ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"  # one of the two does not have the test case

    @property
    def mark(self) -> str:
        """One character for people."""
        return {Status.PASSED: "✓", Status.FAILED: "✕", Status.UNSUPPORTED: "?"}[self]


@dataclass(frozen=True, slots=True)
class Result:
    """A test case of a client and a server; `reason` says why it did not pass, or with what remark it did.

    `goodputs` are in kbit/s.
    """

    client: str
    server: str
    case: Case
    status: Status
    reason: str = ""
    goodputs: tuple[float, ...] = ()
    duration_s: float = 0.0  # of the network's time

    @property
    def goodput(self) -> str:
        """Mean and standard deviation for people; empty without a measurement."""
        if not self.goodputs:
            return ""
        spread = f" ± {stdev(self.goodputs):.0f}" if len(self.goodputs) > 1 else ""
        return f"{fmean(self.goodputs):.0f}{spread} kbit/s"
