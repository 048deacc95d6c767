"""From what is owed to datagrams: choosing frames, coalescing, padding (RFC 9000 sections 12 to 14)."""

from itertools import groupby
from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import TAG_LENGTH
from stack.lifecycle import State
from stack.limits import MAX_DATAGRAMS_PER_TRANSMIT
from stack.packet_builder import Draft, PacketBuilder
from stack.path.mtu import BASE_PLPMTU
from stack.probe_datagrams import ProbeDatagrams
from stack.recovery.acknowledgments import NEVER
from stack.tls.engine import INITIAL
from stack.transmit import Transmit
from stack.wire.frames import PING
from stack.wire.header import MAX_CID_LENGTH, SMALLEST_INITIAL_DATAGRAM
from stack.wire.packet_number import MAX_PACKET_NUMBER_LENGTH

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.path.path import Path
    from stack.recovery.space import PacketNumberSpace

SAMPLE_PAYLOAD: Final = 4  # bytes of packet number and payload together, so that there is a sample
SMALLEST_BEYOND_ID: Final = 22  # bytes of a packet more than in a connection ID of ours: one more than in a reset
# Bytes of frames below which something may have to be added: the longest ID of ours beside an empty one of the peer
SMALL_PAYLOAD: Final = SMALLEST_BEYOND_ID + MAX_CID_LENGTH - (1 + 1 + TAG_LENGTH)
SEVERAL_PATHS_LENGTH: Final = 2  # bytes of a packet number at least, where packets of another path may overtake it
SMALLEST_ROOM: Final = 32  # bytes of frames: less is not worth another packet in the datagram

_PING_FRAME: Final = bytes((PING,))


