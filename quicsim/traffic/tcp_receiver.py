"""The receiving end of the TCP model: what is there, and when it says so."""

from typing import TYPE_CHECKING, Final

from links import Address
from quicsim.traffic.segment import ACK, DATA, MAX_SACK_BLOCKS, SYN, decode, encode
from stack.ranges import RangeSet
from stack.transmit import Transmit

if TYPE_CHECKING:
    from quicsim.host import Socket
    from quicsim.traffic.tcp import Tcp

DELAYED_ACK_NS: Final = 40_000_000  # Linux's shortest


class TcpReceiver:
    """Owns the destination's socket.

    It acknowledges every second segment, or one after 40 ms, and at once what comes out of order or fills a gap (RFC
    5681 section 4.2), with SACK blocks: that of the newest segment first, then the highest (RFC 2018 section 4).
    """

    def __init__(self, flow: "Tcp", socket: "Socket") -> None:
        self._flow = flow
        self._socket = socket
        self._next = 0  # the lowest segment that is not there
        self._beyond = RangeSet()  # segments above it that are
        self._waiting = 0  # segments in order that were not acknowledged
        self._sender: Address = ("", 0)

    def receive(self, data: bytes, source: Address, destination: Address, ecn: int) -> None:
        """A segment has come."""
        segment = decode(data)
        if segment is None:
            return
        self._sender = source
        if segment.kind == SYN:
            self._send(encode(SYN, 0))
        elif segment.kind == DATA:
            self._flow.received += 1
            self._take(segment.number, segment.size)

    def wake(self) -> None:
        """The time for a delayed acknowledgment has come."""
        if self._waiting:
            self._acknowledge(None)

    def _take(self, number: int, size: int) -> None:
        beyond = self._beyond
        if number < self._next or number in beyond:
            self._acknowledge(number)
            return
        self._flow._arrived(size)
        if number > self._next:
            beyond.add(number, number + 1)
            self._acknowledge(number)
            return
        self._next += 1
        if beyond:
            if beyond.starts[0] == self._next:
                _, self._next = beyond.pop_first(beyond.ends[0])
            self._acknowledge(None)
            return
        self._waiting += 1
        if self._waiting == 2:
            self._acknowledge(None)
        else:
            self._socket.wake_at(self._socket.now + DELAYED_ACK_NS)

    def _acknowledge(self, newest: int | None) -> None:
        self._waiting = 0
        self._socket.wake_at(None)
        blocks: list[tuple[int, int]] = []
        if self._beyond:
            highest = zip(self._beyond.starts[: -MAX_SACK_BLOCKS - 1 : -1], self._beyond.ends[::-1], strict=False)
            blocks = list(highest)
            if newest is not None:
                blocks = self._beyond.overlapping(newest, newest + 1) + [b for b in blocks if not b[0] <= newest < b[1]]
        self._send(encode(ACK, self._next, blocks=blocks[:MAX_SACK_BLOCKS]))

    def _send(self, payload: bytes) -> None:
        self._socket.send([Transmit(payload, self._socket.addresses[0], self._sender, 0)])
