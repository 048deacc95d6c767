"""Loss detection and probes (RFC 9002 sections 5 and 6, appendix A)."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.errors import PROTOCOL_VIOLATION, TransportError
from stack.limits import MAX_ACK_ONLY_PACKETS
from stack.observer import ConnectionObserver, RecoveryMetrics
from stack.recovery.ack_frame import parse_ack
from stack.recovery.acknowledgments import NEVER
from stack.recovery.persistent_congestion import PersistentCongestion
from stack.recovery.rtt import TIME_THRESHOLD
from stack.recovery.sent import SentPacket
from stack.recovery.space import PacketNumberSpace
from stack.recovery.spurious import REMEMBERED_PTOS
from stack.recovery.timer import LOSS, LossTimer
from stack.sent_frame import NeverRepeated
from stack.stats import ConnectionStats
from stack.tls.engine import HANDSHAKE, INITIAL
from stack.wire.frames import EcnCounts
from stack.wire.header import PACKET_TYPE_NAMES

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket
    from stack.path.path import Path

PACKET_THRESHOLD: Final = 3  # kPacketThreshold, rfc9002:6.1.1:1
PROBES_PER_TIMEOUT: Final = 2  # RFC 9002 section 6.2.4: up to two full-sized datagrams


class LossRecovery:
    """Loss detection over all packet number spaces of a connection.

    The connection tells it when the handshake moves; it tells the owners of lost or acknowledged frames, and the
    path's congestion controller. `timer.at` is the one deadline; call `on_timeout` then.
    """

    __slots__ = (
        "_current_path",
        "_live",
        "_persistent",
        "_stats",
        "_time_threshold",
        "_undo",
        "packet_threshold",
        "peer_ack_delay_exponent",
        "spaces",
        "timer",
        "trace",
    )

    def __init__(
        self,
        is_client: bool,
        spaces: list[PacketNumberSpace],
        current_path: Callable[[], "Path"],
        stats: ConnectionStats,
        trace: ConnectionObserver | None,
        *,
        packet_threshold: int = PACKET_THRESHOLD,
        time_threshold: tuple[int, int] = TIME_THRESHOLD,
        undo_spurious: bool = True,
    ) -> None:
        """`current_path` gives the path that new packets take, whose RTT governs the timers.

        A packet is lost when one sent `packet_threshold` later is acknowledged, or `time_threshold` round-trip times
        have passed; `undo_spurious`: the congestion controller is told of losses that were none.
        """
        self.spaces = spaces
        self._live = list(spaces)  # not discarded
        self._persistent = PersistentCongestion(self._live)
        self._current_path = current_path
        self._stats = stats
        self.packet_threshold = packet_threshold
        self._time_threshold = time_threshold
        self._undo = undo_spurious
        self.trace = trace
        self.timer = LossTimer(is_client, spaces, self._live, current_path, trace)
        self.peer_ack_delay_exponent = 3

    # Sending

    def on_packet_sent(self, space: PacketNumberSpace, packet: SentPacket) -> None:
        """Take note of a packet that just left."""
        space.sent.append(packet)
        if packet.marked:
            space.marks.unreported += 1
            packet.path.ecn.on_sent()
        if packet.in_flight:
            path = packet.path
            path.bytes_in_flight += packet.size  # probes as well: rfc9002:7.5:2
            path.congestion.on_packet_sent(packet, path.bytes_in_flight)
            if packet.ack_eliciting:
                space.eliciting_in_flight += 1
                space.last_eliciting_sent_at = packet.sent_at
        else:
            space.ack_only += 1
            if space.ack_only > MAX_ACK_ONLY_PACKETS:
                space.forget_ack_only(packet.packet_number - MAX_ACK_ONLY_PACKETS)

    # Acknowledgment

    def on_ack_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """ACK frame, in whatever space its packet belongs to."""
        ranges, delay, counts, position = parse_ack(payload, position, frame_type)
        delay_ns = (delay << self.peer_ack_delay_exponent) * 1000
        self.on_ack(packet.space, ranges, delay_ns, packet.path, packet.now, counts, packet.waited_ns)
        return position

    def on_ack(
        self,
        space: PacketNumberSpace,
        ranges: list[tuple[int, int]],
        ack_delay_ns: int,
        path: "Path",
        now: int,
        counts: EcnCounts | None = None,
        waited_ns: int = 0,
    ) -> None:
        """Process an ACK frame: `ranges` inclusive, largest first; `ack_delay_ns` and ECN `counts` as reported.

        `path` is the one that it came on: the time that a packet took on one path and its ACK on another tells of
        neither (rfc9000:9.4:1). Nor does the time `waited_ns` that the frame's packet spent here, waiting for its keys
        (rfc9002:5.3:7).

        Raises TransportError if it acknowledges a packet that was never sent (rfc9000:13.1:2).
        """
        largest = ranges[0][1]
        if largest >= space.next_packet_number:
            raise TransportError(PROTOCOL_VIOLATION, f"ACK of packet {largest}, which was not sent")
        if ranges[-1][0] <= space.last_skipped and space.any_skipped(ranges):
            raise TransportError(PROTOCOL_VIOLATION, "ACK of a packet number that was skipped or refused")
        if space.declared_lost.numbers:
            self._find_spurious(space, ranges, now)
        acked, missing = space.take_acknowledged(ranges)
        is_newest = largest > space.largest_acked
        if is_newest:
            space.largest_acked = largest
            space.newest_path = acked[-1].path if acked else None
        if not acked:
            space.put_back(missing)
            return
        if len(self._live) > 1:
            self._persistent.on_acked(acked)
        if acked[-1].path is path:
            self._sample_rtt(space, acked, largest, ack_delay_ns, now - waited_ns)
        if self.trace is not None:
            name = PACKET_TYPE_NAMES[space.packet_type]
            self.trace.packets_acked(now, name, [packet.packet_number for packet in acked])
        in_flight: list[SentPacket] = []
        elsewhere = False  # some went out on another path
        for packet in acked:
            if packet.in_flight:
                if packet.path is not path:
                    elsewhere = True
                packet.path.bytes_in_flight -= packet.size
                in_flight.append(packet)
                if packet.ack_eliciting:
                    space.eliciting_in_flight -= 1
            for sent in packet.frames:
                sent[0].on_acked(sent, now)
        # rfc9000:13.4.2.1:1 an older ACK frame says nothing about marks
        if is_newest and (counts is not None or space.marks.unreported):
            self._process_ecn(space, acked, counts, now)
        if missing:
            self._detect_losses(space, missing, now)
        else:
            space.loss_at = NEVER
        if path.mtu.suspects:
            path.mtu.judge(in_flight)
        if elsewhere:
            self._on_acked_elsewhere(in_flight, now)
        elif in_flight:
            path.congestion.on_acked(in_flight, path.rtt, path.app_limited, now)
        timer = self.timer
        if space.level == HANDSHAKE:
            timer.peer_validated_address = True
        # RFC 9002 section 6.2.1: a client keeps backing off until it knows that the server validated its address
        if timer.peer_validated_address:
            timer.pto_count = 0
        timer.arm(now)
        if self.trace is not None:
            self.trace_metrics(now)

    def _process_ecn(
        self, space: PacketNumberSpace, acked: list[SentPacket], counts: EcnCounts | None, now: int
    ) -> None:
        """Validate what an ACK frame says about marks, and react to those that mean congestion (RFC 9002 B.7)."""
        newest = acked[-1]
        path = newest.path
        marked = sum(packet.marked for packet in acked)
        # rfc9000:19.3:1, rfc9002:7.3.1:1
        congestion_marks = path.ecn.on_ack(marked, space.marks, counts)
        if congestion_marks and path.congestion.on_marked(congestion_marks, acked, now):
            self._stats.congestion_events += 1

    @staticmethod
    def _on_acked_elsewhere(acked: list[SentPacket], now: int) -> None:
        """Tell each path's congestion controller of its own packets (rfc9000:9.4:1)."""
        by_path: dict[Path, list[SentPacket]] = {}
        for packet in acked:
            by_path.setdefault(packet.path, []).append(packet)
        for path, packets in by_path.items():
            path.congestion.on_acked(packets, path.rtt, path.app_limited, now)

    def _sample_rtt(
        self, space: PacketNumberSpace, acked: list[SentPacket], largest: int, ack_delay_ns: int, now: int
    ) -> None:
        newest = acked[-1]
        # rfc9002:5.1:1 only from the largest acknowledged, rfc9002:5.1:2 and something that asks for an ACK
        if newest.packet_number != largest or not any(packet.ack_eliciting for packet in acked):
            return
        if space.level == INITIAL:
            ack_delay_ns = 0
        elif self.timer.handshake_confirmed:
            ack_delay_ns = min(ack_delay_ns, self.timer.max_ack_delay_ns)  # rfc9002:5.3:5
        newest.path.rtt.update(now - newest.sent_at, ack_delay_ns, now)

    # Loss

    def _detect_losses(self, space: PacketNumberSpace, missing: list[SentPacket], now: int) -> None:
        """Sort `missing` (sent before the largest acknowledged) into lost and not yet lost (RFC 9002 section 6.1).

        Packets overtake those on a slower path without any loss, so there only time tells (rfc9000:9.4:1).
        """
        space.loss_at = NEVER
        lost: list[SentPacket] = []
        kept: list[SentPacket] = []
        reordering_limit = space.largest_acked - self.packet_threshold
        for packet in missing:
            lost_at = packet.sent_at + packet.path.rtt.loss_delay_ns(self._time_threshold)
            overtaken = packet.packet_number <= reordering_limit and packet.path is space.newest_path
            if overtaken or lost_at <= now:
                lost.append(packet)
            else:
                kept.append(packet)
                space.loss_at = min(space.loss_at, lost_at)
        space.put_back(kept)
        if lost:
            self._on_lost(space, lost, reordering_limit, now)

    def _on_lost(self, space: PacketNumberSpace, lost: list[SentPacket], reordering_limit: int, now: int) -> None:
        by_path: dict[Path, list[SentPacket]] = {}  # what tells of congestion
        stats = self._stats
        for packet in lost:
            if packet.in_flight:
                packet.path.bytes_in_flight -= packet.size
                if not packet.is_mtu_probe:  # rfc9000:14.4:1
                    by_path.setdefault(packet.path, []).append(packet)
                    packet.path.mtu.on_packet_lost(packet)
                stats.packets_lost += 1
                stats.bytes_lost += packet.size
                if packet.ack_eliciting:
                    space.eliciting_in_flight -= 1
                if self.trace is not None:
                    by_order = packet.packet_number <= reordering_limit and packet.path is space.newest_path
                    trigger = "reordering_threshold" if by_order else "time_threshold"
                    name = PACKET_TYPE_NAMES[space.packet_type]
                    self.trace.packet_lost(now, name, packet.packet_number, packet.size, trigger)
            if packet.marked:
                packet.path.ecn.on_lost()
            for sent in packet.frames:
                sent[0].on_lost(sent, now)
        for path, packets in by_path.items():
            if path.congestion.on_lost(packets, now):  # rfc9002:7.4:2
                stats.congestion_events += 1
        space.declared_lost.add(lost, now - REMEMBERED_PTOS * self.timer.pto_ns())
        if by_path and self._persistent.is_established(space, lost, self._current_path(), self.timer.max_ack_delay_ns):
            stats.persistent_congestion_events += 1
            path = self._current_path()
            path.congestion.on_persistent_congestion()
            # rfc9002:5.2:3
            path.rtt.min_rtt_ns = path.rtt.latest_rtt_ns

    def _find_spurious(self, space: PacketNumberSpace, ranges: list[tuple[int, int]], now: int) -> None:
        """Packets that were declared lost have arrived all the same: they were only late."""
        undone = False
        for packet in space.declared_lost.take(ranges):
            if packet.in_flight:
                self._stats.packets_lost_spuriously += 1
                if self._undo and packet.path.congestion.on_spurious_loss(packet, now):
                    self._stats.congestion_events_undone += 1
                    undone = True
                if self.trace is not None:
                    name = PACKET_TYPE_NAMES[space.packet_type]
                    self.trace.spurious_loss(now, name, packet.packet_number, packet.size)
            for sent in packet.frames:
                if not isinstance(sent[0], NeverRepeated):  # those have told the application already
                    sent[0].on_acked(sent, now)
        if undone and self.trace is not None:
            self.trace_metrics(now)

    # Timeout

    def on_timeout(self, now: int) -> None:
        """The timer expired: declare losses by time, or ask for probes (RFC 9002 appendix A.9)."""
        timer_type, space = self.timer.expire(now)
        if timer_type == LOSS:
            self._detect_losses(space, space.take_overdue(), now)
        else:  # nothing is lost by it: rfc9002:6.2:1
            self.timer.pto_count += 1
            self._stats.pto_expired += 1
            self._current_path().ecn.on_probe_timeout(self.timer.pto_count)
            self._probe(space, now)
        self.timer.arm(now)
        if self.trace is not None:
            self.trace_metrics(now)

    def _probe(self, space: PacketNumberSpace, now: int) -> None:
        """Allow probes and offer what is in flight for sending again, the oldest first (rfc9002:6.2.4:1).

        Initial and Handshake probes go together (rfc9002:6.2.4:4): packets that the peer can't read for want of what
        the other space has to say must not fill the congestion window for ever.
        """
        space.probes = PROBES_PER_TIMEOUT
        self._offer_in_flight(space, now)
        for other in self._live:
            if other is not space and other.index != 2 and other.write_keys is not None:
                self._offer_in_flight(other, now)
                if other.crypto.buffer.pending:
                    other.probes = space.probes

    def repeat_in_probe(self, space: PacketNumberSpace, now: int) -> None:
        """Offer once more what is in flight: for a second probe, when everything has found room in the first."""
        self._offer_in_flight(space, now)

    def _offer_in_flight(self, space: PacketNumberSpace, now: int) -> None:
        for packet in space.to_repeat(PROBES_PER_TIMEOUT, self.timer.pto_count - 1):
            for sent in packet.frames:
                if not isinstance(sent[0], NeverRepeated):
                    sent[0].on_lost(sent, now)

    # Housekeeping

    def discard(self, space: PacketNumberSpace, now: int) -> None:
        """Forget a space whose keys are gone (rfc9002:6.4:1)."""
        self._take_all(space, now)
        space.discard()
        self._live.remove(space)
        self.timer.pto_count = 0  # rfc9002:6.2.2:4
        self.timer.arm(now)

    def forget_path(self, path: "Path", now: int) -> None:
        """What is in flight on a path that is no more counts as lost: no ACK need ever come, and paths come and go."""
        if not path.bytes_in_flight:
            return
        for space in self._live:
            gone = [packet for packet in space.sent if packet.path is path]
            if gone:
                space.sent = deque(packet for packet in space.sent if packet.path is not path)
                space.eliciting_in_flight -= sum(packet.ack_eliciting for packet in gone)
                self._trace_forgotten(space, gone, now)
                self._tell_lost(gone, now)
        path.bytes_in_flight = 0
        self.timer.arm(now)

    def on_path_changed(self, now: int) -> None:
        """Packets take another path from now on."""
        self.timer.pto_count = 0
        self._persistent.restart()
        self.timer.arm(now)

    def replace(self, old: PacketNumberSpace, new: PacketNumberSpace, now: int) -> None:
        """A new connection attempt: forget the space `old`, and watch `new` in its place."""
        self._live.insert(self._live.index(old), new)
        self.discard(old, now)

    def on_retry(self, space: PacketNumberSpace, now: int) -> None:
        """Forget what was sent in `space`, and offer it again (RFC 9002 section 6.3). Packet numbers go on."""
        self._tell_lost(self._take_all(space, now), now)
        self.timer.pto_count = 0
        path = self._current_path()
        path.set_datagram_size(path.datagram_size)  # a fresh congestion controller
        self.timer.arm(now)

    def on_rejected(self, space: PacketNumberSpace, now: int) -> None:
        """Nobody will acknowledge the 0-RTT packets sent in `space`: take them out of flight, and offer all again."""
        self._tell_lost(self._take_all(space, now), now)
        self.timer.arm(now)

    @staticmethod
    def _tell_lost(packets: list[SentPacket], now: int) -> None:
        """Tell the owners of what was in `packets` that it did not arrive."""
        for packet in packets:
            for sent in packet.frames:
                sent[0].on_lost(sent, now)

    def _take_all(self, space: PacketNumberSpace, now: int) -> list[SentPacket]:
        """Take everything that was sent in `space` out of it, and out of flight."""
        packets = list(space.sent)
        self._trace_forgotten(space, packets, now)
        for packet in packets:
            if packet.in_flight:
                packet.path.bytes_in_flight -= packet.size
        space.sent.clear()
        space.declared_lost.clear()
        space.eliciting_in_flight = 0
        space.loss_at = NEVER
        space.probes = 0
        return packets

    def _trace_forgotten(self, space: PacketNumberSpace, packets: list[SentPacket], now: int) -> None:
        if self.trace is not None and packets:
            name = PACKET_TYPE_NAMES[space.packet_type]
            self.trace.packets_forgotten(now, name, [packet.packet_number for packet in packets])

    def trace_metrics(self, now: int) -> None:
        """Show the observer the current path's recovery state."""
        trace = self.trace
        if trace is None:
            return
        path = self._current_path()
        congestion, rtt = path.congestion, path.rtt
        rate = path.pacing_rate()
        trace.metrics_updated(
            now,
            RecoveryMetrics(
                min_rtt_ns=rtt.min_rtt_ns,
                smoothed_rtt_ns=rtt.smoothed_rtt_ns,
                latest_rtt_ns=rtt.latest_rtt_ns,
                rttvar_ns=rtt.rttvar_ns,
                pto_count=self.timer.pto_count,
                congestion_window=congestion.congestion_window,
                bytes_in_flight=path.bytes_in_flight,
                ssthresh=congestion.ssthresh,
                packets_in_flight=sum(space.eliciting_in_flight for space in self.spaces),
                pacing_rate=None if rate is None else rate[0] * 8 * 1_000_000_000 // rate[1],
                path=path.number,
            ),
        )
        path.trace_states(now, trace)
