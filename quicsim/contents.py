"""What hosts of a simulation say is in their datagrams: the packets, before they were protected."""

from collections import deque
from typing import Final

from quicsim.observers import Silent
from stack.observer import ConnectionObserver, Observer, PacketInfo

_LONG_FORM: Final = 0x80


class Contents(Observer):
    """Notes the packets that a host's endpoints make, and finds those of a datagram again when it is sent."""

    def __init__(self) -> None:
        self._packets: Final[deque[PacketInfo]] = deque()  # that were made and not sent yet

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """Look at another connection."""
        return _Packets(self._packets)

    def of(self, payload: bytes) -> tuple[PacketInfo, ...]:
        """Return the packets of the next datagram; none if it is not of a connection, as Retry and resets are."""
        packets, found, position = self._packets, [], 0
        while position < len(payload) and packets and _is_at(packets[0], payload, position):
            found.append(packets.popleft())
            position += found[-1].size
        return tuple(found)


class _Packets(Silent):
    def __init__(self, packets: deque[PacketInfo]) -> None:
        self._packets: Final = packets

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self._packets.append(packet)


def _is_at(packet: PacketInfo, payload: bytes, position: int) -> bool:
    """Whether a packet may be what is at a position of a datagram: by its form, its size and its connection ID."""
    is_long = bool(payload[position] & _LONG_FORM)
    start = position + (6 if is_long else 1)  # form, version and a length are before the ID of a long header
    cid = packet.destination_cid
    fits = position + packet.size <= len(payload)
    return is_long == bool(packet.version) and fits and payload[start : start + len(cid)] == cid
