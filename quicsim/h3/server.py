"""The server's end of HTTP/3: a handler for each request."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from quicsim.connection import Connection, Listener
from quicsim.futures import Future
from quicsim.h3 import wire
from quicsim.h3.connection import H3Connection
from quicsim.h3.errors import Code, H3ConnectionError, H3StreamError
from quicsim.h3.fields import check_request
from quicsim.h3.message import MessageReader
from quicsim.h3.priorities import parse_priority
from quicsim.h3.qpack import Fields
from quicsim.h3.reader import BLOCK
from quicsim.net import Net
from quicsim.stream import Stream
from stack.errors import QuicError
from stack.observer import Address

TOO_LARGE: Final = 431  # status: Request Header Fields Too Large
_MAX_REST: Final = 65_536  # bytes of content that nobody asked for, and that are still taken


class Request:
    """A request, and the response to it: `respond`, then `write` the content and `finish`.

    Its waiting calls raise StreamReset and StreamStopped when the client does not want it any more, H3StreamError for
    malformed content, and ConnectionClosed.
    """

    def __init__(
        self, h3: H3Connection, stream: Stream, reader: MessageReader, fields: Fields, method: str, path: str
    ) -> None:
        self.method: Final = method
        self.path: Final = path
        self.fields: Final = fields
        self.responded = False
        self.finished = False
        self._h3 = h3
        self._stream = stream
        self._reader = reader
        self._content_left: int | None = None

    @property
    def client(self) -> Address:
        """Where the client is now."""
        return self._h3.conn.path.remote

    def field(self, name: str) -> str | None:
        """The value of the first field of that name, such as ":authority"."""
        return next((value.decode(errors="replace") for each, value in self.fields if each == name.encode()), None)

    async def read(self, limit: int = BLOCK) -> bytes:
        """Return 1 to `limit` bytes of the request's content; b"" at its end."""
        return await self._reader.read(limit)

    async def respond(
        self, status: int, fields: Iterable[tuple[str, str]] = (), *, length: int | None = None, content: bytes = b""
    ) -> None:
        """Send status and fields.

        With `content`, that is all of it; with `length` so many bytes will be written, or none as after HEAD. Without
        both, they are as many as come until `finish`.
        """
        self.responded = True
        sent = [(b":status", b"%d" % status)]
        sent += [(name.encode(), value.encode()) for name, value in fields]
        if content:
            length = len(content)
        if length is not None:
            sent.append((b"content-length", b"%d" % length))
        self._content_left = length
        if self.method == "HEAD" or length == 0:
            await self._h3.send_fields(self._stream, sent, end=True)
            self.finished = True
            return
        more = b"" if length is None else wire.frame_header(wire.DATA, length)  # one frame, however long
        self.finished = bool(content)
        await self._h3.send_fields(self._stream, sent, more=more + content, end=self.finished)

    async def write(self, data: bytes) -> None:
        """Write some of the response's content; after HEAD it goes nowhere."""
        if self.method == "HEAD":
            return
        if self._content_left is None:
            await self._stream.write(wire.frame_header(wire.DATA, len(data)) + data)
            return
        self._content_left -= len(data)
        if self._content_left < 0:
            raise ValueError("more content is written than the response said")
        await self._stream.write(data)

    async def finish(self) -> None:
        """End the response; gives it up when it is shorter than it said."""
        if self.finished:
            return
        if self._content_left:
            self.abort(Code.H3_INTERNAL_ERROR)
            return
        self.finished = True
        await self._stream.finish()  # rfc9114:4.1:11

    def abort(self, code: Code = Code.H3_REQUEST_CANCELLED) -> None:
        """Give the response up."""
        self.finished = True
        try:
            self._stream.reset(code)
        except QuicError:
            return  # it is over already, or the connection is


Handler = Callable[[Request], Coroutine[Any, Any, None]]


class Server:
    """Answers requests by `handler(request)`, on all connections that it is given.

        server = h3.Server(net, handler)
        listener = await net.listen(443, credentials, alpn=(h3.ALPN,))
        await server.serve(listener)

    `take` serves one connection alone, and `shut_down` ends them all properly.
    """

    def __init__(self, net: Net, handler: Handler) -> None:
        self._net: Final = net
        self._handler: Final = handler
        self._connections: dict[ServerConnection, None] = {}

    async def serve(self, listener: Listener) -> None:
        """Take every connection of a listener, for ever."""
        while True:
            self.take(await listener.accept())

    def take(self, conn: Connection) -> None:
        """Serve a connection beside the others, until it ends."""
        self._net.spawn(self._run, ServerConnection(self._net, conn, self._handler))

    async def _run(self, _: Net, connection: "ServerConnection") -> None:
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    @property
    def active(self) -> int:
        """How many requests are being answered."""
        return sum(connection.active for connection in self._connections)

    async def shut_down(self, patience_ns: int) -> None:
        """Take no more requests, finish those that have come, but for no longer than this, and close (GOAWAY)."""
        connections = list(self._connections)
        for connection in connections:
            await connection.go_away()
        ends_at = self._net.now + patience_ns
        for connection in connections:
            await connection.wait_idle(ends_at)
            connection.conn.close(Code.H3_NO_ERROR)  # rfc9114:5.2:12


