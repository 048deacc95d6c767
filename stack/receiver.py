"""From a datagram to frames: headers, keys, authentication, duplicate suppression, dispatch (RFC 9000 section 12)."""

from typing import TYPE_CHECKING, Final, NamedTuple

from stack.crypto.packet_protection import unprotect_header
from stack.dispatch import ACK_ELICITING, ALLOWED, TABLE_SIZE, Handler, ReceivedPacket
from stack.errors import FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION, TransportError
from stack.lifecycle import State
from stack.limits import MAX_UNDECRYPTABLE_BYTES, MAX_UNDECRYPTABLE_PACKETS
from stack.observer import PacketInfo
from stack.tls.engine import EARLY
from stack.wire import header as wire
from stack.wire.frames import ONE_BYTE_TYPES
from stack.wire.varint import Truncated, decode_varint, varint_size

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.path.path import Path

_LONG_FORM: Final = 0x80
_FIXED_BIT: Final = 0x40
_LONG_RESERVED: Final = 0x0C
_SHORT_RESERVED: Final = 0x18


class _Undecryptable(NamedTuple):
    """A packet that waits for its keys."""

    packet_type: int
    data: bytes
    start: int
    packet_number_offset: int
    end: int
    destination_cid: bytes
    source_cid: bytes
    path: "Path"
    ecn: int
    arrived_at: int


