"""What both ends of an HTTP/3 connection have in common: the control stream, the QPACK streams, errors (RFC 9114)."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from quicsim.connection import Connection
from quicsim.h3 import wire
from quicsim.h3.errors import Code, H3ConnectionError
from quicsim.h3.qpack import SETTINGS, Fields, Qpack
from quicsim.h3.reader import FrameReader
from quicsim.net import Net
from quicsim.stream import Stream
from stack.errors import ConnectionClosed, QuicError, StreamReset, StreamStopped
from stack.wire.varint import encode_varint

MAX_SETTINGS: Final = 4_096  # bytes of a SETTINGS frame
MAX_UNSENT: Final = 65_536  # bytes of instructions that a peer may make us keep by not reading
_RESERVED_SETTING: Final = {0x21: 0}  # rfc9114:7.2.4.1:1
_NUMBER: Final = 8  # bytes of the longest number
_MOST_URGENT: Final = 0
_CRITICAL: Final = {wire.CONTROL: "control", wire.QPACK_ENCODER: "QPACK encoder", wire.QPACK_DECODER: "QPACK decoder"}
_IDS: Final = {wire.GOAWAY: "GOAWAY", wire.MAX_PUSH_ID: "MAX_PUSH_ID", wire.CANCEL_PUSH: "CANCEL_PUSH"}


class H3Connection:
    """HTTP/3 on an established QUIC connection; `Client` and `Server` build on it.

    `on_request` is given the bidirectional streams that the peer opens, None where it may open none. Errors of the peer
    close the connection with a code of RFC 9114.
    """

    def __init__(self, net: Net, conn: Connection, on_request: Callable[[Stream], object] | None) -> None:
        self.conn: Final = conn
        self.net: Final = net
        self.settings: dict[int, int] | None = None  # the peer's, once it has told them
        self.goaway: int | None = None  # what the peer's last GOAWAY said: the first request that it does not take
        self.qpack: Final = Qpack(conn.new_future, lambda data: self._send(wire.QPACK_DECODER, data))
        self._on_request = on_request
        self._max_push_id: int | None = None
        self._received: set[int] = set()  # types of the critical streams that the peer has opened
        self._sending: dict[int, OwnStream] = {}

    @property
    def is_client(self) -> bool:
        """Whether this is the client's end."""
        return self._on_request is None

    async def start(self) -> None:
        """Open the control and the QPACK streams, send settings, and take what the peer opens from now on."""
        self.net.spawn(self.run, self._accept)
        self.net.spawn(self._watch)
        for kind in _CRITICAL:
            stream = await self.conn.open_stream(unidirectional=True)
            stream.set_priority(_MOST_URGENT)  # what a section refers to never waits behind it (rfc9204:2.1.3:1)
            self.net.spawn(self.run, self._keep, kind, stream)
            self._sending[kind] = own = OwnStream(stream)
            first = wire.encode_settings(SETTINGS | _RESERVED_SETTING) if kind == wire.CONTROL else b""
            await own.send(encode_varint(kind) + first)  # rfc9114:6.2.1:1

    async def send_fields(self, stream: Stream, fields: Fields, *, more: bytes = b"", end: bool = False) -> None:
        """Write a HEADERS frame, and what may follow it."""
        instructions, section = self.qpack.encode(stream.id, fields)
        await self._send(wire.QPACK_ENCODER, instructions)
        await stream.write(wire.encode_frame(wire.HEADERS, section) + more, end)

    async def send_goaway(self, identifier: int) -> None:
        """Tell the peer that requests (or pushes) from this number on will not be processed (RFC 9114 section 5.2)."""
        await self._send(wire.CONTROL, wire.encode_frame(wire.GOAWAY, encode_varint(identifier)))

    async def run(self, _: Net, job: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run a job of this connection, to be spawned: what the peer does wrong ends it as RFC 9114 says."""
        try:
            await job(*arguments)
        except H3ConnectionError as error:
            self.conn.close(error.code, error.reason)
        except QuicError:
            return  # the connection has ended

    # What we send

    async def _send(self, kind: int, data: bytes) -> None:
        if data and kind in self._sending:
            await self._sending[kind].send(data)

    async def _keep(self, kind: int, stream: Stream) -> None:
        """See that the peer does not ask us to end a stream that is needed."""
        try:
            await stream.wait_sent()
        except StreamStopped:  # rfc9114:6.2.1:5, rfc9204:4.2:4
            raise H3ConnectionError(Code.H3_CLOSED_CRITICAL_STREAM, f"the {_CRITICAL[kind]} stream is needed") from None

    # What we receive

    async def _accept(self) -> None:
        while True:
            stream = await self.conn.accept_stream()
            if stream.unidirectional:
                self.net.spawn(self.run, self._receive, stream)
            elif self._on_request is None:  # rfc9114:6.1:3
                raise H3ConnectionError(Code.H3_STREAM_CREATION_ERROR, "a server opens no bidirectional streams")
            else:
                self._on_request(stream)

    async def _watch(self, net: Net) -> None:
        await self.conn.wait_closed()
        self.qpack.on_closed(lambda: ConnectionClosed(0, "the connection has ended", application=True))

    async def _receive(self, stream: Stream) -> None:
        """Take a unidirectional stream of the peer's to its end."""
        reader = FrameReader(stream)
        try:
            kind = await reader.number()
        except (StreamReset, H3ConnectionError):
            return  # rfc9114:6.2:10 it may end before its type is known
        if kind not in _CRITICAL:
            self._refuse(stream, kind)
            return
        if kind in self._received:  # rfc9114:6.2.1:3, rfc9204:4.2:2
            raise H3ConnectionError(Code.H3_STREAM_CREATION_ERROR, f"a second {_CRITICAL[kind]} stream")
        self._received.add(kind)
        try:
            if kind == wire.CONTROL:
                await self._control(reader)
            else:
                feed = self.qpack.on_encoder_data if kind == wire.QPACK_ENCODER else self.qpack.on_decoder_data
                while data := await reader.some(MAX_SETTINGS):
                    feed(data)
        except StreamReset:
            pass
        # rfc9114:6.2.1:5, rfc9204:4.2:4
        raise H3ConnectionError(Code.H3_CLOSED_CRITICAL_STREAM, f"the {_CRITICAL[kind]} stream has ended")

    def _refuse(self, stream: Stream, kind: int | None) -> None:
        """No stream that we know, or a push that nobody allowed."""
        if kind == wire.PUSH:
            if self.is_client:  # rfc9114:4.6:2
                raise H3ConnectionError(Code.H3_ID_ERROR, "a push stream, though no push was allowed")
            raise H3ConnectionError(Code.H3_STREAM_CREATION_ERROR, "a client opens no push streams")
        if kind is not None:
            stream.stop(Code.H3_STREAM_CREATION_ERROR)  # rfc9114:6.2:5

    async def _control(self, reader: FrameReader) -> None:
        """Handle frames until the control stream ends, which it must not."""
        while (frame := await reader.frame()) is not None:
            kind, size = frame
            if (kind == wire.SETTINGS) != (self.settings is None):
                if self.settings is None:  # rfc9114:6.2.1:2
                    raise H3ConnectionError(Code.H3_MISSING_SETTINGS, "the first frame must be SETTINGS")
                raise H3ConnectionError(Code.H3_FRAME_UNEXPECTED, "SETTINGS come once")  # rfc9114:7.2.4:2
            if kind == wire.SETTINGS:
                if size > MAX_SETTINGS:
                    raise H3ConnectionError(Code.H3_EXCESSIVE_LOAD, f"SETTINGS of {size} bytes are too many")
                self.settings = wire.decode_settings(await reader.exactly(size))
                await self._send(wire.QPACK_ENCODER, self.qpack.on_settings(self.settings))
            elif kind in _IDS:
                if size > _NUMBER:
                    raise H3ConnectionError(Code.H3_FRAME_ERROR, f"{_IDS[kind]} of {size} bytes is too long")
                self._identifier(kind, wire.decode_id(await reader.exactly(size), _IDS[kind]))
            elif kind in (wire.DATA, wire.HEADERS, wire.PUSH_PROMISE) or kind in wire.OF_HTTP2:
                raise H3ConnectionError(Code.H3_FRAME_UNEXPECTED, f"a frame of type 0x{kind:x} on the control stream")
            else:
                await reader.skip(size)  # rfc9114:7.2.8:2

    def _identifier(self, kind: int, number: int) -> None:
        if kind == wire.CANCEL_PUSH:  # rfc9114:7.2.3:8, rfc9114:7.2.3:9
            raise H3ConnectionError(Code.H3_ID_ERROR, "CANCEL_PUSH of a push that was never promised")
        if kind == wire.MAX_PUSH_ID:
            if self.is_client:  # rfc9114:7.2.7:3
                raise H3ConnectionError(Code.H3_FRAME_UNEXPECTED, "a server sends no MAX_PUSH_ID")
            if self._max_push_id is not None and number < self._max_push_id:  # rfc9114:7.2.7:4
                raise H3ConnectionError(Code.H3_ID_ERROR, "MAX_PUSH_ID must not become less")
            self._max_push_id = number
            return
        if self.is_client and number % 4:  # rfc9114:7.2.6:1
            raise H3ConnectionError(Code.H3_ID_ERROR, f"GOAWAY with {number}, which is no request's stream")
        if self.goaway is not None and number > self.goaway:  # rfc9114:5.2:9
            raise H3ConnectionError(Code.H3_ID_ERROR, "GOAWAY must not name more than the one before")
        self.goaway = number


class OwnStream:
    """A unidirectional stream of ours, on which several jobs send, each piece as a whole."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting = bytearray()
        self._busy = False

    async def send(self, data: bytes) -> None:
        """Send `data` after what was sent before; returns at once when somebody else is sending already.

        Raises StreamStopped, ConnectionClosed, and H3ConnectionError when the peer leaves too much unread.
        """
        self._waiting += data
        if len(self._waiting) > MAX_UNSENT:
            raise H3ConnectionError(Code.H3_EXCESSIVE_LOAD, "too much waits to be read by the peer")
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                piece = bytes(self._waiting)
                self._waiting.clear()
                await self._stream.write(piece)
        finally:
            self._busy = False
