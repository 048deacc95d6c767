"""Which packets arrived and when to say so: the receiving half of acknowledgment (RFC 9000 section 13.2)."""

from typing import Final

from stack.limits import MAX_ACK_RANGES_SENT, MAX_NON_ELICITING_PACKETS, MAX_RECEIVED_RANGES
from stack.ranges import RangeSet
from stack.sent_frame import SentFrame
from stack.wire.ecn import CE, ECT_0, ECT_1
from stack.wire.frames import EcnCounts, encode_ack

NEVER: Final = 1 << 62  # a time that does not come

ACK_ELICITING_THRESHOLD: Final = 2  # rfc9000:13.2.2:1


class Acknowledgments:
    """Received packet numbers of one space and the ACK that is owed for them.

    Invariant: `ack_at` is NEVER, the time by which an ACK must go, or 0 when it must go with the next datagram.
    """

    __slots__ = (
        "_delay_exponent",
        "_ecn_counts",
        "_eliciting_since_ack",
        "_floor",
        "_gaps_since_ack",
        "_largest_eliciting",
        "_last_was_ce",
        "_lowest_untold",
        "_max_ack_delay_ns",
        "_non_eliciting_sent",
        "_reordering_threshold",
        "_threshold",
        "_told",
        "ack_at",
        "largest_received",
        "largest_received_at",
        "largest_told",
        "received",
        "unsent",
    )

    def __init__(self, max_ack_delay_ns: int, delay_exponent: int) -> None:
        """`max_ack_delay_ns` 0 acknowledges at once, as Initial and Handshake spaces must (rfc9000:13.2.1:2)."""
        self._max_ack_delay_ns = max_ack_delay_ns
        self._delay_exponent = delay_exponent
        self._threshold = ACK_ELICITING_THRESHOLD
        self._reordering_threshold = 1  # packets; 0: reordering asks for nothing
        self._gaps_since_ack = 0
        self._last_was_ce = False  # whether the last marked packet was marked CE
        self.received = RangeSet()
        self._floor = 0  # packet numbers below were forgotten and count as duplicates
        self.largest_received = -1
        self.largest_received_at = 0
        self.largest_told = -1  # largest_received when the last ACK went out
        self._eliciting_since_ack = 0
        self._non_eliciting_sent = 0
        self._largest_eliciting = -1
        self._told = -1  # packet numbers below were in an ACK that the peer acknowledged …
        self._lowest_untold = NEVER  # … except what arrived late, down to here, and was in no ACK yet
        self.ack_at = NEVER
        self._ecn_counts: list[int] | None = None  # by codepoint, once any packet was marked
        self.unsent = False  # something arrived that asks for an ACK, and no frame of ours has told it

    def set_frequency(self, threshold: int, max_ack_delay_ns: int, reordering_threshold: int) -> None:
        """The peer wants an ACK after more than `threshold` packets that ask for one, and no later than the delay.

        Sooner only if a packet is missing `reordering_threshold` numbers before the newest one, with 0 not even then
        (draft-ietf-quic-ack-frequency sections 4 and 6.2).
        """
        self._threshold = threshold + 1
        self._max_ack_delay_ns = max_ack_delay_ns
        self._reordering_threshold = reordering_threshold

    def is_duplicate(self, packet_number: int) -> bool:
        """Whether the packet was processed before, or is too old to tell (RFC 9000 section 12.3)."""
        if packet_number > self.largest_received:
            return False
        return packet_number < self._floor or packet_number in self.received

    def on_received(self, packet_number: int, ack_eliciting: bool, now: int) -> None:
        """Record a packet whose frames were processed."""
        largest, received = self.largest_received, self.received
        in_order = packet_number == largest + 1
        if in_order and largest >= 0:
            received.ends[-1] = packet_number + 1
        else:
            self._gaps_since_ack += 1
            if packet_number < self._lowest_untold:
                self._lowest_untold = packet_number
            received.add(packet_number, packet_number + 1)
            if len(received.starts) > MAX_RECEIVED_RANGES:
                self._floor = received.starts[1]
                received.drop_below(self._floor)
        if packet_number > largest:
            self.largest_received = packet_number
            self.largest_received_at = now
        if not ack_eliciting:
            return  # rfc9000:13.2.1:4, rfc9000:13.2.1:6
        self.unsent = True
        self._eliciting_since_ack += 1
        if self._reordering_threshold == 1:
            # rfc9000:13.2.1:8 reordering, or a gap since the last packet that asked for an ACK: at once
            reordered = not in_order or received.starts[-1] > self._largest_eliciting + 1
        else:
            reordered = self._is_reordered(packet_number)
        if reordered or self._max_ack_delay_ns == 0 or self._eliciting_since_ack >= self._threshold:
            self.ack_at = 0
        elif self.ack_at == NEVER:
            self.ack_at = now + self._max_ack_delay_ns
        if packet_number > self._largest_eliciting:
            self._largest_eliciting = packet_number

    def _is_reordered(self, packet_number: int) -> bool:
        """Whether this packet shows what the peer's reordering threshold asks to be told at once.

        That is a packet that the peer may now declare lost, and no ACK could tell it before; or this one, if it comes
        after it could be declared lost. An ACK also goes before there are more gaps than one has room for.
        """
        threshold = self._reordering_threshold
        if self._gaps_since_ack >= MAX_ACK_RANGES_SENT - 1:
            return True
        if not threshold:
            return False
        reported = self.largest_told - threshold
        missing = max(reported + 1, self._floor)
        for start, end in zip(self.received.starts, self.received.ends, strict=True):
            if start <= missing < end:
                missing = end
        newest = max(packet_number, self._largest_eliciting)
        return packet_number <= reported or newest - missing >= threshold

    def on_marked(self, codepoint: int, ack_eliciting: bool) -> None:
        """Count the mark of a packet that `on_received` has just recorded (RFC 9000 section 13.4.1)."""
        counts = self._ecn_counts
        if counts is None:
            counts = self._ecn_counts = [0, 0, 0, 0]
        counts[codepoint] += 1
        # rfc9000:13.2.1:9, or if the peer asked for few ACKs, only when marks begin
        if codepoint == CE and ack_eliciting and (self._threshold <= ACK_ELICITING_THRESHOLD or not self._last_was_ce):
            self.ack_at = 0
        self._last_was_ce = codepoint == CE

    def ecn_counts(self) -> EcnCounts | None:
        """How many packets came with ECT(0), ECT(1) and CE; None when none did."""
        counts = self._ecn_counts
        return None if counts is None else (counts[ECT_0], counts[ECT_1], counts[CE])

    def frame(self, now: int) -> bytes:
        """Return an ACK frame for what has arrived; b"" when nothing has. Call `on_sent` if it goes out."""
        starts, ends = self.received.starts, self.received.ends
        if not starts:
            return b""
        delay = (now - self.largest_received_at) // 1000 >> self._delay_exponent
        index = len(starts) - 1
        newest_first = [(starts[index], ends[index] - 1)]  # rfc9000:13.2.3:6
        oldest = max(index + 1 - MAX_ACK_RANGES_SENT, 0)
        told = min(self._told, self._lowest_untold)
        while index > oldest and ends[index - 1] > told:
            index -= 1
            newest_first.append((starts[index], ends[index] - 1))
        return encode_ack(newest_first, delay, self.ecn_counts())  # rfc9000:13.4.1:1

    def on_sent(self) -> None:
        """An ACK frame went out."""
        self.largest_told = self.largest_received
        self._eliciting_since_ack = 0
        self._gaps_since_ack = 0
        self._lowest_untold = NEVER
        self.ack_at = NEVER
        self.unsent = False

    def wants_ping(self, ack_eliciting: bool) -> bool:
        """Whether this packet should carry a PING, so that the peer acknowledges our ACKs (RFC 9000 section 13.2.4)."""
        if ack_eliciting:
            self._non_eliciting_sent = 0
            return False
        self._non_eliciting_sent += 1
        if self._non_eliciting_sent > MAX_NON_ELICITING_PACKETS:
            self._non_eliciting_sent = 0
            return True
        return False

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer has our ACK up to sent[1]: ranges up to there need not be told again (rfc9000:13.2.3:2).

        They stay in `received`, so that late packets are still told from duplicates (rfc9000:13.2.3:4).
        """
        if sent[1] > self._told:
            self._told = sent[1]

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Nothing to repeat: the next ACK tells the same and more."""
