"""One message as it comes on a stream: header fields, content, trailer fields (RFC 9114 section 4.1)."""

from typing import Final

from quicsim.h3 import wire
from quicsim.h3.errors import Code, H3ConnectionError, H3StreamError
from quicsim.h3.fields import Check, check_trailers, content_length
from quicsim.h3.qpack import MAX_SECTION, Fields, Qpack, section_size
from quicsim.h3.reader import FrameReader
from quicsim.stream import Stream
from stack.errors import StreamReset


class MessageReader:
    """Reads the messages of one stream: `headers` for each, then `read` until the content of the last has ended.

    Their errors: H3ConnectionError, H3StreamError for malformed messages, StreamReset, ConnectionClosed.
    `trailers` are there when the content has ended, `ended` tells whether it has, or can't be read on.
    """

    def __init__(self, stream: Stream, qpack: Qpack, *, from_server: bool) -> None:
        self.ended = False
        self.trailers: Fields = []
        self._reader: Final = FrameReader(stream)
        self._stream_id: Final = stream.id
        self._qpack: Final = qpack
        self._from_server: Final = from_server
        self._in_trailers = False
        self._frame_left = 0  # bytes of the DATA frame that is being read
        self._content_left: int | None = None  # bytes, where content-length said so

    async def headers(self, check: Check) -> Fields | None:
        """Return the next header fields; None when the stream ends before them."""
        try:
            while (frame := await self._reader.frame()) is not None:
                kind, size = frame
                if kind == wire.HEADERS:
                    return await self._section(size, check)
                await self._pass_over(kind, size)
        except StreamReset:
            await self._qpack.cancel(self._stream_id)  # rfc9204:2.2.2.2:1
            raise
        return None

    def expect(self, fields: Fields, *, empty: bool = False) -> None:
        """The content that follows belongs to these header fields, or can't be there as after HEAD.

        Raises H3StreamError when their content-length makes no sense.
        """
        length = content_length(fields)
        self._content_left = 0 if empty else length

    async def read(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes of content; b"" at its end."""
        try:
            while not self.ended:
                if self._frame_left:
                    return await self._data(limit)
                await self._next_frame()
        except StreamReset:
            await self._qpack.cancel(self._stream_id)
            raise
        return b""

    async def _data(self, limit: int) -> bytes:
        data = await self._reader.some(min(limit, self._frame_left))
        if not data:
            raise H3ConnectionError(Code.H3_FRAME_ERROR, "the stream ends inside a DATA frame")  # rfc9114:7.1:4
        self._frame_left -= len(data)
        if self._content_left is not None:
            self._content_left -= len(data)
            if self._content_left < 0:
                raise H3StreamError(Code.H3_MESSAGE_ERROR, "there is more content than content-length says")
        return data

    async def _next_frame(self) -> None:
        frame = await self._reader.frame()
        if frame is None:
            self.ended = True
            if self._content_left:
                raise H3StreamError(Code.H3_MESSAGE_ERROR, "there is less content than content-length says")
            return
        kind, size = frame
        if kind in (wire.DATA, wire.HEADERS) and self._in_trailers:
            raise _unexpected(kind)  # rfc9114:4.1:3
        if kind == wire.DATA:
            self._frame_left = size
        elif kind == wire.HEADERS:
            self._in_trailers = True
            self.trailers = await self._section(size, check_trailers)
        else:
            await self._pass_over(kind, size)

    async def _section(self, size: int, check: Check) -> Fields:
        if size > MAX_SECTION:
            self.ended = True  # as far as it can be read
            await self._qpack.cancel(self._stream_id)
            raise H3StreamError(Code.H3_EXCESSIVE_LOAD, f"a field section of {size} bytes is too large")
        fields = await self._qpack.decode(self._stream_id, await self._reader.exactly(size))
        if section_size(fields) > MAX_SECTION:
            raise H3StreamError(Code.H3_EXCESSIVE_LOAD, f"a field section of {section_size(fields)} bytes is too large")
        check(fields)
        return fields

    async def _pass_over(self, kind: int, size: int) -> None:
        """Skip a frame of an unknown type, which may come anywhere."""
        if kind == wire.PUSH_PROMISE and self._from_server:
            raise H3ConnectionError(Code.H3_ID_ERROR, "PUSH_PROMISE, though no push was allowed")  # rfc9114:7.2.5:2
        if kind in (wire.DATA, wire.HEADERS, wire.PUSH_PROMISE) or kind in wire.OF_CONTROL_STREAM | wire.OF_HTTP2:
            raise _unexpected(kind)
        await self._reader.skip(size)


def _unexpected(kind: int) -> H3ConnectionError:
    return H3ConnectionError(Code.H3_FRAME_UNEXPECTED, f"a frame of type 0x{kind:x} must not come here")
