"""From what is owed to datagrams: choosing frames, coalescing, padding, protection (RFC 9000 sections 12 to 14)."""

from itertools import groupby
from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import TAG_LENGTH, protect_packet
from stack.lifecycle import State
from stack.limits import MAX_DATAGRAMS_PER_TRANSMIT
from stack.observer import PacketInfo
from stack.path.mtu import BASE_PLPMTU
from stack.path.validation import SMALLEST_PATH_MTU
from stack.recovery.acknowledgments import NEVER
from stack.recovery.sent import SentPacket
from stack.sent_frame import SentFrame
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.transmit import Transmit
from stack.wire import header as wire
from stack.wire.ecn import NOT_ECT
from stack.wire.frames import PING, encode_path_challenge, encode_path_response
from stack.wire.header import KEY_PHASE_BIT, MAX_CID_LENGTH, SMALLEST_INITIAL_DATAGRAM, SPIN_BIT
from stack.wire.packet_number import MAX_PACKET_NUMBER_LENGTH, packet_number_length
from stack.wire.varint import varint_size

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.path.connection_ids import RemoteId
    from stack.path.path import Path
    from stack.recovery.space import PacketNumberSpace

SAMPLE_PAYLOAD: Final = 4  # bytes of packet number and payload together, so that there is a sample
SMALLEST_BEYOND_ID: Final = 22  # bytes of a packet more than in a connection ID of ours: one more than in a reset
# Bytes of frames below which something may have to be added: the longest ID of ours beside an empty one of the peer
SMALL_PAYLOAD: Final = SMALLEST_BEYOND_ID + MAX_CID_LENGTH - (1 + 1 + TAG_LENGTH)
SEVERAL_PATHS_LENGTH: Final = 2  # bytes of a packet number at least, where packets of another path may overtake it
SMALLEST_ROOM: Final = 32  # bytes of frames: less is not worth another packet in the datagram

_FIXED_BIT: Final = 0x40
# By length of the packet number, plus the spin and the Key Phase bits
_SHORT_FIRST_BYTE: Final = tuple(bytes((_FIXED_BIT + index - 1,)) for index in range(SPIN_BIT + KEY_PHASE_BIT + 5))

_PING_FRAME: Final = bytes((PING,))


class Draft:
    """A packet whose frames are chosen and that is not protected yet, so that it can still be padded."""

    __slots__ = (
        "eliciting",
        "number",
        "number_length",
        "overhead",
        "padded",
        "parts",
        "sent_frames",
        "size",
        "space",
    )

    def __init__(self, space: "PacketNumberSpace", number: int, number_length: int, overhead: int) -> None:
        self.space = space
        self.number = number
        self.number_length = number_length
        self.overhead = overhead  # bytes of header and tag
        self.parts: list[bytes | bytearray] = []
        self.sent_frames: list[SentFrame] = []
        self.size = 0  # bytes of frames
        self.eliciting = False
        self.padded = False


