"""Whether a path carries ECN marks (RFC 9000 section 13.4.2 and appendix A.4).

    TESTING ──pause──▶ UNKNOWN ──confirm──▶ CAPABLE
       ▲                │  ▲                   │
       └─────retest─────┘  └───────pause───────┘

and from each of them by `fail` to FAILED, where it ends. Packets are marked in TESTING and CAPABLE, with ECT(0), or
with ECT(1) if the congestion controller wants L4S (RFC 9331).
"""

from enum import Enum
from typing import Final

from stack.recovery.marks import SentMarks
from stack.wire.ecn import ECT_0, NOT_ECT
from stack.wire.frames import EcnCounts

TESTED_PACKETS: Final = 10  # RFC 9000 section 13.4.2
# Consecutive probe timeouts after which packets go unmarked, in case the marks are what is wrong with them: three PTOs
# after the last packet, as section 13.4.2 suggests
SILENT_TIMEOUTS: Final = 2


class EcnState(Enum):
    """What is known; the values are qlog's names."""

    TESTING = "testing"
    UNKNOWN = "unknown"
    CAPABLE = "capable"
    FAILED = "failed"


class EcnTrigger(Enum):
    """What moves a path to another state."""

    PAUSE = "pause"  # enough was marked, or nothing gets through
    CONFIRM = "confirm"  # marked packets arrived as they were sent
    RETEST = "retest"  # everything marked was lost on a path that was capable: an outage, perhaps
    FAIL = "fail"  # the reported counts are wrong, or no mark arrives


TRANSITIONS: Final[dict[EcnState, dict[EcnTrigger, EcnState]]] = {
    EcnState.TESTING: {EcnTrigger.PAUSE: EcnState.UNKNOWN, EcnTrigger.FAIL: EcnState.FAILED},
    EcnState.UNKNOWN: {
        EcnTrigger.CONFIRM: EcnState.CAPABLE,
        EcnTrigger.RETEST: EcnState.TESTING,
        EcnTrigger.FAIL: EcnState.FAILED,
    },
    EcnState.CAPABLE: {EcnTrigger.PAUSE: EcnState.UNKNOWN, EcnTrigger.FAIL: EcnState.FAILED},
    EcnState.FAILED: {},
}


class EcnValidation:
    """The ECN state of one path. `codepoint` is what its datagrams carry now, `mark` or Not-ECT."""

    __slots__ = ("_intact", "_pending", "_tested", "_was_capable", "codepoint", "mark", "state")

    def __init__(self, enabled: bool, mark: int = ECT_0) -> None:
        """A path whose use begins; when not `enabled`, nothing is ever marked. `mark` is ECT(0) or ECT(1)."""
        self.state = EcnState.TESTING if enabled else EcnState.FAILED
        self.mark = mark
        self.codepoint = mark if enabled else NOT_ECT
        self._tested = 0  # marked packets of this test
        self._pending = 0  # marked packets of which it is not known whether they arrived
        self._intact = 0  # packets reported with our mark since the test began
        self._was_capable = False

    def on_sent(self) -> None:
        """A marked packet was sent."""
        self._pending += 1
        if self.state is EcnState.TESTING:
            self._tested += 1
            if self._tested == TESTED_PACKETS:
                self._move(EcnTrigger.PAUSE)

    def on_ack(self, marked: int, marks: SentMarks, counts: EcnCounts | None) -> int:
        """Validate an ACK frame; return how many new CE marks it reports that must be believed.

        `marked` of the packets that it newly acknowledges were sent with our mark; `marks` is the book of their packet
        number space; `counts` is None when the frame has none. Only for frames that raise the largest acknowledged
        packet number: others may be late, and say nothing about the path (rfc9000:13.4.2.1:1).
        """
        if counts is None:
            if marked:
                self._fail()  # bleached on the way, or the peer does not report
            return 0
        ect_0, ect_1, ce = marks.report(counts)
        too_many = marks.settle()
        if self.state is EcnState.FAILED:
            return 0
        ours, other = (ect_0, ect_1) if self.mark == ECT_0 else (ect_1, ect_0)
        # We never send the other mark. Counts that fall are no counts.
        if too_many or other or ours < 0 or ce < 0 or ours + ce < marked:
            self._fail()
            return 0
        self._pending -= marked
        self._intact += ours
        self._judge()
        return ce

    def on_lost(self) -> None:
        """A marked packet was lost."""
        self._pending -= 1
        self._judge()

    def on_probe_timeout(self, count: int) -> None:
        """The `count`-th probe timeout in a row expired: if it is the marks that are dropped, go on without them."""
        if count >= SILENT_TIMEOUTS and self.codepoint:
            self._intact = 0
            self._move(EcnTrigger.PAUSE)

    def _judge(self) -> None:
        if self.state is not EcnState.UNKNOWN:
            return
        if self._intact:
            self._was_capable = True
            self._move(EcnTrigger.CONFIRM)
        elif self._pending <= 0:
            # All were lost, or all were marked CE: neither is what a working path does
            if not self._was_capable:
                self._fail()
                return
            self._was_capable = False
            self._tested = 0
            self._move(EcnTrigger.RETEST)  # rfc9000:13.4.2.2:2

    def _fail(self) -> None:
        """Use no ECN on this path any more (rfc9000:13.4.2.2:1, rfc9000:13.4.2.2:4)."""
        if self.state is not EcnState.FAILED:
            self._move(EcnTrigger.FAIL)

    def _move(self, trigger: EcnTrigger) -> None:
        self.state = TRANSITIONS[self.state][trigger]
        self.codepoint = self.mark if self.state in (EcnState.TESTING, EcnState.CAPABLE) else NOT_ECT
