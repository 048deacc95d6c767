"""How large datagrams may be on a path: DPLPMTUD by probes alone (RFC 8899, RFC 9000 sections 14.3 and 14.4).

    DISABLED ──start──▶ SEARCHING ──found──▶ COMPLETE
                           ▲  │                 │
                           │  └────black hole───┤
                           └──────raise─────────┘

The handshake, whose datagrams have 1200 bytes and more, is what confirms the base size, and ICMP is not listened to, so
that RFC 8899's states BASE and ERROR are passed through at once or not reached.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from stack.recovery.acknowledgments import NEVER
from stack.sent_frame import SentFrame
from stack.wire.header import SMALLEST_INITIAL_DATAGRAM

if TYPE_CHECKING:
    from stack.recovery.sent import SentPacket

BASE_PLPMTU: Final = SMALLEST_INITIAL_DATAGRAM  # rfc9000:14.3:1
MAX_PROBES: Final = 3  # RFC 8899 section 5.1.2: so many of a size are lost before it counts as too large
PMTU_RAISE_TIMER_NS: Final = 600 * 1_000_000_000  # RFC 8899 section 5.1.1
SMALLEST_STEP: Final = 16  # bytes; finding out about less is not worth another round of probes
BLACK_HOLE_PACKETS: Final = 3  # large packets lost in a row, while smaller ones arrive


class MtuState(Enum):
    """Where the search is."""

    DISABLED = "disabled"
    SEARCHING = "searching"
    COMPLETE = "complete"


class MtuTrigger(Enum):
    """What moves the search on."""

    START = "start"  # the path carries the base size, and may carry more
    FOUND = "found"  # the largest size that is worth finding
    RAISE = "raise"  # it was long ago: the path may have changed
    BLACK_HOLE = "black_hole"  # only the small packets arrive


TRANSITIONS: Final[dict[MtuState, dict[MtuTrigger, MtuState]]] = {
    MtuState.DISABLED: {MtuTrigger.START: MtuState.SEARCHING},
    MtuState.SEARCHING: {MtuTrigger.FOUND: MtuState.COMPLETE, MtuTrigger.BLACK_HOLE: MtuState.SEARCHING},
    MtuState.COMPLETE: {MtuTrigger.RAISE: MtuState.SEARCHING, MtuTrigger.BLACK_HOLE: MtuState.SEARCHING},
}


class MtuDiscovery:
    """The search on one path. Sizes in bytes of UDP payload.

    `size` is what packets may have now, `probe_at` the time from which on a probe of `probe_size()` should go, NEVER
    while one is on its way or none is wanted. There is no timer: without traffic nobody needs a larger size
    (RFC 8899 section 5.1.1). The search begins at the maximum, which most paths carry, and goes on by halves.
    """

    __slots__ = (
        "_failures",
        "_maximum",
        "_probed",
        "_suspect_since",
        "_too_large",
        "probe_at",
        "resize",
        "size",
        "state",
        "suspects",
    )

    def __init__(self, size: int, resize: Callable[[int], None]) -> None:
        """`size` to begin with; `resize` is called with each new one."""
        self.size = size
        self.state = MtuState.DISABLED
        self.probe_at = NEVER
        self.suspects = 0  # large packets lost in a row
        self.resize = resize
        self._maximum = size
        self._too_large = size + 1  # the smallest size that did not arrive; above the maximum when none is known
        self._probed = 0  # size of the probe on its way
        self._failures = 0  # probes of this size that were lost
        self._suspect_since = 0  # when the first suspect was sent, in ns

    def start(self, maximum: int) -> None:
        """Look for the largest size up to `maximum`, now that the handshake has shown that the path works."""
        if self.state is MtuState.DISABLED:
            self._maximum = max(maximum, self.size)
            self._search(MtuTrigger.START)
            if self.size == self._maximum:
                self._complete(NEVER)

    def probe_size(self) -> int:
        """Size of the next probe."""
        if self._too_large > self._maximum or self.state is MtuState.COMPLETE:
            return self._maximum
        return (self.size + self._too_large) // 2

    def on_probe_sent(self) -> SentFrame:
        """A probe of `probe_size()` goes out; returns what is to be remembered of it."""
        if self.state is MtuState.COMPLETE:
            self._search(MtuTrigger.RAISE)
        self._probed = self.probe_size()
        self.probe_at = NEVER
        return self, self._probed

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """A probe arrived: its size is the path's."""
        if sent[1] == self._probed:
            self._failures = 0
            self._set_size(self._probed)
            self._go_on(now)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """A probe was lost: after MAX_PROBES of a size it is too large ; isolated loss says nothing."""
        if sent[1] == self._probed:
            self._failures += 1
            if self._failures == MAX_PROBES:
                self._failures = 0
                self._too_large = self._probed
            self._go_on(now)

    # Black holes: RFC 8899 section 4.3

    def on_packet_lost(self, packet: "SentPacket") -> None:
        """A packet that was no probe was lost: large ones are suspects of their size."""
        if packet.size > BASE_PLPMTU and self.state is not MtuState.DISABLED and self.size > BASE_PLPMTU:
            if not self.suspects:
                self._suspect_since = packet.sent_at
            self.suspects += 1

    def judge(self, acked: Sequence["SentPacket"]) -> None:
        """There are suspects, and `acked` arrived: no other large packet among them means that no large one arrives."""
        for packet in acked:
            if packet.size > BASE_PLPMTU and packet.sent_at > self._suspect_since:
                self.suspects = 0
                return
        if self.suspects >= BLACK_HOLE_PACKETS:
            self._set_size(BASE_PLPMTU)
            self._search(MtuTrigger.BLACK_HOLE)

    # Inside

    def _search(self, trigger: MtuTrigger) -> None:
        self.state = TRANSITIONS[self.state][trigger]
        self._too_large = self._maximum + 1
        self._probed = self._failures = self.suspects = 0
        self.probe_at = 0

    def _go_on(self, now: int) -> None:
        """Ask for the next probe, or for none for a while."""
        self._probed = 0
        if self.size == self._maximum:
            self._complete(NEVER)
        elif self._too_large <= self._maximum and self._too_large - self.size <= SMALLEST_STEP:
            self._complete(now + PMTU_RAISE_TIMER_NS)
        else:
            self.probe_at = 0

    def _complete(self, probe_at: int) -> None:
        self.state = TRANSITIONS[self.state][MtuTrigger.FOUND]
        self.probe_at = probe_at

    def _set_size(self, size: int) -> None:
        self.size = size
        self.resize(size)
