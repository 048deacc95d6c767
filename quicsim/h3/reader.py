"""Reads what HTTP/3 streams are made of: numbers, frame headers and payloads."""

from typing import Final

from quicsim.h3.errors import Code, H3ConnectionError
from quicsim.stream import Stream

BLOCK: Final = 262_144  # bytes that are asked for at a time


class FrameReader:
    """The bytes of a stream, in the pieces that a parser asks for.

    All its calls raise StreamReset and ConnectionClosed, and H3ConnectionError where the stream ends too early
    (RFC 9114 section 7.1).
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Final = stream
        self._data = b""
        self._position = 0

    async def number(self) -> int | None:
        """Return a variable-length integer; None where the stream ends before it."""
        first = await self.some(1)
        if not first:
            return None
        size = 1 << (first[0] >> 6)
        rest = await self.exactly(size - 1)
        return int.from_bytes(first + rest) & ((1 << (8 * size - 2)) - 1)

    async def frame(self) -> tuple[int, int] | None:
        """Return type and length of the next frame; None at the stream's end. Its payload is to be read next."""
        kind = await self.number()
        if kind is None:
            return None
        size = await self.number()
        if size is None:
            raise _truncated()
        return kind, size

    async def exactly(self, size: int) -> bytes:
        """Return `size` bytes."""
        parts = []
        while size:
            part = await self.some(size)
            if not part:
                raise _truncated()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    async def some(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes, as soon as there are any; b"" at the stream's end."""
        if self._position == len(self._data):
            self._data, self._position = await self._stream.read(BLOCK), 0
        end = min(self._position + limit, len(self._data))
        part = self._data[self._position : end]
        self._position = end
        return part

    async def skip(self, size: int) -> None:
        """Throw `size` bytes away."""
        while size:
            part = await self.some(min(size, BLOCK))
            if not part:
                raise _truncated()
            size -= len(part)


def _truncated() -> H3ConnectionError:
    return H3ConnectionError(Code.H3_FRAME_ERROR, "the stream ends inside a frame")
