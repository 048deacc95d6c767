"""Answering PATH_CHALLENGE (RFC 9000 section 8.2)."""

from typing import TYPE_CHECKING

from stack.control import ControlFrames
from stack.limits import MAX_PATH_RESPONSES
from stack.sent_frame import SentFrame
from stack.wire.frames import PATH_DATA_LENGTH, encode_path_response
from stack.wire.varint import Truncated

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket


class PathValidation:
    """The challenges received whose answers may still be under way."""

    __slots__ = ("_challenges", "_control", "_expand", "_next_key")

    def __init__(self, control: ControlFrames) -> None:
        self._control = control
        self._challenges: dict[int, bytes] = {}  # by key, until the fate of the response is known
        self._next_key = 0
        self._expand = False  # a response was put into the packet being made

    def on_challenge_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """PATH_CHALLENGE: owe the echo of its data (rfc9000:8.2.2:1); floods are dropped."""
        end = position + PATH_DATA_LENGTH
        if end > len(payload):
            raise Truncated("PATH_CHALLENGE ends inside its data")
        if len(self._challenges) < MAX_PATH_RESPONSES:
            self._next_key += 1
            self._challenges[self._next_key] = payload[position:end]
            self._control.owe(self, self._next_key)
        return end

    def on_response_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """PATH_RESPONSE to a challenge that was never sent: ignored (rfc9000:19.18:1 leaves the choice)."""
        end = position + PATH_DATA_LENGTH
        if end > len(payload):
            raise Truncated("PATH_RESPONSE ends inside its data")
        return end

    def write_frame(self, key: int) -> bytes:
        """The response to challenge number `key`."""
        self._expand = True
        return encode_path_response(self._challenges[key])

    def take_expand(self) -> bool:
        """Whether a response was written since the last call, so that its datagram must be 1200 bytes or more."""
        expand, self._expand = self._expand, False
        return expand

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The response arrived."""
        self._challenges.pop(sent[1], None)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Not repeated: the challenger asks again (rfc9000:8.2.2:7)."""
        self._challenges.pop(sent[1], None)
