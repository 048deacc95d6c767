"""The handshake: CRYPTO to and from the TLS engine, keys, transport parameters, confirmation (RFC 9001 section 4)."""

from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import Keys, initial_keys, initial_secrets, make_keys
from stack.crypto.retry import retry_integrity_tag
from stack.early_data import may_resume_with, to_remember
from stack.errors import (
    CRYPTO_ERROR,
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    VERSION_NEGOTIATION_ERROR,
    QuicError,
    TransportError,
)
from stack.events import HandshakeCompleted, HandshakeConfirmed, NewSession
from stack.lifecycle import State, Trigger
from stack.limits import MAX_CRYPTO_BUFFER, MAX_TOKEN_LENGTH
from stack.observer import PacketInfo
from stack.recovery.acknowledgments import NEVER
from stack.sent_frame import SentFrame
from stack.tls import engine as tls
from stack.tls.alerts import INTERNAL_ERROR
from stack.wire.frames import CRYPTO, encode_handshake_done
from stack.wire.header import PACKET_TYPE_NAMES, RETRY_TAG_LENGTH, LongHeader
from stack.wire.varint import MAX_VARINT, Truncated, decode_varint
from stack.wire.versions import Version

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.dispatch import ReceivedPacket

# Index in Connection.spaces by TLS level; 0-RTT and 1-RTT share a space
SPACE_OF_LEVEL: Final = (0, 2, 1, 2)
_HANDSHAKE_DONE_KEY: Final = 0
_KEY_NAMES: Final = ("initial", "0rtt", "handshake", "1rtt")