class Sender:
    """The sending half of a connection. `pacing_at` is when pacing lets the next datagram go, NEVER if not waiting."""

    __slots__ = ("_connection", "_probes", "builder", "pacing_at")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.builder = PacketBuilder(connection)
        self._probes = ProbeDatagrams(connection, self.builder)
        self.pacing_at = NEVER

    def transmit(self, now: int) -> list[Transmit]:
        """Return the datagrams that may go now, in order."""
        connection = self._connection
        closing = connection.closing
        paths = connection.paths
        path = paths.active
        self.pacing_at = NEVER
        if closing.over:
            if closing.pending and closing.state is State.CLOSING:
                closing.pending = False
                return self._close_datagram(path, now)
            return []
        if connection.datagrams.expires_at <= now:
            connection.datagrams.expire(now)
        datagrams = self._probes.of_paths(now) if paths.owed else []
        self.builder.quota = path.send_quota(now)
        local, remote = path.local, path.remote
        if path.mtu.probe_at <= now and path.validated:
            datagram = self._probes.of_mtu(path, now)
            if datagram:
                datagrams.append(Transmit(datagram, local, remote, self.builder.ecn))
        while len(datagrams) < MAX_DATAGRAMS_PER_TRANSMIT and not closing.over:
            datagram = self._next_datagram(path, now)
            if not datagram:
                break
            datagrams.append(Transmit(datagram, local, remote, self.builder.ecn))
        else:
            self.pacing_at = now  # more is ready: come back at once
        if datagrams:
            connection.recovery.timer.arm(now)
            self._count(datagrams, now)
        if closing.pending:  # a limit was reached on the way
            closing.pending = False
            datagrams += self._close_datagram(path, now)
        return datagrams

    def _count(self, datagrams: list[Transmit], now: int) -> None:
        stats, trace = self._connection.stats, self._connection.trace
        stats.datagrams_sent += len(datagrams)
        stats.bytes_sent += sum([len(datagram.payload) for datagram in datagrams])
        if trace is not None:
            for ecn, alike in groupby(datagrams, lambda datagram: datagram.ecn):
                trace.datagrams_sent(now, [len(datagram.payload) for datagram in alike], ecn)
            self._connection.recovery.trace_metrics(now)

    def _next_datagram(self, path: "Path", now: int) -> bytes:
        """Build one datagram; b"" when nothing can or need go."""
        self.builder.ecn = path.ecn.codepoint
        room = path.mtu.size  # rfc9000:14.2:3
        if not path.validated:
            if path.amplification_blocked():
                return b""
            room = min(room, path.amplification_credit())
        spaces = self._connection.spaces
        application = spaces[2]
        if application.probes:  # they are to arrive also when the path has come to take less
            room = min(room, BASE_PLPMTU)
        if spaces[1].discarded:  # and so is Initial: the usual case
            draft = self._draft(application, path, room, now)
            return b"" if draft is None else self.builder.seal(draft, path, now)
        drafts: list[Draft] = []
        must_pad = False
        left = room
        for space in spaces:
            if space.discarded or space.write_keys is None or left < SMALLEST_ROOM + 64:
                continue
            if space.level == INITIAL and room < SMALLEST_INITIAL_DATAGRAM:
                if space.crypto.buffer.pending:
                    return b""  # rfc9000:14.1:2 could not be padded; without it the peer can't read the rest either
                continue
            draft = self._draft(space, path, left, now)
            if draft is None:
                continue
            drafts.append(draft)
            left -= draft.overhead + draft.size
            if space.level == INITIAL and (draft.eliciting or self._connection.is_client):
                must_pad = True
        if not drafts:
            return b""
        if must_pad:  # rfc9000:14.1:1, rfc9000:14.1:2
            drafts[-1].pad(SMALLEST_INITIAL_DATAGRAM - (room - left))
        return b"".join([self.builder.seal(draft, path, now) for draft in drafts])

    def _pad_small(self, draft: Draft) -> None:
        """Fill up what is too short for a sample, or to be answered by a reset that looks like any packet to us.

        rfc9000:10.3:4; but padding counts in flight, so ACKs that the congestion window has no room for go without.
        """
        smallest = SAMPLE_PAYLOAD - draft.number_length
        if draft.eliciting or self.builder.quota >= SMALL_PAYLOAD + draft.overhead:
            smallest = max(smallest, SMALLEST_BEYOND_ID + self._connection.local_ids.length - draft.overhead)
        draft.pad(smallest - draft.size)

    # Frames

    def _on_held_back(self, path: "Path") -> None:
        """There is data, but congestion control or pacing holds it back: so the application is not what limits us."""
        path.app_limited = False
        ready_at = path.paced_until()
        if ready_at is not None:
            self.pacing_at = ready_at  # rfc9002:7.8:2

    def _unblock(self, space: "PacketNumberSpace", path: "Path") -> None:
        """Ask for an ACK if the window is full of padded packets that nobody has to acknowledge (rfc9000:13.2.7:1)."""
        eliciting = any(each.eliciting_in_flight for each in self._connection.spaces)
        if not eliciting and path.bytes_in_flight and path.window_available() < path.mtu.size:
            space.probes = 1

    def _draft(self, space: "PacketNumberSpace", path: "Path", room: int, now: int) -> Draft | None:
        """Choose the frames of the next packet in `space`, at most `room` bytes with everything; None for no packet."""
        connection = self._connection
        acks = space.acks
        ack_due = acks.ack_at <= now
        if space.probes and not space.crypto.buffer.pending:
            # A probe that repeats the handshake tells a peer that knows nothing yet more than a PING: rfc9002:6.2.4:6
            space.crypto.buffer.offer_again()
        crypto = space.crypto.buffer.pending
        is_application = space.index == 2
        data = crypto or (is_application and self._has_application_data())
        if space.probes and is_application and not data:
            connection.recovery.repeat_in_probe(space, now)
            data = self._has_application_data()
        if data:
            if self.builder.quota < path.mtu.size and not space.probes:  # rfc9002:7:3, rfc9002:7.5:1, rfc9406:3:1
                data = False  # rfc9221:5.4:1
                self._on_held_back(path)
                self._unblock(space, path)
        elif is_application:
            path.app_limited = True
        if not (data or ack_due or space.probes):
            return None
        draft = self.builder.draft(space, path, SEVERAL_PATHS_LENGTH if connection.paths.several else 1)
        room -= draft.overhead
        parts, sent_frames = draft.parts, draft.sent_frames
        if acks.unsent:  # rfc9000:13.2.1:5
            frame = acks.frame(now)
            if len(frame) <= room:
                parts.append(frame)
                sent_frames.append((acks, acks.largest_received))
                acks.on_sent()
                draft.size = len(frame)
        ack_size = draft.size
        if data:
            if crypto:
                draft.size += space.crypto.write(room - draft.size, parts, sent_frames)
            if is_application:
                self._write_application_frames(draft, room, now)
        draft.eliciting = draft.size > ack_size
        wants_ping = acks.wants_ping(draft.eliciting)
        if (space.probes and not draft.eliciting) or (
            # A full window waits for an ACK already, unless it is full of padded ACKs
            wants_ping
            and (
                self.builder.quota >= draft.overhead + max(draft.size + 1, SMALL_PAYLOAD)
                or not space.eliciting_in_flight
            )
        ):
            parts.append(_PING_FRAME)  # rfc9002:6.2.4:3
            draft.size += 1
            draft.eliciting = True
            if is_application:  # elsewhere a server may wait for as many packets as it takes to prove our address
                space.probes = min(space.probes, 1)  # rfc9002:6.2.4:8 one such packet is enough
        if not parts:
            return None
        if draft.size < SMALL_PAYLOAD:
            self._pad_small(draft)
        return draft

    def _has_application_data(self) -> bool:
        connection = self._connection
        return bool(connection.control.owed or connection.streams.scheduler.ready or connection.datagrams.queued)

    def _write_application_frames(self, draft: Draft, room: int, now: int) -> None:
        """Add owed control frames, datagrams and stream data, at most `room` bytes with what is there."""
        connection = self._connection
        control, scheduler = connection.control, connection.streams.scheduler
        if control.owed:
            control.now = now
            draft.size += control.write(room - draft.size, draft.parts, draft.sent_frames)
        if connection.datagrams.queued:
            self._write_datagrams_and_streams(draft, room)
        elif scheduler.ready:
            draft.size += scheduler.write(room - draft.size, draft.parts, draft.sent_frames)

    def _write_datagrams_and_streams(self, draft: Draft, room: int) -> None:
        """Add datagrams and stream data, in the order of their urgency (rfc9221:5:1)."""
        connection = self._connection
        datagrams, scheduler = connection.datagrams, connection.streams.scheduler
        parts, sent_frames = draft.parts, draft.sent_frames
        largest = connection.path.datagram_size - draft.overhead
        datagrams_first = not scheduler.ready or datagrams.go_before(scheduler.urgency())
        if datagrams_first:
            used = datagrams.write(room - draft.size, largest, parts, sent_frames)
            if draft.size and not used and datagrams.queued:
                return  # it does not fit beside an ACK: the next packet is for it
            draft.size += used
        if scheduler.ready:
            draft.size += scheduler.write(room - draft.size, parts, sent_frames)
        if not datagrams_first:
            draft.size += datagrams.write(room - draft.size, largest, parts, sent_frames)

    def frame_room(self) -> int:
        """Bytes of frames that fit a 1-RTT packet, however long its packet number is."""
        path = self._connection.path
        return path.datagram_size - self.builder.overhead(self._connection.spaces[2], MAX_PACKET_NUMBER_LENGTH, path)

    # Packets

    def _close_datagram(self, path: "Path", now: int) -> list[Transmit]:
        """CONNECTION_CLOSE in every packet type that the peer may be able to read (rfc9000:10.2.3:1 and following)."""
        connection = self._connection
        room = min(path.datagram_size, path.amplification_credit())
        drafts: list[Draft] = []
        used = 0
        for space in connection.spaces:
            if space.discarded or space.write_keys is None or space.next_packet_number >= space.number_limit:
                continue
            draft = self.builder.draft(space, path)
            frame = connection.closing.frame(space.level)
            if used + draft.overhead + len(frame) > room:
                break
            draft.parts.append(frame)
            draft.size = len(frame)
            self._pad_small(draft)
            used += draft.overhead + draft.size
            drafts.append(draft)
        if not drafts:
            return []
        if connection.is_client and drafts[0].space.level == INITIAL:
            drafts[-1].pad(SMALLEST_INITIAL_DATAGRAM - used)
        self.builder.ecn = path.ecn.codepoint
        payload = b"".join([self.builder.seal(draft, path, now) for draft in drafts])
        datagrams = [Transmit(payload, path.local, path.remote, self.builder.ecn)]
        self._count(datagrams, now)
        return datagrams
