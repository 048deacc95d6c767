"""Giving up a stream, but not its beginning (draft-ietf-quic-reliable-stream-reset)."""

from typing import TYPE_CHECKING

from stack.control import ControlFrames
from stack.sent_frame import SentFrame
from stack.wire.frames import encode_reset_stream_at

if TYPE_CHECKING:
    from stack.streams.send import SendStream


class ReliableReset:
    """The promise that a stream's first `size` bytes arrive, and nothing after. RESET_STREAM_AT in flight is (self, 0).

    The frame names the final size, which must be within the peer's limits: so it goes once all that the stream will
    ever send was sent. A promise of fewer bytes takes the place of one of more; that one then says nothing any more.
    """

    __slots__ = ("_control", "_stream", "_told", "acked", "size")

    def __init__(self, stream: "SendStream", size: int, control: ControlFrames) -> None:
        self._stream = stream
        self._control = control
        self._told = False
        self.size = size
        self.acked = False

    def on_all_sent(self) -> None:
        """Everything that is to be sent was sent at least once."""
        if not self._told:
            self._told = True
            self._control.owe(self, 0)

    def write_frame(self, key: int) -> bytes:
        """RESET_STREAM_AT, unless it arrived or does not count any more."""
        stream = self._stream
        if self.acked or stream.reliable is not self or stream.finished or stream.reset_code is None:
            return b""
        stream.on_end_sent()
        return encode_reset_stream_at(stream.stream_id, stream.reset_code, stream.buffer.next_offset, self.size)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer knows where the stream ends."""
        self.acked = True
        self._stream.finish_if_delivered()

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Say it again."""
        self._control.owe(self, 0)