class Sender:
    """The sending half of a connection. `pacing_at` is when pacing lets the next datagram go, NEVER if not waiting."""

    __slots__ = ("_connection", "_ecn", "_quota", "grease", "pacing_at")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.pacing_at = NEVER
        self.grease = False  # whether the peer takes packets with any fixed bit
        self._ecn = NOT_ECT  # codepoint of the datagram being made
        self._quota = 0  # bytes that may still be put in flight by this call of transmit()

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
        datagrams = self._path_datagrams(now) if paths.owed else []
        self._quota = path.send_quota(now)
        local, remote = path.local, path.remote
        if path.mtu.probe_at <= now and path.validated:
            datagram = self._mtu_probe(path, now)
            if datagram:
                datagrams.append(Transmit(datagram, local, remote, self._ecn))
        while len(datagrams) < MAX_DATAGRAMS_PER_TRANSMIT and not closing.over:
            datagram = self._next_datagram(path, now)
            if not datagram:
                break
            datagrams.append(Transmit(datagram, local, remote, self._ecn))
        else:
            self.pacing_at = now  # more is ready: come back at once
        if datagrams:
            connection.recovery.arm(now)
            self._count(datagrams, now)
        if closing.pending:  # a limit was reached on the way
            closing.pending = False
            datagrams += self._close_datagram(path, now)
        return datagrams

    def _path_datagrams(self, now: int) -> list[Transmit]:
        """PATH_RESPONSE and PATH_CHALLENGE, each in a datagram of its path (RFC 9000 section 8.2)."""
        connection = self._connection
        paths = connection.paths
        datagrams: list[Transmit] = []
        if connection.spaces[2].write_keys is not None:
            for path in paths.all:
                if path.validation.owed or path.responses:
                    datagram = self._path_datagram(path, now)
                    if datagram:
                        datagrams.append(Transmit(datagram, path.local, path.remote, self._ecn))
        paths.on_sent()
        return datagrams

    def _path_datagram(self, path: "Path", now: int) -> bytes:
        """What `path` owes; b"" while its congestion window or the amplification limit leaves no room.

        A PATH_CHALLENGE is a probe, which need not wait for the window: that may be full of what a path that is no more
        has lost, and challenges come seldom.
        """
        connection = self._connection
        space = connection.spaces[2]
        room = min(SMALLEST_PATH_MTU, path.amplification_credit())
        number = space.next_packet_number
        number_length = MAX_PACKET_NUMBER_LENGTH  # rfc9000:17.1:3 packets on faster paths may overtake this one by far
        draft = Draft(space, number, number_length, self._overhead(space, number_length, path))
        parts = draft.parts
        parts += [encode_path_response(data) for data in path.responses]  # rfc9000:8.2.2:7
        challenge = b""
        if path.validation.owed:
            challenge = path.validation.challenge(connection.rng)
            parts.append(encode_path_challenge(challenge))
        if path is connection.paths.active:
            parts.append(_PING_FRAME)  # rfc9000:9.3.3:2
        draft.size = sum(map(len, parts))
        size = draft.overhead + draft.size
        if size > room or path.remote_id.value is None:
            return b""
        if not challenge and path.window_available() < SMALLEST_PATH_MTU:
            return b""  # rfc9000:8.2.2:2
        draft.eliciting = True
        if room == SMALLEST_PATH_MTU:  # rfc9000:8.2.1:5, rfc9000:8.2.2:5, rfc9000:8.2.2:6
            self._pad(draft, room - size)
        path.responses.clear()
        self._ecn = path.ecn.codepoint
        datagram = self._seal(draft, path, now)
        if challenge:
            path.validation.on_sent(challenge, len(datagram), now)
        return datagram

    def _mtu_probe(self, path: "Path", now: int) -> bytes:
        """A PING padded to the size that the path is to be tested for (RFC 9000 section 14.4); b"" if it must wait."""
        space = self._connection.spaces[2]
        size = path.mtu.probe_size()
        # The window must hold two datagrams of the new size, since finding it does not make the window larger
        if space.probes or path.window_available() < size or path.congestion.congestion_window < 2 * size:
            return b""
        number = space.next_packet_number
        number_length = packet_number_length(number, space.largest_acked)
        draft = Draft(space, number, number_length, self._overhead(space, number_length, path))
        draft.parts.append(_PING_FRAME)
        draft.size = 1
        draft.eliciting = True
        draft.sent_frames.append(path.mtu.on_probe_sent())
        self._pad(draft, size - draft.overhead - draft.size)
        self._ecn = path.ecn.codepoint
        return self._seal(draft, path, now)

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
        self._ecn = path.ecn.codepoint
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
            return b"" if draft is None else self._seal(draft, path, now)
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
            self._pad(drafts[-1], SMALLEST_INITIAL_DATAGRAM - (room - left))
        return b"".join([self._seal(draft, path, now) for draft in drafts])

    @staticmethod
    def _pad(draft: Draft, count: int) -> None:
        if count > 0:
            draft.parts.append(bytes(count))
            draft.size += count
            draft.padded = True

    def _pad_small(self, draft: Draft) -> None:
        """Fill up what is too short for a sample, or to be answered by a reset that looks like any packet to us.

        rfc9000:10.3:4; but padding counts in flight, so ACKs that the congestion window has no room for go without.
        """
        smallest = SAMPLE_PAYLOAD - draft.number_length
        if draft.eliciting or self._quota >= SMALL_PAYLOAD + draft.overhead:
            smallest = max(smallest, SMALLEST_BEYOND_ID + self._connection.local_ids.length - draft.overhead)
        self._pad(draft, smallest - draft.size)

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
        data = crypto or bool(
            is_application
            and (connection.control.owed or connection.streams.scheduler.ready or connection.datagrams.queued)
        )
        if data:
            if self._quota < path.mtu.size and not space.probes:
                data = False  # rfc9221:5.4:1
                self._on_held_back(path)
                self._unblock(space, path)
        elif is_application:
            path.app_limited = True
        if not (data or ack_due or space.probes):
            return None
        number = space.next_packet_number
        number_length = packet_number_length(number, space.largest_acked)
        if connection.paths.several and number_length < SEVERAL_PATHS_LENGTH:
            number_length = SEVERAL_PATHS_LENGTH  # rfc9000:17.1:3
        draft = Draft(space, number, number_length, self._overhead(space, number_length, path))
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
            wants_ping and (self._quota > 0 or not space.eliciting_in_flight)
        ):
            parts.append(_PING_FRAME)  # rfc9002:6.2.4:3
            draft.size += 1
            draft.eliciting = True
            space.probes = min(space.probes, 1)  # rfc9002:6.2.4:8 one such packet is enough
        if not parts:
            return None
        if draft.size < SMALL_PAYLOAD:
            self._pad_small(draft)
        return draft

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
        return path.datagram_size - self._overhead(self._connection.spaces[2], MAX_PACKET_NUMBER_LENGTH, path)

    def _overhead(self, space: "PacketNumberSpace", number_length: int, path: "Path") -> int:
        """Bytes of header and tag of a packet in `space`."""
        connection = self._connection
        destination = len(path.remote_id.value or b"")
        if space.level == APPLICATION:
            return 1 + destination + number_length + TAG_LENGTH
        size = 1 + 4 + 1 + destination + 1 + len(connection.local_ids.first) + 2 + number_length + TAG_LENGTH
        if space.level == INITIAL:
            token = connection.handshake.token
            size += varint_size(len(token)) + len(token)
        return size

    # Packets

    def _seal(self, draft: Draft, path: "Path", now: int) -> bytes:
        """Protect a draft and take note of it as sent."""
        space, number, number_length = draft.space, draft.number, draft.number_length
        connection = self._connection
        keys = space.write_keys
        if keys is None:
            raise RuntimeError("a packet was drafted without keys")
        payload = b"".join(draft.parts)
        header = self._header(space, number, number_length, len(payload), path.remote_id)
        if self.grease and connection.rng.getrandbits(1):  # rfc9287:3.1:1
            header = bytes((header[0] & ~_FIXED_BIT,)) + header[1:]
        packet = protect_packet(keys, header, number_length, number, payload)
        space.next_packet_number = number + 1  # rfc9000:12.3:1
        if number + 1 >= space.checkpoint:
            connection.numbers.on_checkpoint(now)
        size = len(packet)
        in_flight = draft.eliciting or draft.padded  # RFC 9002 section 2
        connection.recovery.on_packet_sent(
            space,
            SentPacket(number, now, size, draft.eliciting, in_flight, draft.sent_frames, path, self._ecn != NOT_ECT),
        )
        path.bytes_sent += size
        if in_flight:
            self._quota -= size
            if path.pacer is not None:
                path.pacer.on_sent(size, now)
        if draft.eliciting:
            connection.idle.on_eliciting_sent(now)
            if space.probes:
                space.probes -= 1
        connection.stats.packets_sent += 1
        if connection.trace is not None:
            self._trace_sent(space, path, number, header, payload, size, now)
        if space.level == HANDSHAKE:
            connection.handshake.on_handshake_packet_sent(now)
        return packet

    def _header(
        self, space: "PacketNumberSpace", number: int, number_length: int, payload_length: int, remote_id: "RemoteId"
    ) -> bytes:
        connection = self._connection
        destination = remote_id.value or b""
        if space.level == APPLICATION:
            truncated = (number & (1 << 8 * number_length) - 1).to_bytes(number_length)
            first = _SHORT_FIRST_BYTE[number_length + space.write_phase + remote_id.spin.bit]
            return first + destination + truncated
        return wire.encode_long_header(
            connection.version,
            space.packet_type,
            destination,
            connection.local_ids.first,
            connection.handshake.token if space.level == INITIAL else b"",
            payload_length + TAG_LENGTH,
            number,
            number_length,
        )

    def _close_datagram(self, path: "Path", now: int) -> list[Transmit]:
        """CONNECTION_CLOSE in every packet type that the peer may be able to read (rfc9000:10.2.3:1 and following)."""
        connection = self._connection
        room = min(path.datagram_size, path.amplification_credit())
        drafts: list[Draft] = []
        used = 0
        for space in connection.spaces:
            if space.discarded or space.write_keys is None or space.next_packet_number >= space.number_limit:
                continue
            number = space.next_packet_number
            number_length = packet_number_length(number, space.largest_acked)
            draft = Draft(space, number, number_length, self._overhead(space, number_length, path))
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
            self._pad(drafts[-1], SMALLEST_INITIAL_DATAGRAM - used)
        self._ecn = path.ecn.codepoint
        payload = b"".join([self._seal(draft, path, now) for draft in drafts])
        datagrams = [Transmit(payload, path.local, path.remote, self._ecn)]
        self._count(datagrams, now)
        return datagrams

    def _trace_sent(
        self,
        space: "PacketNumberSpace",
        path: "Path",
        number: int,
        header: bytes,
        payload: bytes,
        size: int,
        now: int,
    ) -> None:
        connection = self._connection
        trace = connection.trace
        if trace is None:
            return
        short = space.level == APPLICATION
        trace.packet_sent(
            now,
            PacketInfo(
                packet_type=wire.PACKET_TYPE_NAMES[space.packet_type],
                packet_number=number,
                version=0 if short else connection.version.number,
                destination_cid=path.remote_id.value or b"",
                source_cid=b"" if short else connection.local_ids.first,
                token=connection.handshake.token if space.level == INITIAL else b"",
                key_phase=header[0] >> 2 & 1 if short else 0,
                spin=header[0] >> 5 & 1 if short else 0,
                size=size,
                payload=payload,
                path=path.number,
            ),
        )
