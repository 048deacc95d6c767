"""Connection IDs: those we issue and those the peer gave us (RFC 9000 sections 5.1, 19.15, 19.16)."""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.control import ControlFrames
from stack.errors import (
    CONNECTION_ID_LIMIT_ERROR,
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    TransportError,
)
from stack.limits import MAX_ISSUED_CONNECTION_IDS, MAX_RETIRED_CONNECTION_IDS
from stack.randomness import Randomness
from stack.sent_frame import SentFrame
from stack.wire.frames import (
    NEW_CONNECTION_ID,
    encode_new_connection_id,
    encode_retire_connection_id,
)
from stack.wire.varint import Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket

RESET_TOKEN_LENGTH: Final = 16
SMALLEST_RESET: Final = 21  # bytes: the shortest that looks like a packet with a short header


def stateless_reset_token(key: bytes, connection_id: bytes) -> bytes:
    """The token that goes with a connection ID of ours, from the endpoint's static `key` (RFC 9000 section 10.3.2)."""
    return hmac.digest(key, connection_id, "sha256")[:RESET_TOKEN_LENGTH]


class LocalConnectionIds:
    """IDs that the peer may put into packets to us. `by_sequence` holds those not retired."""

    __slots__ = (
        "_control",
        "_next_sequence",
        "_peer_limit",
        "_register",
        "_reset_key",
        "_rng",
        "_told",
        "_unregister",
        "by_sequence",
        "length",
    )

    def __init__(
        self,
        first: bytes,
        rng: Randomness,
        reset_key: bytes,
        control: ControlFrames,
        register: Callable[[bytes], None],
        unregister: Callable[[bytes], None],
    ) -> None:
        """`first` is the ID of the handshake, sequence number 0; `register` routes an ID to this connection."""
        self._rng = rng
        self._reset_key = reset_key
        self._control = control
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
            sequence = self._next_sequence
            self._next_sequence += 1
            connection_id = self._rng.randbytes(self.length)
            self.by_sequence[sequence] = connection_id
            self._register(connection_id)
            self._control.owe(self, sequence)

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


class RemoteConnectionIds:
    """IDs that the peer gave us to put into packets to it; `current` is in use."""

    __slots__ = (
        "_control",
        "_limit",
        "_retire_prior_to",
        "_retiring",
        "_sequence",
        "_unused",
        "current",
        "reset_tokens",
    )

    def __init__(self, first: bytes, limit: int, control: ControlFrames) -> None:
        """`first` is the ID in use, sequence number 0; `limit` the active_connection_id_limit that we announced."""
        self.current = first
        self._sequence = 0
        self._limit = limit
        self._control = control
        self._unused: dict[int, bytes] = {}
        self._retire_prior_to = 0
        self._retiring: dict[int, None] = {}
        self.reset_tokens: dict[int, bytes] = {}

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
        known = self.current if sequence == self._sequence else self._unused.get(sequence)
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
            if self._sequence < retire_prior_to:
                self._switch()
        if 1 + len(self._unused) > self._limit:
            # rfc9000:5.1.1:6
            raise TransportError(CONNECTION_ID_LIMIT_ERROR, f"more than {self._limit} connection IDs", frame_type)

    def _switch(self) -> None:
        """Use the next unused ID and retire the one in use."""
        self._retire(self._sequence)
        self._sequence = min(self._unused)
        self.current = self._unused.pop(self._sequence)

    def _retire(self, sequence: int) -> None:
        self.reset_tokens.pop(sequence, None)
        self._retiring[sequence] = None
        if len(self._retiring) > MAX_RETIRED_CONNECTION_IDS:
            raise TransportError(CONNECTION_ID_LIMIT_ERROR, "too many connection IDs to retire", NEW_CONNECTION_ID)
        self._control.owe(self, sequence)

    def set_handshake_id(self, connection_id: bytes) -> None:
        """The peer chose its ID in its first packet (rfc9000:7.2:4), or a Retry did."""
        self.current = connection_id

    def set_handshake_reset_token(self, token: bytes) -> None:
        """The token that goes with the server's ID of the handshake, from its transport parameters."""
        self.reset_tokens[0] = token

    def matches_reset(self, datagram: bytes) -> bool:
        """Whether `datagram` ends in the token of the ID in use (rfc9000:10.3.1:3); in constant time."""
        token = self.reset_tokens.get(self._sequence)
        if token is None or len(datagram) < SMALLEST_RESET:
            return False
        return hmac.compare_digest(datagram[-RESET_TOKEN_LENGTH:], token)  # rfc9000:10.3.1:4

    def write_frame(self, key: int) -> bytes:
        """RETIRE_CONNECTION_ID for sequence number `key`."""
        return encode_retire_connection_id(key)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows; the sequence number need not be remembered."""
        self._retiring.pop(sent[1], None)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again."""
        self._control.owe(self, sent[1])
