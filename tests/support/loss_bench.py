"""Loss recovery by itself: packets sent and acknowledged by hand, and what became of each."""

from typing import Any

from stack.recovery.acknowledgments import NEVER, Acknowledgments
from stack.recovery.loss import LossRecovery
from stack.recovery.sent import SentPacket
from stack.recovery.space import PacketNumberSpace
from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.crypto import CryptoStream
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.wire import header as wire
from tests.support.paths import make_path

MS = 1_000_000
SECOND = 1_000_000_000
SIZE = 1200


class LossBench:
    """LossRecovery over one path; `fates` lists ("acked" or "lost", packet number) of the last call."""

    def __init__(
        self, *, is_client: bool = True, confirmed: bool = True, validated: bool = True, **thresholds: Any
    ) -> None:
        """`thresholds`: see LossRecovery."""
        self.stats = ConnectionStats()
        self.path = make_path(validated=validated)
        self.spaces = [
            PacketNumberSpace(0, INITIAL, wire.INITIAL, Acknowledgments(0, 3), CryptoStream()),
            PacketNumberSpace(1, HANDSHAKE, wire.HANDSHAKE, Acknowledgments(0, 3), CryptoStream()),
            PacketNumberSpace(2, APPLICATION, wire.ONE_RTT, Acknowledgments(25 * MS, 3), CryptoStream()),
        ]
        self.recovery = LossRecovery(is_client, self.spaces, lambda: self.path, self.stats, None, **thresholds)
        self.fates: list[tuple[str, int]] = []
        if confirmed:
            self.recovery.timer.handshake_confirmed = True
            self.recovery.timer.peer_validated_address = True
            for space in self.spaces[:2]:
                self.recovery.discard(space, 0)

    # What the frames in the packets report to

    def on_acked(self, sent: SentFrame, now: int) -> None:
        self.fates.append(("acked", sent[1]))

    def on_lost(self, sent: SentFrame, now: int) -> None:
        self.fates.append(("lost", sent[1]))

    def send(self, now: int, *, index: int = 2, eliciting: bool = True, number: int | None = None) -> int:
        """Send a packet in space `index`; returns its number. `number` leaves out those before it."""
        space = self.spaces[index]
        number = space.next_packet_number if number is None else number
        space.next_packet_number = number + 1
        packet = SentPacket(number, now, SIZE, eliciting, eliciting, [(self, number)], self.path)
        self.recovery.on_packet_sent(space, packet)
        self.recovery.timer.arm(now)
        return number

    def ack(self, now: int, *ranges: tuple[int, int] | int, index: int = 2, delay: int = 0) -> list[tuple[str, int]]:
        """Receive an ACK of `ranges` (a number, or smallest and largest), largest first; return the fates."""
        self.fates = []
        pairs = [(each, each) if isinstance(each, int) else each for each in ranges]
        self.recovery.on_ack(self.spaces[index], pairs, delay, self.path, now)
        return self.fates

    def timeout(self) -> tuple[int, list[tuple[str, int]]]:
        """Let the timer expire; return when, and the fates."""
        self.fates = []
        at = self.recovery.timer.at
        assert at != NEVER
        self.recovery.on_timeout(at)
        return at, self.fates

    def set_rtt(self, smoothed_ns: int, rttvar_ns: int, at: int = 0) -> None:
        """Pretend that samples have led here."""
        rtt = self.path.rtt
        rtt.update(smoothed_ns, 0, at)
        rtt.rttvar_ns = rttvar_ns

    def lost(self) -> list[int]:
        """Packets that the last call declared lost."""
        return [number for fate, number in self.fates if fate == "lost"]