class Receiver:
    """The receiving half of a connection."""

    __slots__ = ("_connection", "_fixed_bit", "_handlers", "_packet", "_undecryptable", "first_opened")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        # The bit that must be 1 in every packet: none once we announced that we don't look at it (rfc9287:3:2)
        self._fixed_bit = 0 if connection.config.grease_quic_bit else _FIXED_BIT
        self._handlers: dict[int, Handler] = {}
        self._undecryptable: list[_Undecryptable] = []
        self._packet = ReceivedPacket(connection.spaces[0], connection.path, b"", 0)  # one object serves every packet
        self.first_opened = False  # whether the first packet of the last datagram was authentic

    def bind(self, handlers: dict[int, Handler]) -> None:
        """Set the frame handlers, once the connection's parts exist."""
        self._handlers = handlers

    def receive(self, data: bytes, path: "Path", ecn: int, now: int) -> None:
        """Process a datagram's packets in order (rfc9000:12.2:6). Raises TransportError for what must close us."""
        self.first_opened = False
        start, end = 0, len(data)
        first_destination: bytes | None = None
        while start < end:
            if data[start] & _LONG_FORM:
                header = self._long_header(data, start, now)
                if header is None:
                    return
                packet_type, _, destination, source, _, offset, packet_end = header
            else:
                packet_type, source, packet_end = wire.ONE_RTT, b"", end
                offset = start + 1 + self._connection.local_ids.length
                destination = data[start + 1 : offset]
                if data[start] & self._fixed_bit != self._fixed_bit or offset >= end:
                    self._drop(packet_type, end - start, "invalid", now)  # rfc9000:17.3.1:1
                    return
            # rfc9000:12.2:5 all packets of a datagram belong to the same connection
            if first_destination is None:
                first_destination = destination
            elif destination != first_destination:
                self._drop(packet_type, end - start, "unknown_connection_id", now)
                return
            self._process(packet_type, data, start, offset, packet_end, destination, source, path, ecn, now)
            start = packet_end

    def retry_undecryptable(self, now: int) -> None:
        """New keys exist: process what waited for them."""
        waiting = self._undecryptable
        if waiting:
            self._undecryptable = []
            for packet in waiting:
                space = self._connection.space_of[packet.packet_type]
                keys = None if space is None else space.read_keys
                if packet.packet_type == wire.ZERO_RTT:
                    keys = self._connection.early_data.read_keys
                if space is not None and keys is None and not space.discarded:
                    self._undecryptable.append(packet)  # the new keys are not those of this one
                else:
                    self._packet.waited_ns = now - packet.arrived_at
                    self._process(*packet[:-1], now)
                    self._packet.waited_ns = 0

    def _long_header(self, data: bytes, start: int, now: int) -> wire.LongHeader | None:
        """Parse the long header at `start`; None when the packet, and so the rest, can't be used."""
        connection = self._connection
        size = len(data) - start
        try:
            header = wire.parse_long_header(data, start, not self._fixed_bit)
        except wire.HeaderError:
            self._drop(wire.UNKNOWN_VERSION, size, "invalid", now)
            return None
        packet_type = header.packet_type
        if packet_type == wire.VERSION_NEGOTIATION:
            listed = data[header.packet_number_offset :]
            if not connection.handshake.on_version_negotiation(header, listed, size, now):
                self._drop(packet_type, size, "invalid", now)
            return None
        if header.version != connection.version.number and not connection.negotiation.reads(
            packet_type, header.version
        ):
            self._drop(packet_type, size, "unexpected_version", now)  # rfc9369:4.1:9
            return None
        if packet_type == wire.RETRY:
            if not connection.handshake.on_retry(header, data[start:], now):
                self._drop(packet_type, size, "invalid", now)
            return None
        if packet_type == wire.INITIAL and len(data) < wire.SMALLEST_INITIAL_DATAGRAM and not connection.is_client:
            self._drop(packet_type, size, "invalid", now)  # rfc9000:14.1:4
            return None
        if header.token and connection.is_client:
            self._drop(packet_type, size, "invalid", now)  # rfc9000:17.2.2:1
            return None
        return header

    def _process(
        self,
        packet_type: int,
        data: bytes,
        start: int,
        packet_number_offset: int,
        end: int,
        destination_cid: bytes,
        source_cid: bytes,
        path: "Path",
        ecn: int,
        now: int,
    ) -> None:
        """Authenticate the packet at `start` to `end` of a datagram and process its frames."""
        connection = self._connection
        space = connection.space_of[packet_type]
        if space is None or space.discarded:
            self._drop(packet_type, end - start, "key_unavailable", now)
            return
        keys = space.read_keys
        version = 0  # of a short header
        if packet_type != wire.ONE_RTT:
            version = int.from_bytes(data[start + 1 : start + 5])
            if packet_type == wire.INITIAL and version != connection.version.number:
                keys = connection.negotiation.initial_keys(version)
            elif packet_type == wire.ZERO_RTT:
                keys = connection.early_data.keys_at(now)
                if connection.space_of[packet_type] is None:  # they have just been discarded
                    self._drop(packet_type, end - start, "key_unavailable", now)
                    return
        if keys is None:
            self._keep_undecryptable(
                _Undecryptable(
                    packet_type, data, start, packet_number_offset, end, destination_cid, source_cid, path, ecn, now
                ),
                now,
            )
            return
        acks = space.acks
        unprotected = unprotect_header(keys.header, data, start, packet_number_offset, end, acks.largest_received)
        if unprotected is None:
            self._drop(packet_type, end - start, "invalid", now)
            return
        first, number, payload_start, header = unprotected
        ciphertext = data[payload_start:end]
        if first & wire.KEY_PHASE_BIT != space.read_phase and packet_type == wire.ONE_RTT:
            payload = connection.key_phases.open(number, header, ciphertext, now)
        else:
            payload = keys.protection.open(number, header, ciphertext)
        if payload is None:
            connection.key_phases.on_unauthentic(space, keys.protection.suite, number, header, ciphertext)
            self._drop(packet_type, end - start, "decryption_failure", now)
            return
        if start == 0:
            self.first_opened = True
        # rfc9000:12.3:5 only after authentication
        if number <= acks.largest_received:
            if acks.is_duplicate(number):
                self._drop(packet_type, end - start, "duplicate", now)
                return
            if number < space.phase_first and first & wire.KEY_PHASE_BIT == space.read_phase:
                connection.key_phases.on_reordered(number)
        elif packet_type == wire.ONE_RTT:
            spin = path.remote_id.spin
            if spin.active:
                spin.bit = first & wire.SPIN_BIT ^ spin.flip
        if connection.trace is not None:
            self._trace_received(
                packet_type, first, number, version, end - start, destination_cid, source_cid, payload, path, now
            )
        if first & (_LONG_RESERVED if first & _LONG_FORM else _SHORT_RESERVED):
            # rfc9000:17.2:9, rfc9000:17.3.1:3
            raise TransportError(PROTOCOL_VIOLATION, "reserved header bits are not zero")
        if first & _LONG_FORM and not connection.handshake.on_long_packet(space.level, source_cid, now):
            self._drop(packet_type, end - start, "unknown_connection_id", now)
            return
        if packet_type == wire.INITIAL:
            connection.negotiation.on_initial(version, now)
        elsewhere = path is not connection.paths.active
        if elsewhere and connection.migration.refuses(path, number):
            self._drop(packet_type, end - start, "unsupported", now)
            return
        connection.stats.packets_received += 1
        path.destination_cid = destination_cid
        packet = self._packet
        packet.space, packet.path, packet.destination_cid, packet.now = space, path, destination_cid, now
        if connection.closing.over:
            if connection.closing.state is State.CLOSING:
                connection.closing.on_packet_while_closing(payload, now)
            return
        connection.idle.on_received(now)
        eliciting = self._process_frames(payload, packet, EARLY if packet_type == wire.ZERO_RTT else space.level)
        # rfc9000:13.1:1 acknowledge only what was processed, rfc9000:13.2.5:2 and count from when it arrived
        acks.on_received(number, eliciting, now - packet.waited_ns)
        if ecn:
            acks.on_marked(ecn, eliciting)
        if elsewhere and packet_type == wire.ONE_RTT and not connection.closing.over:
            connection.migration.on_packet(path, number, payload, now)

    def _process_frames(self, payload: bytes, packet: ReceivedPacket, level: int) -> bool:
        """Dispatch every frame of a packet of `level`; return whether the packet asks for an ACK."""
        if not payload:
            # rfc9000:12.4:2
            raise TransportError(PROTOCOL_VIOLATION, "packet without frames")
        handlers = self._handlers
        level_bit = 1 << level
        position, end = 0, len(payload)
        eliciting = False
        frame_type = 0
        try:
            while position < end:
                frame_type = payload[position]
                position += 1
                if frame_type >= ONE_BYTE_TYPES:
                    frame_type, position = self._long_type(payload, position - 1)
                if not ALLOWED[frame_type] & level_bit:
                    raise _not_allowed(frame_type)
                if ACK_ELICITING[frame_type]:
                    eliciting = True
                position = handlers[frame_type](payload, position, frame_type, packet)
        except Truncated as truncated:
            raise TransportError(FRAME_ENCODING_ERROR, str(truncated), frame_type) from None
        except TransportError as error:
            error.frame_type = error.frame_type or frame_type  # what it has triggered
            raise
        return eliciting

    @staticmethod
    def _long_type(payload: bytes, position: int) -> tuple[int, int]:
        """Return a frame type that takes more than one byte, and what follows it, if we know the type."""
        frame_type, end = decode_varint(payload, position)
        if frame_type >= TABLE_SIZE or not ALLOWED[frame_type]:
            raise _not_allowed(frame_type)
        if end - position > varint_size(frame_type):
            # rfc9000:12.4:6
            raise TransportError(PROTOCOL_VIOLATION, f"frame type 0x{frame_type:x} encoded too long", frame_type)
        return frame_type, end

    def _keep_undecryptable(self, packet: _Undecryptable, now: int) -> None:
        """Hold a packet until its keys come (RFC 9001 section 5.7)."""
        size = packet.end - packet.start
        held = sum(len(other.data) for other in self._undecryptable)
        if len(self._undecryptable) >= MAX_UNDECRYPTABLE_PACKETS or held + len(packet.data) > MAX_UNDECRYPTABLE_BYTES:
            self._drop(packet.packet_type, size, "key_unavailable", now)
            return
        self._undecryptable.append(packet)
        trace = self._connection.trace
        if trace is not None:
            trace.packet_buffered(now, wire.PACKET_TYPE_NAMES[packet.packet_type], size)

    def _drop(self, packet_type: int, size: int, trigger: str, now: int) -> None:
        self._connection.stats.packets_dropped += 1
        trace = self._connection.trace
        if trace is not None:
            name = "unknown" if packet_type < 0 else wire.PACKET_TYPE_NAMES[packet_type]
            trace.packet_dropped(now, name, size, trigger)

    def _trace_received(
        self,
        packet_type: int,
        first: int,
        number: int,
        version: int,
        size: int,
        destination_cid: bytes,
        source_cid: bytes,
        payload: bytes,
        path: "Path",
        now: int,
    ) -> None:
        trace = self._connection.trace
        if trace is None:
            return
        short = packet_type == wire.ONE_RTT
        trace.packet_received(
            now,
            PacketInfo(
                packet_type=wire.PACKET_TYPE_NAMES[packet_type],
                packet_number=number,
                version=version,
                destination_cid=destination_cid,
                source_cid=source_cid,
                token=b"",
                key_phase=first >> 2 & 1 if short else 0,
                spin=first >> 5 & 1 if short else 0,
                size=size,
                payload=payload,
                path=path.number,
            ),
        )

    # The two frames that concern nobody else

    def on_padding_frame(self, payload: bytes, position: int, frame_type: int, packet: ReceivedPacket) -> int:
        """PADDING: skip the whole run."""
        rest = payload[position:].lstrip(b"\0")
        return len(payload) - len(rest)

    def on_ping_frame(self, payload: bytes, position: int, frame_type: int, packet: ReceivedPacket) -> int:
        """PING: being ack-eliciting is all it does."""
        return position


def _not_allowed(frame_type: int) -> TransportError:
    """What a frame leads to that may not be in its packet, or that nobody knows."""
    if frame_type >= TABLE_SIZE or not ALLOWED[frame_type]:
        # rfc9000:12.4:4
        return TransportError(FRAME_ENCODING_ERROR, f"unknown frame type 0x{frame_type:x}", frame_type)
    # rfc9000:12.4:3
    return TransportError(PROTOCOL_VIOLATION, f"frame type 0x{frame_type:x} in this packet", frame_type)
