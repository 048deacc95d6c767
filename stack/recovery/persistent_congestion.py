"""Persistent congestion: losses without a break for longer than three probe timeouts (RFC 9002 section 7.6)."""

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final

from stack.limits import MAX_ACKNOWLEDGED_TIMES
from stack.recovery.acknowledgments import NEVER
from stack.recovery.sent import SentPacket
from stack.recovery.space import PacketNumberSpace

if TYPE_CHECKING:
    from stack.path.path import Path

PERSISTENT_CONGESTION_THRESHOLD: Final = 3  # kPersistentCongestionThreshold, rfc9002:7.6.1:1


class PersistentCongestion:
    """Follows runs of losses with no acknowledgment in them, over all packet number spaces (rfc9002:7.6.2:3).

    Packets of a space are lost in order, so a run goes on exactly as long as packet numbers follow one another: every
    number between was acknowledged otherwise. Of other spaces, the send times of acknowledged packets tell.
    """

    __slots__ = ("_acked_at", "_live")

    def __init__(self, live: list[PacketNumberSpace]) -> None:
        """`live` are the spaces that are not discarded; the caller keeps the list up to date."""
        self._live = live
        self._acked_at: list[int] = []  # ascending; of the time when there were several spaces

    def on_acked(self, acked: list[SentPacket]) -> None:
        """Packets of one of several spaces were acknowledged."""
        for packet in acked:
            insort(self._acked_at, packet.sent_at)
        del self._acked_at[:-MAX_ACKNOWLEDGED_TIMES]

    def is_established(
        self, space: PacketNumberSpace, lost: list[SentPacket], path: "Path", max_ack_delay_ns: int
    ) -> bool:
        """Whether a run that packets of `space` just lost on `path` belong to lasts long enough.

        The run outlives this call, until `restart`.
        """
        established = False
        for packet in lost:
            if packet.packet_number != space.number_after(space.run_last_number):
                space.run_first_at = NEVER
            space.run_last_number = packet.packet_number
            if packet.path is not path or packet.is_mtu_probe:
                continue
            rtt, sent_at = path.rtt, packet.sent_at
            # rfc9002:7.6.2:1 and rfc9002:7.6.2:2
            if not packet.ack_eliciting or rtt.first_sample_at is None or sent_at <= rtt.first_sample_at:
                continue
            if space.run_first_at == NEVER or self._is_broken(space.run_first_at, sent_at):
                space.run_first_at = sent_at
            starts = [each.run_first_at for each in self._live]
            first_at = min(start for start in starts if not self._is_broken(start, sent_at))
            if sent_at - first_at >= rtt.pto_ns(max_ack_delay_ns) * PERSISTENT_CONGESTION_THRESHOLD:
                established = True
                for each in self._live:
                    if each.run_first_at < sent_at:
                        each.run_first_at = sent_at
        return established

    def restart(self) -> None:
        """Another path is in use: what was lost before says nothing about it (rfc9000:9.4:1)."""
        for space in self._live:
            space.run_first_at = NEVER

    def _is_broken(self, first_at: int, last_at: int) -> bool:
        """Whether a packet that was sent between the two times was acknowledged."""
        index = bisect_right(self._acked_at, first_at)
        return index < len(self._acked_at) and self._acked_at[index] < last_at
