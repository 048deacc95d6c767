"""Connection IDs: those we issue and those the peer gave us (RFC 9000 sections 5.1, 19.15, 19.16)."""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.control import ControlFrames
from stack.crypto.mac import hmac_digest
from stack.errors import (
    CONNECTION_ID_LIMIT_ERROR,
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    TRANSPORT_PARAMETER_ERROR,
    TransportError,
)
from stack.limits import MAX_ISSUED_CONNECTION_IDS, RETIREMENTS_PER_CONNECTION_ID
from stack.path.spin_bit import SpinBit
from stack.sent_frame import SentFrame
from stack.wire.frames import NEW_CONNECTION_ID, encode_new_connection_id, encode_retire_connection_id
from stack.wire.varint import Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

RESET_TOKEN_LENGTH: Final = 16
SMALLEST_RESET: Final = 21  # bytes: the shortest that looks like a packet with a short header


def stateless_reset_token(key: bytes, connection_id: bytes) -> bytes:
    """The token that goes with a connection ID of ours, from the endpoint's static `key` (RFC 9000 section 10.3.2)."""
    return hmac_digest("sha256", key, connection_id)[:RESET_TOKEN_LENGTH]


class LocalConnectionIds:
    """IDs that the peer may put into packets to us. `by_sequence` holds those not retired."""

    __slots__ = (
        "_control",
        "_draw",
        "_next_sequence",
        "_peer_limit",
        "_register",
        "_reset_key",
        "_told",
        "_unregister",
        "by_sequence",
        "length",
    )

    def __init__(
        self,
        first: bytes,
        reset_key: bytes,
        control: ControlFrames,
        draw: Callable[[], bytes | None],
        register: Callable[[bytes], None],
        unregister: Callable[[bytes], None],
    ) -> None:
        """`first` is the ID of the handshake, sequence number 0.

        `draw` returns an ID that nobody has, None if there is none left; `register` routes an ID to this connection.
        """
        self._reset_key = reset_key
        self._control = control
        self._draw = draw
        self._register = register
        self._unregister = unregister
        self.length = len(first)
        self.by_sequence: dict[int, bytes] = {0: first}
        self._next_sequence = 1
        self._told = 0  # largest sequence number sent to the peer
        self._peer_limit = 2

    @property
    def first(self) -> bytes:
        """The ID of the handshake, or the oldest that is left."""
        return next(iter(self.by_sequence.values()))

    def issue(self, peer_limit: int) -> None:
        """Give the peer as many IDs as it stores and we allow (rfc9000:5.1.1:4)"""
        self._peer_limit = peer_limit
        if self.length == 0:
            return
        while len(self.by_sequence) < min(peer_limit, MAX_ISSUED_CONNECTION_IDS):
            sequence = self._add()
            if sequence is None:
                return
            self._control.owe(self, sequence)

    def reserve(self) -> tuple[bytes, bytes] | None:
        """Return the ID with sequence number 1 and its reset token, for the preferred_address parameter."""
        sequence = self._add()
        if sequence is None:
            return None
        self._told = sequence
        connection_id = self.by_sequence[sequence]
        return connection_id, stateless_reset_token(self._reset_key, connection_id)

    def _add(self) -> int | None:
        """Make an ID (rfc9000:5.1:1); return its sequence number, None if all are taken."""
        connection_id = self._draw()
        if connection_id is None:
            return None
        self._register(connection_id)
        sequence = self._next_sequence
        self._next_sequence += 1
        self.by_sequence[sequence] = connection_id
        return sequence

    def write_frame(self, key: int) -> bytes:
        """NEW_CONNECTION_ID for sequence number `key`, unless retired meanwhile."""
        connection_id = self.by_sequence.get(key)
        if connection_id is None:
            return b""
        self._told = max(self._told, key)
        return encode_new_connection_id(key, 0, connection_id, stateless_reset_token(self._reset_key, connection_id))

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer has the ID."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again."""
        self._control.owe(self, sent[1])

    def on_retire_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """RETIRE_CONNECTION_ID: stop using an ID and issue another in its place."""
        sequence, position = decode_varint(payload, position)
        if sequence > self._told:
            # rfc9000:19.16:1; a peer that could retire what it was not given would make us owe IDs without end
            raise TransportError(PROTOCOL_VIOLATION, f"retires connection ID {sequence}, never issued", frame_type)
        if self.by_sequence.get(sequence) == packet.destination_cid:
            # rfc9000:19.16:3
            raise TransportError(PROTOCOL_VIOLATION, f"retires connection ID {sequence} that it uses", frame_type)
        connection_id = self.by_sequence.pop(sequence, None)
        if connection_id is not None:
            self._unregister(connection_id)
            self.issue(self._peer_limit)  # rfc9000:5.1.1:7
        return position


