"""The recovery period: one reduction per round trip, and whether its losses were spurious (RFC 9002 section 7.3.2)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stack.recovery.sent import SentPacket

NO_RECOVERY: Final = -1  # a time before anything was sent


class RecoveryPeriod:
    """The current or the last one. `active`: no packet sent after its start, `started_at`, was acknowledged yet."""

    __slots__ = ("_before", "_losses", "active", "started_at")

    def __init__(self) -> None:
        self.started_at = NO_RECOVERY
        self.active = False
        self._before = NO_RECOVERY  # start of the one before
        self._losses = 0  # packets that have led to it and did not turn up yet

    def covers(self, sent_at: int) -> bool:
        """Whether a packet sent then belongs to what the reduction has answered."""
        return sent_at <= self.started_at

    def begin(self, now: int) -> None:
        """A reduction."""
        self._before, self.started_at = self.started_at, now
        self.active = True
        self._losses = 0

    def count(self, lost: Sequence["SentPacket"]) -> None:
        """These packets were lost in it."""
        before = self._before
        self._losses += sum([packet.sent_at > before for packet in lost])

    def is_explained(self, packet: "SentPacket") -> bool:
        """A packet declared lost has arrived; true if it was the last one that was missing (RFC 9438 section 4.9.2)."""
        if not self._before < packet.sent_at <= self.started_at:
            return False
        self._losses -= 1
        return self._losses == 0

    def undo(self) -> None:
        """It should not have been."""
        self.started_at = self._before
        self.active = False

    def forget(self) -> None:
        """Whatever is lost next is another matter."""
        self.started_at = self._before = NO_RECOVERY
        self.active = False
