"""NEW_TOKEN: what spares the client's next connection the validation of its address (RFC 9000 sections 8.1.3, 19.7)."""

from typing import TYPE_CHECKING

from stack.errors import FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION, TransportError
from stack.events import NewToken
from stack.limits import MAX_NEW_TOKENS, MAX_TOKEN_LENGTH
from stack.sent_frame import SentFrame
from stack.wire.frames import encode_new_token
from stack.wire.varint import Truncated, decode_varint

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.dispatch import ReceivedPacket


class NewTokens:
    """The tokens of one connection: those that a server gives, or those that a client got."""

    __slots__ = ("_connection", "_given", "_next_key", "_received")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._given: dict[int, bytes] = {}  # by key, until the client has it
        self._next_key = 0
        self._received: list[bytes] = []

    def offer(self, now: int) -> None:
        """A server gives the client a token for its next connection from the address that it has now."""
        connection = self._connection
        if connection.config.new_token and len(self._given) < MAX_NEW_TOKENS:
            self._next_key += 1
            self._given[self._next_key] = connection.endpoint.new_token(connection, now)
            connection.control.owe(self, self._next_key)

    def on_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """NEW_TOKEN: for the application and connections to come, each token once (RFC 9000 section 19.7)."""
        if not self._connection.is_client:
            # rfc9000:19.7:4
            raise TransportError(PROTOCOL_VIOLATION, "NEW_TOKEN from a client", frame_type)
        length, position = decode_varint(payload, position)
        if length == 0:
            # rfc9000:19.7:2
            raise TransportError(FRAME_ENCODING_ERROR, "NEW_TOKEN without a token", frame_type)
        end = position + length
        if end > len(payload):
            raise Truncated("NEW_TOKEN ends inside its token")
        token = payload[position:end]
        if length <= MAX_TOKEN_LENGTH and len(self._received) < MAX_NEW_TOKENS and token not in self._received:
            self._received.append(token)
            connection = self._connection
            connection.emit(NewToken(token, connection.version.number, connection.path.remote))
        return end

    def write_frame(self, key: int) -> bytes:
        """NEW_TOKEN, the same one when it was lost (rfc9000:8.1.3:7)."""
        return encode_new_token(self._given[key])

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The client has the token."""
        self._given.pop(sent[1], None)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """It must arrive (RFC 9000 section 13.3)."""
        if sent[1] in self._given:
            self._connection.control.owe(self, sent[1])