class RemoteId:
    """The connection ID that packets on one path go to. It changes when the peer wants it retired.

    `value` is None when it had to be retired and there was no other to take its place.
    """

    __slots__ = ("sequence", "spin", "value")

    def __init__(self, sequence: int, value: bytes | None, spin: SpinBit) -> None:
        self.sequence = sequence
        self.value = value
        self.spin = spin  # of packets that go to this ID


class RemoteConnectionIds:
    """IDs that the peer gave us to put into packets to it: one per path in use, and spare ones.

    `active` is the one of the path that the connection uses.
    """

    __slots__ = (
        "_control",
        "_limit",
        "_make_spin",
        "_retire_prior_to",
        "_retiring",
        "_unused",
        "_used",
        "active",
        "reset_tokens",
    )

    def __init__(self, first: bytes, limit: int, control: ControlFrames, make_spin: Callable[[], SpinBit]) -> None:
        """`first` is the ID in use, sequence number 0; `limit` the active_connection_id_limit that we announced."""
        self._make_spin = make_spin
        self.active = RemoteId(0, first, make_spin())
        self._used = [self.active]
        self._limit = limit
        self._control = control
        self._unused: dict[int, bytes] = {}
        self._retire_prior_to = 0
        self._retiring: dict[int, None] = {}
        self.reset_tokens: dict[int, bytes] = {}

    @property
    def current(self) -> bytes:
        """The ID that the connection's packets go to."""
        return self.active.value or b""

    def assign(self) -> RemoteId | None:
        """An ID for another path (rfc9000:9.5:2, rfc9000:9.5:3); None when the peer has given no spare one.

        A peer without connection IDs has the empty one for every path.
        """
        if self.active.value == b"":
            return self.active
        if not self._unused:
            return None
        sequence = min(self._unused)
        used = RemoteId(sequence, self._unused.pop(sequence), self._make_spin())
        self._used.append(used)
        return used

    def release(self, used: RemoteId) -> None:
        """No path uses this ID any more (rfc9000:5.1.2:1)."""
        if used in self._used and used.value != b"":
            self._used.remove(used)
            if used.value is not None:
                self._retire(used.sequence)

    def on_new_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """NEW_CONNECTION_ID: keep the ID for later, or retire it at once if it is too old already."""
        sequence, position = decode_varint(payload, position)
        retire_prior_to, position = decode_varint(payload, position)
        if position >= len(payload):
            raise Truncated("NEW_CONNECTION_ID ends before its length")
        length = payload[position]
        end = position + 1 + length + RESET_TOKEN_LENGTH
        if retire_prior_to > sequence:
            # rfc9000:19.15:7
            raise TransportError(FRAME_ENCODING_ERROR, "NEW_CONNECTION_ID retires beyond itself", frame_type)
        if not 1 <= length <= 20:
            # rfc9000:19.15:1
            raise TransportError(FRAME_ENCODING_ERROR, f"NEW_CONNECTION_ID of length {length}", frame_type)
        if end > len(payload):
            raise Truncated("NEW_CONNECTION_ID ends inside its token")
        if not self.current:
            # rfc9000:19.15:3
            raise TransportError(PROTOCOL_VIOLATION, "NEW_CONNECTION_ID although its IDs are empty", frame_type)
        connection_id = payload[position + 1 : position + 1 + length]
        self._store(sequence, connection_id, payload[end - RESET_TOKEN_LENGTH : end], retire_prior_to, frame_type)
        return end

    def _store(
        self, sequence: int, connection_id: bytes, reset_token: bytes, retire_prior_to: int, frame_type: int
    ) -> None:
        known = self._unused.get(sequence)
        for used in self._used:
            if used.sequence == sequence:
                known = used.value
        if known is not None and known != connection_id:
            # rfc9000:19.15:5
            raise TransportError(PROTOCOL_VIOLATION, f"connection ID {sequence} changed", frame_type)
        if sequence < self._retire_prior_to:
            self._retire(sequence)  # rfc9000:19.15:9
            return
        if known is None and sequence not in self._retiring:
            self._unused[sequence] = connection_id
            self.reset_tokens[sequence] = reset_token
        if retire_prior_to > self._retire_prior_to:
            self._retire_prior_to = retire_prior_to
            for old in [number for number in self._unused if number < retire_prior_to]:
                del self._unused[old]
                self._retire(old)
            self._replace_retired()
        if len(self._used) + len(self._unused) > self._limit:
            # rfc9000:5.1.1:6
            raise TransportError(CONNECTION_ID_LIMIT_ERROR, f"more than {self._limit} connection IDs", frame_type)

    def _replace_retired(self) -> None:
        """Give the paths whose IDs must be retired others, the active one first (rfc9000:5.1.2:4)."""
        self._used.sort(key=lambda used: used is not self.active)
        for used in self._used:
            if used.sequence >= self._retire_prior_to:
                continue
            self._retire(used.sequence)
            used.spin = self._make_spin()
            if self._unused:
                used.sequence = min(self._unused)
                used.value = self._unused.pop(used.sequence)
            elif used is self.active:
                other = max(self._used, key=lambda used: used.sequence)
                used.sequence, used.value = other.sequence, other.value
                other.value = None
            else:
                used.value = None
        self._used = [used for used in self._used if used.value is not None]

    def _retire(self, sequence: int) -> None:
        self.reset_tokens.pop(sequence, None)
        self._retiring[sequence] = None
        if len(self._retiring) > RETIREMENTS_PER_CONNECTION_ID * self._limit:  # rfc9000:5.1.2:5, rfc9000:5.1.2:6
            raise TransportError(CONNECTION_ID_LIMIT_ERROR, "too many connection IDs to retire", NEW_CONNECTION_ID)
        self._control.owe(self, sequence)

    def add_preferred(self, connection_id: bytes, reset_token: bytes) -> None:
        """The ID of the server's preferred address, sequence number 1 (RFC 9000 section 5.1.1)."""
        if self.current == b"":
            # rfc9000:18.2:7
            raise TransportError(TRANSPORT_PARAMETER_ERROR, "preferred_address of a server without connection IDs")
        self._unused[1] = connection_id
        self.reset_tokens[1] = reset_token

    def set_handshake_id(self, connection_id: bytes) -> None:
        """The peer chose its ID in its first packet (rfc9000:7.2:4), or a Retry did."""
        self.active.value = connection_id

    def set_handshake_reset_token(self, token: bytes) -> None:
        """The token that goes with the server's ID of the handshake, from its transport parameters."""
        self.reset_tokens[0] = token

    def matches_reset(self, datagram: bytes) -> bool:
        """Whether `datagram` ends in the token of an ID in use (rfc9000:10.3.1:3); in constant time."""
        if len(datagram) < SMALLEST_RESET:
            return False
        tokens = [self.reset_tokens.get(used.sequence) for used in self._used]
        end = datagram[-RESET_TOKEN_LENGTH:]
        # rfc9000:10.3.1:4 every token is compared, whatever the result of those before
        matches = [token is not None and hmac.compare_digest(end, token) for token in tokens]
        return any(matches)

    def write_frame(self, key: int) -> bytes:
        """RETIRE_CONNECTION_ID for sequence number `key`."""
        return encode_retire_connection_id(key)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows; the sequence number need not be remembered."""
        self._retiring.pop(sent[1], None)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again."""
        self._control.owe(self, sent[1])
