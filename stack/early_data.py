"""0-RTT: what a client sends before the handshake, and whether the server takes it (RFC 9001 section 4.6)."""

from typing import TYPE_CHECKING, Final

from stack.crypto.packet_protection import Keys
from stack.errors import INTERNAL_ERROR, PROTOCOL_VIOLATION, TransportError
from stack.events import EarlyDataAccepted, EarlyDataAllowed
from stack.recovery.acknowledgments import NEVER
from stack.tls import engine as tls
from stack.wire import header as wire
from stack.wire.parameters import TransportParameters, decode_transport_parameters, encode_transport_parameters

if TYPE_CHECKING:
    from stack.connection import Connection

DISCARD_PTOS: Final = 3  # how long a server keeps the keys of 0-RTT, for packets that were overtaken

# Limits that a server that accepts 0-RTT may not lower (RFC 9000 section 7.4.1)
_LIMITS: Final = (
    "active_connection_id_limit",
    "initial_max_data",
    "initial_max_stream_data_bidi_local",
    "initial_max_stream_data_bidi_remote",
    "initial_max_stream_data_uni",
    "initial_max_streams_bidi",
    "initial_max_streams_uni",
    "max_datagram_frame_size",
)


def to_remember(announced: bytes) -> bytes:
    """Return what a session has to keep of a server's transport parameters for `may_resume_with`.

    The rest is of one connection, and would make tickets longer than some clients have room for.
    """
    full = decode_transport_parameters(announced, from_client=False)
    kept = {name: getattr(full, name) for name in (*_LIMITS, "reset_stream_at")}
    return encode_transport_parameters(TransportParameters(**kept))


def may_resume_with(remembered: bytes, present: bytes) -> bool:
    """Whether what a server announces now, `present`, allows what it announced in the resumed session.

    Then 0-RTT can be accepted (rfc9000:7.4.1:6, rfc9000:7.4.1:9).
    """
    then, now = (decode_transport_parameters(encoded, from_client=False) for encoded in (remembered, present))
    return _lowered(then, now) is None and then.reset_stream_at <= now.reset_stream_at


def _lowered(then: TransportParameters, now: TransportParameters) -> str | None:
    return next((name for name in _LIMITS if getattr(now, name) < getattr(then, name)), None)


class EarlyData:
    """The 0-RTT packets of one connection, sent or received.

    `read_keys` are a server's, while it takes such packets; `sending` tells that a client may send them; `accepted`,
    that the server has said it takes them.
    """

    __slots__ = ("_connection", "_discard_at", "_remembered", "accepted", "read_keys", "sending")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._remembered: TransportParameters | None = None
        self._discard_at = NEVER
        self.read_keys: Keys | None = None
        self.sending = False
        self.accepted = False

    def on_remembered(self, data: bytes, alpn: str) -> None:
        """A client may use the limits that the server announced in the session it resumes (rfc9000:7.4.1:4).

        Nothing else of those parameters is used: rfc9000:7.4.1:2.
        """
        connection = self._connection
        self._remembered = parameters = decode_transport_parameters(data, from_client=False)
        connection.alpn = alpn
        connection.streams.set_peer_parameters(parameters)
        connection.datagrams.set_peer_limit(parameters.max_datagram_frame_size)

    def install(self, keys: Keys, *, reading: bool) -> None:
        """TLS has given the keys of 0-RTT packets."""
        if reading:
            self.read_keys = keys
            return
        space = self._connection.spaces[2]
        space.write_keys = keys
        space.level, space.packet_type = tls.EARLY, wire.ZERO_RTT
        self.sending = True
        self._connection.emit(EarlyDataAllowed())

    def stop(self) -> None:
        """No 0-RTT packet is sent any more."""
        if self.sending:
            space = self._connection.spaces[2]
            space.write_keys = None  # rfc9001:4.9.3:1
            space.level, space.packet_type = tls.APPLICATION, wire.ONE_RTT
            self.sending = False

    def on_decision(self, accepted: bool, now: int) -> None:
        """The server has said whether it takes 0-RTT packets."""
        connection = self._connection
        self.accepted = accepted
        if not connection.is_client:
            if accepted:
                connection.emit(EarlyDataAccepted())
            return
        # rfc9001:5.6:7 there will be 1-RTT keys in a moment; rfc9000:7.4.1:10 and the server's new limits are known now
        self.stop()
        if not accepted:
            connection.spaces[2].refuse()
            self.give_up(now)

    def give_up(self, now: int) -> None:
        """Send everything anew in 1-RTT packets (rfc9001:4.6.2:3, rfc9001:5.6:4)."""
        self.stop()
        self._connection.recovery.on_rejected(self._connection.spaces[2], now)

    def check_limits(self) -> None:
        """Check, at a client, that the server has not lowered limits that were used. Raises TransportError."""
        peer = self._connection.parameters.peer
        if self._remembered is None or peer is None:
            return
        name = _lowered(self._remembered, peer)
        if name is None:
            return
        if self.accepted:
            # rfc9000:7.4.1:5
            raise TransportError(PROTOCOL_VIOLATION, f"the server accepts 0-RTT, but has lowered {name}")
        # Streams may have been opened that there should not be now
        raise TransportError(INTERNAL_ERROR, f"the server refuses 0-RTT, and has lowered {name}")

    # Server

    def on_completed(self, now: int) -> None:
        """The handshake is complete: 0-RTT packets that come later were overtaken on the way (RFC 9001 4.9.3)."""
        self._discard_at = now + DISCARD_PTOS * self._connection.pto_ns()
        if self.read_keys is None:
            self._connection.refuse_early_packets()

    def keys_at(self, now: int) -> Keys | None:
        """The keys for a 0-RTT packet that arrived."""
        if now >= self._discard_at:
            # rfc9001:4.9.3:4
            self.read_keys = None
            self._connection.refuse_early_packets()
        return self.read_keys
