"""Field compression (RFC 9204) by pylsqpack, joined with the streams of a connection."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from quicsim.futures import Future, NewFuture
from quicsim.h3 import wire
from quicsim.h3.errors import Code, H3ConnectionError

try:
    import pylsqpack
except ImportError as error:
    raise ImportError("HTTP/3 needs pylsqpack: pip install 'quicsim[h3]'") from error

Fields = list[tuple[bytes, bytes]]

# A field line of one byte may stand for a whole entry of the table, so the largest section that a peer can make us
# hold is the one times the other: 16 MB, until it is found too large.
MAX_TABLE_CAPACITY: Final = 1024  # bytes
MAX_SECTION: Final = 16_384  # bytes, compressed and not
MAX_BLOCKED_STREAMS: Final = 16
MAX_ENCODER_TABLE: Final = 65_536  # bytes; a peer that offers more gets the static table only
_EMPTY: Final = b"\0\0"  # a section without fields, which pylsqpack takes for an error
_LINE_OVERHEAD: Final = 32  # bytes that a field line counts more than its name and value (RFC 9114 section 4.2.2)

SETTINGS: Final[dict[int, int]] = {
    wire.QPACK_MAX_TABLE_CAPACITY: MAX_TABLE_CAPACITY,
    wire.MAX_FIELD_SECTION_SIZE: MAX_SECTION,
    wire.QPACK_BLOCKED_STREAMS: MAX_BLOCKED_STREAMS,
}


class Qpack:
    """Both directions of a connection. What it returns as instructions goes to the peer before anything else.

    Until the peer's settings are known, nothing but the static table is used.
    """

    def __init__(self, new_future: NewFuture, acknowledge: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        """`acknowledge` sends on the decoder stream."""
        self._new_future = new_future
        self._acknowledge = acknowledge
        self._encoder = pylsqpack.Encoder()
        self._decoder = pylsqpack.Decoder(MAX_TABLE_CAPACITY, MAX_BLOCKED_STREAMS)
        self._blocked: dict[int, Future[None]] = {}

    def on_settings(self, settings: Mapping[int, int]) -> bytes:
        """Return instructions for the peer's decoder, now that its limits are known."""
        capacity = settings.get(wire.QPACK_MAX_TABLE_CAPACITY, 0)
        if capacity > MAX_ENCODER_TABLE:
            capacity = 0
        blocked = min(settings.get(wire.QPACK_BLOCKED_STREAMS, 0), MAX_BLOCKED_STREAMS)
        return self._encoder.apply_settings(capacity, blocked)

    def encode(self, stream_id: int, fields: Fields) -> tuple[bytes, bytes]:
        """Return instructions for the peer's decoder, and the field section."""
        return self._encoder.encode(stream_id, fields)

    async def decode(self, stream_id: int, section: bytes) -> Fields:
        """Return the fields of a section, when the entries that it names are there. Raises H3ConnectionError."""
        if section == _EMPTY:
            return []
        try:
            instructions, fields = self._decoder.feed_header(stream_id, section)
        except pylsqpack.StreamBlocked:
            future = self._new_future(f"entries of the QPACK table for stream {stream_id}")
            self._blocked[stream_id] = future
            await future
            instructions, fields = self._resume(stream_id)
        except (pylsqpack.DecompressionFailed, ValueError):  # rfc9204:2.2.3:1
            raise _failed(stream_id) from None
        await self._acknowledge(instructions)
        return fields

    def _resume(self, stream_id: int) -> tuple[bytes, Fields]:
        try:
            return self._decoder.resume_header(stream_id)
        except (pylsqpack.DecompressionFailed, ValueError):
            raise _failed(stream_id) from None

    async def cancel(self, stream_id: int) -> None:
        """No more sections of this stream will be decoded."""
        await self._acknowledge(self._decoder.cancel_stream(stream_id))

    def on_encoder_data(self, data: bytes) -> None:
        """The peer's encoder has sent instructions. Raises H3ConnectionError."""
        try:
            unblocked = self._decoder.feed_encoder(data)
        except pylsqpack.EncoderStreamError:
            raise H3ConnectionError(Code.QPACK_ENCODER_STREAM_ERROR, "not an instruction of an encoder") from None
        for stream_id in unblocked:
            self._blocked.pop(stream_id).set_result(None)

    def on_decoder_data(self, data: bytes) -> None:
        """The peer's decoder has sent instructions. Raises H3ConnectionError."""
        try:
            self._encoder.feed_decoder(data)
        except pylsqpack.DecoderStreamError:
            raise H3ConnectionError(Code.QPACK_DECODER_STREAM_ERROR, "not an instruction of a decoder") from None

    def on_closed(self, failure: Callable[[], Exception]) -> None:
        """The connection has ended: raise `failure()` in those who wait."""
        for future in self._blocked.values():
            if not future.done():
                future.set_exception(failure())
        self._blocked.clear()


def section_size(fields: Fields) -> int:
    """The size of a field section as SETTINGS_MAX_FIELD_SECTION_SIZE counts it."""
    return sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in fields)


def _failed(stream_id: int) -> H3ConnectionError:
    return H3ConnectionError(Code.QPACK_DECOMPRESSION_FAILED, f"the field section on stream {stream_id} can't be read")
