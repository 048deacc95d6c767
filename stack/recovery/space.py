"""A packet number space: its numbers, keys, and what is in flight in it (RFC 9000 section 12.3, RFC 9002 A)."""

from collections import deque
from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import TAG_LENGTH, Keys
from stack.limits import MAX_SKIPPED_NUMBERS
from stack.recovery.acknowledgments import NEVER, Acknowledgments
from stack.recovery.marks import SentMarks
from stack.recovery.sent import SentPacket
from stack.recovery.spurious import DeclaredLost

if TYPE_CHECKING:
    from stack.path.path import Path
    from stack.streams.crypto import CryptoStream

_NOTHING: Final[deque[SentPacket]] = deque(maxlen=0)  # which stays empty


class PacketNumberSpace:
    """One of Initial, Handshake and application data.

    `sent` holds every packet not yet acknowledged or lost, in the order of packet numbers. `probes` counts the packets
    that may go regardless of the congestion window because a PTO expired.
    """

    __slots__ = (
        "ack_only",
        "acks",
        "checkpoint",
        "crypto",
        "declared_lost",
        "discarded",
        "eliciting_in_flight",
        "index",
        "largest_acked",
        "last_eliciting_sent_at",
        "last_skipped",
        "level",
        "loss_at",
        "marks",
        "newest_path",
        "next_packet_number",
        "number_limit",
        "packet_type",
        "phase_first",
        "probes",
        "read_keys",
        "read_phase",
        "refused_below",
        "run_first_at",
        "run_last_number",
        "sent",
        "skipped",
        "tag_length",
        "write_keys",
        "write_phase",
    )

    def __init__(self, index: int, level: int, packet_type: int, acks: Acknowledgments, crypto: "CryptoStream") -> None:
        """`index`: place among the connection's spaces; `level`: of TLS; `packet_type`: as in `stack.wire.header`."""
        self.index = index
        self.level = level
        self.packet_type = packet_type
        self.acks = acks
        self.crypto = crypto
        self.read_keys: Keys | None = None
        self.write_keys: Keys | None = None
        # Application data only: the Key Phase bits that go with the keys, and the lowest number opened by read_keys
        self.read_phase = self.write_phase = 0
        self.phase_first = 0
        self.tag_length = TAG_LENGTH  # bytes that write_keys add to a payload
        self.discarded = False
        self.next_packet_number = 0
        self.checkpoint = NEVER  # the next packet number at which PacketNumbers has to look after it
        self.skipped: tuple[int, ...] = ()  # the newest numbers that were never used
        self.last_skipped = -1
        self.refused_below = 0  # numbers of 0-RTT packets that the server did not take
        self.number_limit = NEVER  # the first packet number that may not be used
        self.sent: deque[SentPacket] = deque()
        self.ack_only = 0  # packets sent that are not in flight, since they were last forgotten
        self.marks = SentMarks()
        self.declared_lost = DeclaredLost()
        self.largest_acked = -1
        self.newest_path: Path | None = None  # that the packet with this number took
        self.eliciting_in_flight = 0
        self.last_eliciting_sent_at = 0
        self.loss_at = NEVER  # when the time threshold declares the next loss
        self.probes = 0
        # The current run of losses with no acknowledged packet in it (recovery/persistent_congestion.py)
        self.run_first_at = NEVER
        self.run_last_number = -2

    def discard(self) -> None:
        """The keys are gone: nothing is sent or received here any more."""
        self.discarded = True
        self.sent = _NOTHING

    def skip(self) -> None:
        """Leave out the next packet number."""
        self.last_skipped = self.next_packet_number
        self.skipped = (*self.skipped, self.next_packet_number)[-MAX_SKIPPED_NUMBERS:]
        self.next_packet_number += 1

    def refuse(self) -> None:
        """The packets sent so far were refused, so that nobody acknowledges them."""
        self.refused_below = self.next_packet_number
        self.last_skipped = max(self.last_skipped, self.refused_below - 1)

    def any_skipped(self, ranges: list[tuple[int, int]]) -> bool:
        """Whether `ranges` (inclusive) acknowledge a number that was left out."""
        if ranges[-1][0] < self.refused_below:
            return True  # rfc9001:4.6.2:2
        return any(smallest <= number <= largest for number in self.skipped for smallest, largest in ranges)

    def number_after(self, number: int) -> int:
        """The number of the packet that was sent after packet `number`."""
        return number + 2 if number + 1 in self.skipped else number + 1

    def forget_ack_only(self, before: int) -> None:
        """Forget packets that are not in flight with numbers below `before`, acknowledged or not.

        Nothing but that their ACK frames arrived remains untold, and later ones tell more.
        """
        self.ack_only = 0
        self.sent = deque(packet for packet in self.sent if packet.in_flight or packet.packet_number >= before)

    def take_acknowledged(self, ranges: list[tuple[int, int]]) -> tuple[list[SentPacket], list[SentPacket]]:
        """Remove what `ranges` (largest first, inclusive) acknowledge.

        Returns the newly acknowledged packets and those sent before the largest acknowledged one and still missing,
        both ascending. The missing ones are taken out as well: put back those that are not lost with `put_back`.
        """
        sent = self.sent
        acked: list[SentPacket] = []
        missing: list[SentPacket] = []
        horizon = max(self.largest_acked, ranges[0][1])
        index = len(ranges) - 1
        smallest, largest = ranges[index]
        while sent and sent[0].packet_number <= horizon:
            packet = sent.popleft()
            number = packet.packet_number
            while number > largest and index > 0:
                index -= 1
                smallest, largest = ranges[index]
            if smallest <= number <= largest:
                acked.append(packet)
            else:
                missing.append(packet)
        return acked, missing

    def take_overdue(self) -> list[SentPacket]:
        """Remove and return all packets sent before the largest acknowledged one."""
        sent = self.sent
        missing: list[SentPacket] = []
        while sent and sent[0].packet_number <= self.largest_acked:
            missing.append(sent.popleft())
        return missing

    def put_back(self, packets: list[SentPacket]) -> None:
        """Return packets, ascending, that `take_acknowledged` or `take_overdue` took and that are not lost yet."""
        self.sent.extendleft(reversed(packets))

    def to_repeat(self, count: int, turn: int) -> list[SentPacket]:
        """The `count` ack-eliciting packets in flight that a probe repeats: the oldest, and in later turns those after.

        So that what is missing further on has its turn as well when acknowledgments of the oldest keep getting lost.
        """
        eliciting = [packet for packet in self.sent if packet.ack_eliciting and not packet.is_mtu_probe]
        start = count * turn % max(len(eliciting), 1)
        return eliciting[start : start + count]
