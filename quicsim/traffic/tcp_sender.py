"""The sending end of the TCP model: what is under way, what is lost, and how much may be sent."""

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

from links import Address
from quicsim.traffic.segment import ACK, DATA, SYN, Segment, decode, encode
from stack.ranges import RangeSet
from stack.transmit import Transmit

if TYPE_CHECKING:
    from quicsim.host import Socket
    from quicsim.traffic.tcp import Tcp
    from quicsim.traffic.window import Window

DUPLICATES: Final = 3  # segments sent later and delivered, that make one lost (RFC 5681 section 3.2)
INITIAL_RTO: Final = 1_000_000_000  # ns (RFC 6298 section 2.1)
LEAST_RTO: Final = 200_000_000  # Linux's
MOST_RTO: Final = 60_000_000_000
GRANULARITY: Final = 1_000_000


class _Transmission(NamedTuple):
    order: int  # of sending, counted over all segments
    sent_at: int
    again: bool


class TcpSender:
    """Owns the source's socket.

    A segment is lost when three that were sent later, be it the first time or again, have been delivered: RACK's order
    of transmission (RFC 8985) with a threshold of packets, so that a lost retransmission is noticed too. What is under
    way is bounded by the window (RFC 6675's pipe); the window is reduced once until all is acknowledged that was sent
    before the loss. There is no tail loss probe: at the end of the data the timer helps.
    """

    def __init__(self, flow: "Tcp", socket: "Socket", to: Address, window: "Window", total: int | None) -> None:
        self._flow = flow
        self._socket = socket
        self._to = to
        self.window: Final = window
        self._total = total  # segments, None without end
        self._open = False
        self._lowest = 0  # the lowest segment that is not acknowledged
        self._next = 0  # the lowest that was never sent
        self._under_way: dict[int, _Transmission] = {}  # in order of sending
        self._delivered = RangeSet()  # segments above the lowest
        self._lost: list[int] = []  # a heap; what has arrived after all is skipped
        self._order = 0
        self._newest_delivered = -1
        self._recover = 0  # the window is not reduced again below
        self._recovering = False
        self.smoothed_rtt: int | None = None
        self._rtt_variation = 0
        self._least_rtt = MOST_RTO
        self._rto = INITIAL_RTO
        self._asked_at: int | None = 0  # None after a second request: the answer may be to either

    def start(self) -> None:
        """Ask for a connection."""
        self._asked_at = now = self._socket.now
        self._send(encode(SYN, 0))
        self._socket.wake_at(now + self._rto)

    def receive(self, data: bytes, _: Address, __: Address, ___: int) -> None:
        """An acknowledgment has come."""
        segment = decode(data)
        if segment is None or self._flow.ended_at is not None:
            return
        now = self._socket.now
        if segment.kind == SYN and not self._open:
            self._open = True
            if self._asked_at is not None:
                self._measure(now - self._asked_at)
        elif segment.kind == ACK and self._open:
            self._on_ack(segment, now)
        else:
            return
        if self._lowest == self._total:
            self._flow.stop()
        else:
            self._fill(now)

    def wake(self) -> None:
        """The retransmission timer has expired (RFC 6298 section 5)."""
        if self._flow.ended_at is not None:
            return
        now = self._socket.now
        self._rto = min(2 * self._rto, MOST_RTO)
        self._flow.timeouts += 1
        if not self._open:
            self._asked_at = None
            self._send(encode(SYN, 0))
        else:
            self.window.on_timeout(now)
            self._recover, self._recovering = self._next, False
            for number in self._under_way:
                heappush(self._lost, number)
            self._under_way.clear()
            self._fill(now)
        self._socket.wake_at(now + self._rto)

    def _on_ack(self, ack: Segment, now: int) -> None:
        limited = len(self._under_way) >= int(self.window.size)
        before = self._lowest
        newly = self._deliver(ack)
        if not newly and ack.number <= before:
            return
        newest = max((transmission for _, transmission in newly), default=None)
        if newest is not None and not newest.again:
            self._measure(now - newest.sent_at)
        for _, transmission in newly:
            # What was sent again within less than a round trip was delivered the first time (RFC 8985 section 6.2)
            if not transmission.again or now - transmission.sent_at >= self._least_rtt:
                self._newest_delivered = max(self._newest_delivered, transmission.order)
        if self._recovering and self._lowest >= self._recover:
            self._recovering = False
        self._find_losses(now)
        if limited and not self._recovering:
            self.window.on_acknowledged(len(newly), now, self.smoothed_rtt or INITIAL_RTO)
        self._socket.wake_at(now + self._rto if self._lowest < self._next else None)

    def _deliver(self, ack: Segment) -> list[tuple[int, _Transmission]]:
        """Take what an ACK reports for the first time out of what is under way or lost."""
        newly = []
        delivered = self._delivered
        for start, end in ((self._lowest, ack.number), *ack.blocks):
            at = start
            for known_start, known_end in [*delivered.overlapping(start, end), (end, end)]:
                for number in range(at, min(known_start, end)):
                    transmission = self._under_way.pop(number, None)
                    if transmission is not None:
                        newly.append((number, transmission))
                at = max(at, known_end)
            delivered.add(start, end)
        self._lowest = max(self._lowest, ack.number)
        delivered.drop_below(self._lowest)
        return newly

    def _find_losses(self, now: int) -> None:
        lost = []
        for number, transmission in self._under_way.items():
            if transmission.order > self._newest_delivered - DUPLICATES:
                break
            lost.append(number)
        for number in lost:
            del self._under_way[number]
            heappush(self._lost, number)
            if number >= self._recover:
                self.window.on_loss(now)
                self._recover, self._recovering = self._next, True

    def _fill(self, now: int) -> None:
        """Send as much as the window allows, what was lost first."""
        flow, limit = self._flow, int(self.window.size)
        while len(self._under_way) < limit:
            again = False
            while self._lost and not again:
                number = heappop(self._lost)
                again = number >= self._lowest and number not in self._delivered
            if not again:
                number = self._next
                if number == self._total or number - self._lowest >= flow.receive_window:
                    break
                self._next += 1
            self._under_way[number] = _Transmission(self._order, now, again)
            self._order += 1
            flow.retransmitted += again
            if len(self._under_way) == 1:
                self._socket.wake_at(now + self._rto)
            self._send(encode(DATA, number, flow.size_of(number)))

    def _measure(self, rtt: int) -> None:
        """Take a round-trip time into the estimate (RFC 6298 section 2)."""
        self._least_rtt = min(self._least_rtt, rtt)
        if self.smoothed_rtt is None:
            self.smoothed_rtt, self._rtt_variation = rtt, rtt // 2
        else:
            self._rtt_variation = (3 * self._rtt_variation + abs(self.smoothed_rtt - rtt)) // 4
            self.smoothed_rtt = (7 * self.smoothed_rtt + rtt) // 8
        rto = self.smoothed_rtt + max(GRANULARITY, 4 * self._rtt_variation)
        self._rto = min(max(rto, LEAST_RTO), MOST_RTO)

    def _send(self, payload: bytes) -> None:
        self._flow.sent += 1
        self._socket.send([Transmit(payload, self._socket.addresses[0], self._to, 0)])
