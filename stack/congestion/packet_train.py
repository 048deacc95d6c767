"""The bandwidth of a path from one burst: how far apart its acknowledgments come.

Datagrams that leave at once are spread by the slowest link; the time between the first and the last acknowledgment of
such a train tells its bandwidth, long before slow start would find it on a path with a long round-trip time. (Packet
pairs: Keshav, "A control-theoretic approach to flow control", 1991.) That takes ACKs that are not held up together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stack.recovery.sent import SentPacket

TRAIN_DATAGRAMS: Final = 6  # acknowledged after the first ACK of a train, for it to count
LONG_RTT_NS: Final = 100_000_000  # shorter paths are soon filled by slow start
SAFETY: Final = 2  # the window is raised to this part of bandwidth times round-trip time


class PacketTrain:
    """The train that is being acknowledged."""

    __slots__ = ("_acked", "_count", "_first_acked_at", "_sent_at")

    def __init__(self) -> None:
        self._sent_at = -1
        self._first_acked_at = 0
        self._acked = 0  # bytes after the first ACK
        self._count = 0  # packets that those were in

    def window(self, packets: Sequence["SentPacket"], rtt_ns: int, now: int) -> int:
        """Bytes that the path holds for certain, by what `packets`, newly acknowledged, show; 0 when they do not."""
        sent_at = packets[-1].sent_at
        if sent_at != self._sent_at:
            self._sent_at, self._first_acked_at = sent_at, now
            self._acked = self._count = 0
            return 0
        self._acked += sum([packet.size for packet in packets])
        self._count += len(packets)
        elapsed_ns = now - self._first_acked_at
        if rtt_ns < LONG_RTT_NS or self._count < TRAIN_DATAGRAMS or elapsed_ns == 0:
            return 0
        return self._acked * rtt_ns // (SAFETY * elapsed_ns)
