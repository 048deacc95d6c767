"""Losses that were none: packets acknowledged after they were declared lost (RFC 9438 section 4.9.2).

They came late, overtaken by others. That the frames in them were sent again can't be helped, but they need not be a
second time, and the congestion controller may take back what it did.
"""

from typing import TYPE_CHECKING, Final

from stack.limits import MAX_REMEMBERED_LOSSES

if TYPE_CHECKING:
    from stack.recovery.sent import SentPacket

# What most spaces, which never lose anything, have instead of a list and a dict of their own; never changed
_NO_NUMBERS: Final[list[int]] = []
_NO_PACKETS: Final["dict[int, SentPacket]"] = {}

REMEMBERED_PTOS: Final = 3  # probe timeouts since a packet was sent, after which nobody waits for it any more


class DeclaredLost:
    """The packets of one space that were declared lost not long ago. `numbers` are theirs, ascending."""

    __slots__ = ("_packets", "numbers")

    numbers: list[int]
    _packets: "dict[int, SentPacket]"

    def __init__(self) -> None:
        self.clear()

    def add(self, lost: list["SentPacket"], sent_after: int) -> None:
        """Remember packets, and forget those that were not sent after that time."""
        packets = self._packets | {packet.packet_number: packet for packet in lost}
        self.numbers = sorted(number for number, packet in packets.items() if packet.sent_at > sent_after)
        del self.numbers[:-MAX_REMEMBERED_LOSSES]
        self._packets = {number: packets[number] for number in self.numbers}

    def take(self, ranges: list[tuple[int, int]]) -> list["SentPacket"]:
        """Remove and return, ascending, those that `ranges` (inclusive, largest first) acknowledge."""
        if self.numbers[-1] < ranges[-1][0]:
            return []
        index = len(ranges) - 1
        smallest, largest = ranges[index]
        arrived: list[SentPacket] = []
        for number in self.numbers:
            while number > largest and index > 0:
                index -= 1
                smallest, largest = ranges[index]
            if smallest <= number <= largest:
                arrived.append(self._packets.pop(number))
        if arrived:
            self.numbers = sorted(self._packets)
        return arrived

    def clear(self) -> None:
        """Forget all."""
        self.numbers = _NO_NUMBERS
        self._packets = _NO_PACKETS