class Handshake:
    """What happens between the first packet and the confirmed handshake, and with the keys on the way."""

    __slots__ = (
        "_connection",
        "_engine",
        "_info",
        "_peer_cid",
        "_server_name",
        "token",
    )

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._engine: tls.Engine | None = None
        # What the peer puts into Source Connection ID fields; a client learns it from the first packet
        self._peer_cid = None if connection.is_client else connection.remote_ids.current
        self._info: tls.HandshakeInfo | None = None
        self._server_name: str | None = None
        self.token = b""  # for Initial packets

    def start(self, server_name: str | None, now: int, keys: tuple[Keys, Keys] | None = None) -> None:
        """Install the Initial keys, which may be there already, and start TLS."""
        connection = self._connection
        self._server_name = server_name
        self.install_initial_keys(now, keys)
        if connection.trace is not None:
            connection.trace.version_selected(now, connection.version.number)
        factory = connection.config.tls
        if connection.is_client:
            self._engine = factory.client(server_name, connection.parameters.encode_local(now), connection.rng)
        else:
            self._engine = factory.server(lambda peer: connection.parameters.answer(peer, now), connection.rng)
            self._engine.allow_early_data(may_resume_with, to_remember)
        self._engine.set_waker(lambda: connection.endpoint.on_tls_answer(connection))
        self._bind_sessions()
        self._engine.start(now)
        self.take_events(now)

    def _bind_sessions(self) -> None:
        """Let TLS resume only sessions of our version: first that of the attempt, then the negotiated one."""
        if self._engine is not None:
            # rfc9369:5:1 rfc9369:5:2
            self._engine.set_context(self._connection.version.number.to_bytes(4))

    def restart(self, now: int) -> None:
        """Start TLS anew, for another attempt in the version that the connection has now (rfc9368:6:2)."""
        self.close()
        self.token = b""  # rfc9369:5:1
        self.start(self._server_name, now)

    def install_initial_keys(self, now: int, keys: tuple[Keys, Keys] | None = None) -> None:
        """Install the Initial keys of the connection's version: the client's and the server's."""
        connection = self._connection
        client, server = keys or initial_keys(connection.version, connection.initial_destination_cid)
        read, write = (server, client) if connection.is_client else (client, server)
        self._install(tls.INITIAL, tls.READ, read, now)
        self._install(tls.INITIAL, tls.WRITE, write, now)

    def initial_secrets(self, version: Version) -> tuple[bytes, bytes]:
        """The Initial secrets to read and to write with in a version (RFC 9001 section 5.2)."""
        connection = self._connection
        client, server = initial_secrets(version, connection.initial_destination_cid)
        return (server, client) if connection.is_client else (client, server)

    def close(self) -> None:
        """The connection is over: TLS is not needed any more."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """RFC 8446 section 7.5's exporter. Raises QuicError."""
        if self._engine is None:
            raise QuicError("keying material can be exported only from a connection that has started")
        return self._engine.export_keying_material(label, context, length)

    # Frames

    def on_crypto_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """CRYPTO: in-order bytes go to TLS (RFC 9000 section 19.6)."""
        self._connection.negotiation.settle()
        offset, position = decode_varint(payload, position)
        length, position = decode_varint(payload, position)
        end = position + length
        if end > len(payload):
            raise Truncated("CRYPTO ends inside its data")
        if offset + length > MAX_VARINT:
            # rfc9000:19.6:1
            raise TransportError(FRAME_ENCODING_ERROR, "CRYPTO offset above 2^62-1", frame_type)
        room = MAX_CRYPTO_BUFFER if self._engine is None else self._engine.crypto_buffer  # rfc9000:7.5:1
        data = packet.space.crypto.receive(offset, payload[position:end], room)
        if data and self._engine is not None:
            self._engine.feed(packet.space.level, data, packet.now)
            self.take_events(packet.now)
        return end

    def on_handshake_done_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """HANDSHAKE_DONE: the handshake is confirmed at the client (RFC 9001 section 4.1.2)."""
        if not self._connection.is_client:
            # rfc9000:19.20:2
            raise TransportError(PROTOCOL_VIOLATION, "HANDSHAKE_DONE from a client", frame_type)
        if self._connection.closing.state is State.ESTABLISHED:
            self._confirm(packet.now)
        return position

    # Packets

    def on_long_packet(self, level: int, source_cid: bytes, now: int) -> bool:
        """An authentic Initial or Handshake packet arrived; false if it must be dropped."""
        connection = self._connection
        if self._peer_cid is None:
            self._peer_cid = source_cid
            connection.remote_ids.set_handshake_id(source_cid)  # rfc9000:7.2:4
        elif source_cid != self._peer_cid:
            return False  # rfc9000:7.2:3
        if level == tls.HANDSHAKE and not connection.is_client:
            # rfc9001:4.9.1:1; a Handshake packet also proves the client's address (RFC 9000 8.1)
            connection.path.validated = True
            self._discard(tls.INITIAL, now)
        return True

    def on_handshake_packet_sent(self, now: int) -> None:
        """A client that has sent a Handshake packet needs its Initial keys no more (rfc9001:4.9.1:1)."""
        if self._connection.is_client:
            self._discard(tls.INITIAL, now)

    def on_version_negotiation(self, header: LongHeader, listed: bytes, size: int, now: int) -> bool:
        """Start again in the first of our versions that the server speaks, or give up; false if it must be dropped.

        Unless another packet was processed before, or our version is listed (rfc9000:6.2:1, rfc9000:6.2:2,
        rfc9000:6.2:3). That happens at most once: an attempt that follows such a packet ignores the next (rfc9368:4:2).
        """
        connection = self._connection
        versions = [int.from_bytes(listed[at : at + 4]) for at in range(0, len(listed), 4)]
        if (
            not connection.is_client  # rfc9368:2.1:6
            or self._peer_cid is not None
            or connection.closing.over
            or connection.retry_source_cid is not None
            or connection.negotiation.reacted
            or connection.version.number in versions  # rfc9368:4:1
            or header.destination_cid != connection.local_ids.first
            or header.source_cid != connection.original_destination_cid
        ):
            return False
        self._trace_received(header, size, listed, now)
        mutual = connection.negotiation.select(versions)
        if mutual is not None:
            connection.restart(mutual, now)  # rfc9368:2.1:5
            return True
        # rfc9368:2.1:4
        offered = ", ".join(f"0x{version:08x}" for version in versions)
        connection.closing.abandon(VERSION_NEGOTIATION_ERROR, f"the server speaks only {offered}", now)
        connection.closing.expires_at = now
        return True

    def on_retry(self, header: LongHeader, packet: bytes, now: int) -> bool:
        """Retry: send the first packets again, with its token and to its connection ID; false if it must be dropped."""
        connection = self._connection
        tag = retry_integrity_tag(connection.version, connection.original_destination_cid, packet[:-RETRY_TAG_LENGTH])
        if (
            not connection.is_client
            or connection.closing.over
            or self._peer_cid is not None  # rfc9000:17.2.5.2:2
            or connection.retry_source_cid is not None  # rfc9000:17.2.5.2:1
            or header.source_cid == connection.original_destination_cid  # rfc9000:17.2.5.1:2
            or header.version != connection.version.number
            or len(header.token) > MAX_TOKEN_LENGTH
            or packet[-RETRY_TAG_LENGTH:] != tag  # rfc9000:17.2.5.2:3
        ):
            return False
        self._trace_received(header, len(packet), b"", now)
        connection.retry_source_cid = header.source_cid
        connection.remote_ids.set_handshake_id(header.source_cid)  # rfc9000:17.2.5.1:3
        self.token = header.token  # rfc9000:8.1.2:1
        connection.negotiation.on_retry()
        self.install_initial_keys(now)
        # rfc9000:17.2.5.3:1 the same ClientHello, and rfc9000:17.2.5.3:4 the next packet numbers
        connection.recovery.on_retry(connection.spaces[0], now)
        connection.recovery.on_rejected(connection.spaces[2], now)  # rfc9000:17.2.3:1
        connection.idle.on_received(now)
        return True

    def _trace_received(self, header: LongHeader, size: int, payload: bytes, now: int) -> None:
        """Show a packet that nothing protects and that has no number."""
        trace = self._connection.trace
        if trace is not None:
            trace.packet_received(
                now,
                PacketInfo(
                    packet_type=PACKET_TYPE_NAMES[header.packet_type],
                    packet_number=-1,
                    version=header.version,
                    destination_cid=header.destination_cid,
                    source_cid=header.source_cid,
                    token=header.token,
                    key_phase=0,
                    spin=0,
                    size=size,
                    payload=payload,
                    path=self._connection.path.number,
                ),
            )

    # TLS

    def take_events(self, now: int) -> None:
        """Do what TLS says. Raises TransportError when the handshake fails."""
        engine = self._engine
        while engine is not None:
            event = engine.next_event()
            if event is None:
                return
            self._on_event(event, now)

    def _on_event(self, event: tls.Event, now: int) -> None:
        connection = self._connection
        trace = connection.trace
        # The frequent ones first
        if isinstance(event, tls.NewSecret):
            keys = make_keys(event.suite, event.secret, connection.version)
            self._install(event.level, event.direction, keys, now)
        elif isinstance(event, tls.KeyLog):
            if trace is not None:
                trace.secret(now, event.label, event.client_random, event.secret)
        elif isinstance(event, tls.HandshakeBytes):
            connection.spaces[SPACE_OF_LEVEL[event.level]].crypto.buffer.append(event.data)
        elif isinstance(event, tls.PeerTransportParameters):
            connection.parameters.on_peer(event.data, now)
        elif isinstance(event, tls.HandshakeInfo):
            self._info = event
            connection.alpn = event.alpn
            if trace is not None and event.alpn is not None:
                trace.alpn_selected(now, event.alpn)
        elif isinstance(event, tls.RememberedParameters):
            connection.early_data.on_remembered(event.data, event.alpn)
        elif isinstance(event, tls.EarlyData):
            connection.early_data.on_decision(event.accepted, now)
        elif isinstance(event, tls.Completed):
            self._complete(event.peer_certificates, now)
        elif isinstance(event, tls.SessionTicket):
            connection.emit(NewSession(event.blob, event.early_data, event.lifetime, connection.version.number))
        elif isinstance(event, tls.Alert):
            # rfc9001:4.8:1
            code = PROTOCOL_VIOLATION if event.protocol_violation else CRYPTO_ERROR | event.description
            # Internal errors need no frame: there may be no agent
            raise TransportError(code, event.reason, 0 if event.description == INTERNAL_ERROR else CRYPTO)

    def _install(self, level: int, direction: int, keys: Keys, now: int) -> None:
        connection = self._connection
        space = connection.spaces[SPACE_OF_LEVEL[level]]
        reading = direction == tls.READ
        if level == tls.EARLY:
            connection.early_data.install(keys, reading=reading)
        elif level == tls.APPLICATION:
            connection.key_phases.install(keys, reading=reading)
        elif reading:
            space.read_keys = keys
        else:
            space.write_keys = keys
        if reading:
            connection.keys_arrived = True
        if connection.trace is not None:
            by_client = reading != connection.is_client
            name = f"{'client' if by_client else 'server'}_{_KEY_NAMES[level]}_secret"
            connection.trace.key_updated(now, name, "tls", 0)

    def _discard(self, level: int, now: int) -> None:
        """Forget the keys of a level and everything in flight with them (RFC 9001 section 4.9, RFC 9002 6.4)."""
        connection = self._connection
        space = connection.spaces[SPACE_OF_LEVEL[level]]
        if space.discarded:
            return
        space.read_keys = space.write_keys = None
        connection.recovery.discard(space, now)
        if connection.trace is not None:
            for side in ("client", "server"):
                connection.trace.key_discarded(now, f"{side}_{_KEY_NAMES[level]}_secret")

    def _complete(self, peer_certificates: tuple[bytes, ...], now: int) -> None:
        connection = self._connection
        peer = connection.parameters.peer
        if peer is None:
            # rfc9001:8.2:1
            raise TransportError(CRYPTO_ERROR | 109, "no transport parameters")
        connection.early_data.check_limits()
        connection.closing.move(Trigger.COMPLETE, now)
        connection.handshake_complete = True
        connection.idle.give_up_at = NEVER
        connection.local_ids.issue(peer.active_connection_id_limit)
        self._bind_sessions()
        info = self._info
        connection.emit(
            HandshakeCompleted(
                alpn=info.alpn if info else None,
                server_name=info.server_name if info else None,
                resumed=info.resumed if info else False,
                early_data_accepted=connection.early_data.accepted,
                peer_certificates=peer_certificates,
            )
        )
        if not connection.is_client:
            connection.control.owe(self, _HANDSHAKE_DONE_KEY)
            connection.new_tokens.offer(now)
            self._confirm(now)
            connection.early_data.on_completed(now)
            if self._engine is not None:
                self._engine.send_ticket(now)

    def _confirm(self, now: int) -> None:
        connection = self._connection
        connection.closing.move(Trigger.CONFIRM, now)
        connection.recovery.timer.handshake_confirmed = True
        connection.recovery.timer.peer_validated_address = True
        self._discard(tls.INITIAL, now)
        self._discard(tls.HANDSHAKE, now)  # rfc9001:4.9.2:1
        connection.key_phases.prepare()
        connection.emit(HandshakeConfirmed())
        connection.discover_mtu(connection.path)
        connection.migration.on_confirmed(now)

    # HANDSHAKE_DONE, the control frame of the handshake

    def write_frame(self, key: int) -> bytes:
        """HANDSHAKE_DONE."""
        return encode_handshake_done()

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The client knows."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """It must arrive (RFC 9000 section 13.3)."""
        self._connection.control.owe(self, sent[1])
