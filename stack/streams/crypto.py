"""CRYPTO data of one encryption level, both directions (RFC 9000 sections 7.5, 19.6)."""

from stack.errors import CRYPTO_BUFFER_EXCEEDED, TransportError
from stack.limits import MAX_CRYPTO_PIECES
from stack.sent_frame import SentFrame
from stack.streams.reassembly import Reassembly
from stack.streams.send import SendBuffer
from stack.wire.frames import CRYPTO, encode_crypto_header


class CryptoStream:
    """Handshake bytes of one level. Its CRYPTO frames in flight are (self, start, end)."""

    __slots__ = ("_received", "buffer")

    def __init__(self) -> None:
        self.buffer = SendBuffer()
        self._received = Reassembly()

    def receive(self, offset: int, data: bytes, room: int) -> bytes:
        """Take a CRYPTO frame's data, at most `room` bytes ahead of what TLS has; return what is now in order."""
        if offset + len(data) - self._received.received > room:
            raise TransportError(CRYPTO_BUFFER_EXCEEDED, f"CRYPTO data at offset {offset}", CRYPTO)
        self._received.add(offset, data)
        if self._received.waiting > MAX_CRYPTO_PIECES:
            raise TransportError(CRYPTO_BUFFER_EXCEEDED, "CRYPTO data in too many pieces", CRYPTO)
        return self._received.take()

    @property
    def received(self) -> int:
        """Bytes that came without a gap."""
        return self._received.received

    def write(self, room: int, parts: list[bytes | bytearray], sent_frames: list[SentFrame]) -> int:
        """Put CRYPTO frames into `parts` as long as they fit into `room` bytes; return the bytes used."""
        buffer = self.buffer
        used = 0
        while buffer.pending and room - used > 12:  # a frame's header takes at most 11 bytes here
            start, end = buffer.next_range(room - used - 11, buffer.written)
            header = encode_crypto_header(start, end - start)
            parts.append(header)
            parts.append(buffer.slice(start, end))
            sent_frames.append((self, start, end))
            used += len(header) + end - start
        return used

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer has these bytes."""
        self.buffer.on_acked(sent[1], sent[2])

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """These bytes go again."""
        self.buffer.on_lost(sent[1], sent[2])
