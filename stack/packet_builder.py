"""From chosen frames to protected packets: headers, protection, and the books about what was sent."""

from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import TAG_LENGTH, protect_packet
from stack.observer import PacketInfo
from stack.recovery.sent import SentPacket
from stack.sent_frame import SentFrame
from stack.tls.engine import APPLICATION, HANDSHAKE, INITIAL
from stack.wire import header as wire
from stack.wire.ecn import NOT_ECT
from stack.wire.header import KEY_PHASE_BIT, SPIN_BIT
from stack.wire.packet_number import packet_number_length
from stack.wire.varint import varint_size

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.path.connection_ids import RemoteId
    from stack.path.path import Path
    from stack.recovery.space import PacketNumberSpace

_FIXED_BIT: Final = 0x40
# By length of the packet number, plus the spin and the Key Phase bits
_SHORT_FIRST_BYTE: Final = tuple(bytes((_FIXED_BIT + index - 1,)) for index in range(SPIN_BIT + KEY_PHASE_BIT + 5))


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

    def pad(self, count: int) -> None:
        """Add `count` bytes of PADDING frames, if that is more than none."""
        if count > 0:
            self.parts.append(bytes(count))
            self.size += count
            self.padded = True


class PacketBuilder:
    """Makes the packets of a connection.

    `ecn` is the codepoint of the datagram being made, `quota` the bytes that may still be put in flight by this call of
    the sender's, `grease` whether the peer takes packets with any fixed bit.
    """

    __slots__ = ("_connection", "ecn", "grease", "quota")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.ecn = NOT_ECT
        self.grease = False
        self.quota = 0

    def draft(self, space: "PacketNumberSpace", path: "Path", smallest_length: int = 1) -> Draft:
        """Begin the next packet in `space`; its number takes `smallest_length` bytes or more (rfc9000:17.1:3)."""
        number = space.next_packet_number
        number_length = packet_number_length(number, space.largest_acked)
        if number_length < smallest_length:
            number_length = smallest_length
        return Draft(space, number, number_length, self.overhead(space, number_length, path))

    def overhead(self, space: "PacketNumberSpace", number_length: int, path: "Path") -> int:
        """Bytes of header and tag of a packet in `space`."""
        connection = self._connection
        destination = len(path.remote_id.value or b"")
        if space.level == APPLICATION:
            return 1 + destination + number_length + space.tag_length
        size = 1 + 4 + 1 + destination + 1 + len(connection.local_ids.first) + 2 + number_length + TAG_LENGTH
        if space.level == INITIAL:
            token = connection.handshake.token
            size += varint_size(len(token)) + len(token)
        return size

    def seal(self, draft: Draft, path: "Path", now: int) -> bytes:
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
            SentPacket(number, now, size, draft.eliciting, in_flight, draft.sent_frames, path, self.ecn != NOT_ECT),
        )
        path.bytes_sent += size
        if in_flight:
            self.quota -= size
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
