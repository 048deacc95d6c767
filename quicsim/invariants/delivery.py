"""Stream data from application to application: every byte once, in order, as it was written."""

from collections.abc import Callable
from typing import Final

_KEEP: Final = 65_536  # bytes that were read may wait at the front before the buffer is moved up


class StreamData:
    """One direction of one stream: what one end wrote and the other has not read yet."""

    __slots__ = ("ended_at", "read", "start", "waiting", "written")

    def __init__(self) -> None:
        self.written = self.read = 0  # offsets
        self.ended_at: int | None = None
        self.waiting = bytearray()  # from offset `start` on
        self.start = 0


class Delivery:
    """The stream data of one connection, by (whether the client writes, stream ID)."""

    def __init__(self) -> None:
        self._streams: dict[tuple[bool, int], StreamData] = {}

    def on_written(self, from_client: bool, stream_id: int, data: bytes, end: bool) -> None:
        """An application has written."""
        stream = self._streams.setdefault((from_client, stream_id), StreamData())
        stream.waiting += data
        stream.written += len(data)
        if end:
            stream.ended_at = stream.written

    def on_read(
        self, from_client: bool, stream_id: int, offset: int, data: bytes, end: bool, fail: Callable[[str], None]
    ) -> None:
        """An application has read what the client (`from_client`) or the server wrote."""
        stream = self._streams.setdefault((from_client, stream_id), StreamData())
        if offset != stream.read:
            fail(f"stream {stream_id}: bytes from offset {offset} were delivered after those up to {stream.read}")
        stream.read = offset + len(data)
        at = offset - stream.start
        if stream.read > stream.written:
            fail(f"stream {stream_id}: bytes up to {stream.read} were delivered, but {stream.written} written")
        elif stream.waiting[at : at + len(data)] != data:
            fail(f"stream {stream_id}: what was delivered from offset {offset} on is not what was written there")
        if at + len(data) >= _KEEP:
            del stream.waiting[: at + len(data)]
            stream.start = stream.read
        if end and stream.read != stream.ended_at:
            fail(f"stream {stream_id}: ended at {stream.read} for its reader, at {stream.ended_at} for its writer")
