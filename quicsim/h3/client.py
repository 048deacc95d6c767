"""The client's end of HTTP/3: requests on a connection, and their responses."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

from quicsim.connection import Connection
from quicsim.h3 import wire
from quicsim.h3.connection import H3Connection
from quicsim.h3.errors import Code, GoingAway, H3ConnectionError, H3StreamError
from quicsim.h3.fields import check_response
from quicsim.h3.message import MessageReader
from quicsim.h3.qpack import Fields
from quicsim.h3.reader import BLOCK
from quicsim.net import Net
from quicsim.stream import Stream
from stack.errors import QuicError, StreamReset, StreamStopped

MAX_INTERIM: Final = 16  # responses before the final one
_LATER: Final = 200  # the first status that is not interim


class Response:
    """A response: its status and fields are there, its content is read as it comes."""

    def __init__(self, client: "Client", stream: Stream, reader: MessageReader, status: int, fields: Fields) -> None:
        self.status: Final = status
        self.fields: Final = fields
        self._client = client
        self._stream = stream
        self._reader = reader

    @property
    def phrase(self) -> str:
        """The status in words."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)

    def field(self, name: str) -> str | None:
        """The value of the first field of that name."""
        return next((value.decode(errors="replace") for each, value in self.fields if each == name.encode()), None)

    @property
    def trailers(self) -> Fields:
        """What came after the content, once that has ended."""
        return self._reader.trailers

    async def read(self, limit: int = BLOCK) -> bytes:
        """Return 1 to `limit` bytes of content; b"" at its end.

        Raises H3Error for what the server did wrong, StreamReset and ConnectionClosed.
        """
        try:
            return await self._reader.read(limit)
        except (H3ConnectionError, H3StreamError) as error:
            raise self._client.give_up(self._stream, error) from None

    async def read_all(self) -> bytes:
        """Return the whole content; raises as `read`."""
        blocks = []
        while block := await self.read():
            blocks.append(block)
        return b"".join(blocks)

    def cancel(self) -> None:
        """Want no more of it."""
        self._client.cancel(self._stream)


class Client:
    """Requests over one connection, several at a time.

        conn = await net.connect(host, 443, trust=trust, alpn=(h3.ALPN,))
        client = h3.Client(net, conn, host)
        response = await client.request("GET", "/index.html")
        print(response.status, await response.read_all())

    `authority` is the server's name, and its port if that is not 443. `close` when all is done.
    """

    def __init__(self, net: Net, conn: Connection, authority: str) -> None:
        self.conn: Final = conn
        self._authority = authority
        self._h3 = H3Connection(net, conn, None)
        self._started = False

    @property
    def settings(self) -> dict[int, int] | None:
        """The server's settings, once they have come."""
        return self._h3.settings

    @property
    def going_away(self) -> bool:
        """Whether the server takes no more requests."""
        return self._h3.goaway is not None

    async def request(
        self, method: str, path: str, fields: Iterable[tuple[str, str]] = (), content: bytes = b""
    ) -> Response:
        """Send a request and return the response, when its header fields have come.

        `fields` are those beside method, scheme, authority and path; their names in lower case. Raises GoingAway when
        the server has not processed it and will not, H3Error for what it did wrong, StreamReset and ConnectionClosed.
        """
        if not self._started:
            self._started = True
            await self._h3.start()
        if self.going_away:  # rfc9114:5.2:4
            raise GoingAway("the server takes no more requests (GOAWAY)")
        stream = await self.conn.open_stream()
        pseudo = {":method": method, ":scheme": "https", ":authority": self._authority, ":path": path}
        sent = [(name.encode(), value.encode()) for name, value in (*pseudo.items(), *fields)]
        if content:
            sent.append((b"content-length", b"%d" % len(content)))
        more = wire.encode_frame(wire.DATA, content) if content else b""
        reader = MessageReader(stream, self._h3.qpack, from_server=True)
        try:
            try:
                await self._h3.send_fields(stream, sent, more=more, end=True)  # rfc9114:4.1:9
            except StreamStopped as error:
                if error.code != Code.H3_NO_ERROR:
                    raise
                stream.reset(Code.H3_NO_ERROR)  # rfc9114:4.1:16 the response comes all the same
            status, received = await self._response(reader)
            reader.expect(received, empty=method == "HEAD" or status in (204, 304))
        except StreamReset as error:
            if error.code == Code.H3_REQUEST_REJECTED:
                raise GoingAway("the server has not processed the request") from None
            raise
        except (H3ConnectionError, H3StreamError) as error:
            raise self.give_up(stream, error) from None
        return Response(self, stream, reader, status, received)

    async def _response(self, reader: MessageReader) -> tuple[int, Fields]:
        """Return status and fields of the final response."""
        for _ in range(MAX_INTERIM):
            fields = await reader.headers(check_response)
            if fields is None:
                raise H3StreamError(Code.H3_MESSAGE_ERROR, "the stream ends without a response")
            status = int(dict(fields)[b":status"])
            if status >= _LATER:
                return status, [field for field in fields if not field[0].startswith(b":")]
            if status == HTTPStatus.SWITCHING_PROTOCOLS:  # rfc9114:4.5
                raise H3StreamError(Code.H3_MESSAGE_ERROR, "there is no switching of protocols")
        raise H3StreamError(Code.H3_EXCESSIVE_LOAD, f"more than {MAX_INTERIM} interim responses")

    def give_up(self, stream: Stream, error: H3ConnectionError | H3StreamError) -> H3ConnectionError | H3StreamError:
        """End the connection or the stream, as the error says; returns the error."""
        if isinstance(error, H3ConnectionError):
            self.conn.close(error.code, error.reason)
        else:
            self._stop(stream, error.code)
        return error

    def cancel(self, stream: Stream) -> None:
        """Want no more of a response."""
        self._h3.net.spawn(self._h3.run, self._h3.qpack.cancel, stream.id)
        self._stop(stream, Code.H3_REQUEST_CANCELLED)  # rfc9114:4.1.1:7

    @staticmethod
    def _stop(stream: Stream, code: Code) -> None:
        try:
            stream.stop(code)
        except QuicError:
            return  # it is over already, or the connection is

    def close(self) -> None:
        """Close the connection; what is under way is lost."""
        self.conn.close(Code.H3_NO_ERROR)


async def fetch(client: Client, path: str, write: Callable[[bytes], object]) -> tuple[Response, int]:
    """GET `path`, hand `write` the content of a successful response; return the response and how many bytes that was.

    Raises as `Client.request`, and what `write` raises.
    """
    response = await client.request("GET", path)
    size = 0
    if response.status != HTTPStatus.OK:
        response.cancel()
        return response, size
    while block := await response.read():
        size += len(block)
        try:
            write(block)
        except BaseException:
            response.cancel()
            raise
    return response, size
