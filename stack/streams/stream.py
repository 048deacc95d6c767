"""A stream of the table: its ID's bits and its two parts (RFC 9000 section 2.1)."""

from typing import Final

from stack.streams.receive import ReceiveStream
from stack.streams.send import SendStream

SERVER_INITIATED: Final = 1  # bit 0 of a stream ID
UNIDIRECTIONAL: Final = 2  # bit 1


class Stream:
    """Both parts of a stream; a unidirectional one has only the part that exists here."""

    __slots__ = ("receive", "send", "stop_code", "stream_id")

    def __init__(self, stream_id: int, send: SendStream | None, receive: ReceiveStream | None) -> None:
        self.stream_id = stream_id
        self.send = send
        self.receive = receive
        self.stop_code = 0

    @property
    def finished(self) -> bool:
        """Whether both parts reached a terminal state."""
        return (self.send is None or self.send.finished) and (self.receive is None or self.receive.finished)