class ServerConnection:
    """One client; `active` requests of its are being answered."""

    def __init__(self, net: Net, conn: Connection, handler: Handler) -> None:
        self.conn: Final = conn
        self.active = 0
        self._net = net
        self._handler = handler
        self._h3 = H3Connection(net, conn, self._on_request)
        self._next_id = 0  # of the first stream that has not come yet
        self._going_away = False
        self._idle: Future[None] | None = None

    async def run(self) -> None:
        """Serve until the connection ends."""
        await self._h3.run(self._net, self._h3.start)
        await self.conn.wait_closed()

    async def go_away(self) -> None:
        """Take no more requests, and say so."""
        self._going_away = True
        await self._h3.run(self._net, self._h3.send_goaway, self._next_id)

    async def wait_idle(self, until: int) -> None:
        """Wait until no request is being answered, or the time `until`."""
        if self.active and self.conn.ended is None:
            self._idle = self.conn.new_future("the last response")
            self._net.spawn(self._stop_waiting, until)
            await self._idle

    async def _stop_waiting(self, net: Net, until: int) -> None:
        await net.sleep(max(until - net.now, 0))
        self._wake()

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _on_request(self, stream: Stream) -> None:
        if self._going_away:  # rfc9114:4.1.1:4, rfc9114:5.2:3
            _abandon(stream, Code.H3_REQUEST_REJECTED)
            return
        self._next_id = max(self._next_id, stream.id + 4)
        self.active += 1
        self._net.spawn(self._h3.run, self._answer, stream)

    async def _answer(self, stream: Stream) -> None:
        reader = MessageReader(stream, self._h3.qpack, from_server=False)
        try:
            await self._handle(stream, reader)
            await stream.wait_sent()
        except H3StreamError as error:
            _abandon(stream, error.code)
            return
        except H3ConnectionError:
            raise
        except QuicError:
            _abandon(stream, Code.H3_REQUEST_CANCELLED)  # the client does not want it, or has gone
            return
        finally:
            self.active -= 1
            if not self.active:
                self._wake()
        await self._drain(stream, reader)

    async def _handle(self, stream: Stream, reader: MessageReader) -> None:
        try:
            fields = await reader.headers(check_request)
        except H3StreamError as error:
            if error.code is not Code.H3_EXCESSIVE_LOAD:
                raise
            await self._h3.send_fields(stream, [(b":status", b"%d" % TOO_LARGE)], end=True)
            stream.stop(Code.H3_NO_ERROR)
            return
        if fields is None:  # rfc9114:4.1:13
            raise H3StreamError(Code.H3_REQUEST_INCOMPLETE, "the stream ends without a request")
        reader.expect(fields)
        named = dict(fields)
        method, path = (named.get(name, b"").decode(errors="replace") for name in (b":method", b":path"))
        request = Request(self._h3, stream, reader, fields, method, path)
        if (wanted := request.field("priority")) is not None:
            stream.set_priority(*parse_priority(wanted))
        try:
            await self._handler(request)
            if not request.responded:
                await request.respond(500, length=0)
            await request.finish()
        except QuicError:
            raise
        except Exception:
            request.abort(Code.H3_INTERNAL_ERROR)
            raise

    async def _drain(self, stream: Stream, reader: MessageReader) -> None:
        """Take what the client still sends, so that the stream is over; much of it is not wanted."""
        left = _MAX_REST
        try:
            while left > 0 and (data := await reader.read(left)):
                left -= len(data)
        except H3StreamError as error:
            _abandon(stream, error.code)
        except QuicError:
            return  # it was reset, or the connection has ended
        if left <= 0:
            stream.stop(Code.H3_NO_ERROR)  # rfc9114:4.1:15


def _abandon(stream: Stream, code: Code) -> None:
    """Give up both directions of a stream (rfc9114:4.1.1:3)."""
    for end in (stream.reset, stream.stop):
        try:
            end(code)
        except QuicError:
            continue  # that direction is over already
