"""A stream as an application sees it: coroutines that wait when there is nothing to read or no room to write.

While an application waits, what arrives is taken from the stack as it comes, and what can be sent is handed
to it; the application resumes once, when its whole request is met.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from quicsim.futures import Future, NewFuture
from stack.errors import StreamError, StreamStopped

if TYPE_CHECKING:
    from stack import connection as stack


class IncompleteReadError(EOFError):
    """A stream ended before `expected` bytes were there; `partial` are those that were."""

    def __init__(self, stream_id: int, partial: bytes, expected: int) -> None:
        super().__init__(f"stream {stream_id} ended after {len(partial)} of {expected} bytes")
        self.partial = partial
        self.expected = expected


class Owner(Protocol):
    """What a stream needs of the connection that it belongs to."""

    @property
    def new_future(self) -> NewFuture:
        """Makes futures of the net's."""
        ...

    @property
    def flush(self) -> Callable[[], None]:
        """Sends what the stack wants to send."""
        ...

    def forget(self, stream_id: int) -> None:
        """Both directions of the stream are over."""


class Stream:
    """One QUIC stream. All its waiting calls raise ConnectionClosed when the connection ends.

    One coroutine may read and one may write at a time; StreamError is raised in a second.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_missing",
        "_owner",
        "_read_over",
        "_reading",
        "_rest",
        "_rest_end",
        "_sent",
        "_some",
        "_waits_sent",
        "_writing",
        "id",
    )

    def __init__(self, owner: Owner, connection: "stack.Connection", stream_id: int) -> None:
        self.id = stream_id
        self._owner = owner
        self._connection = connection
        self._reading: Future[None] | None = None
        self._chunks: list[bytes] = []
        self._missing: int | None = None  # bytes until the request is met; None: until the end
        self._some = False  # whether less than _missing meets the request
        self._read_over = self.unidirectional and self.initiated_here
        self._writing: Future[None] | None = None
        self._rest = memoryview(b"")
        self._rest_end = False
        self._sent = self.unidirectional and not self.initiated_here
        self._waits_sent: Future[None] | None = None

    @property
    def unidirectional(self) -> bool:
        """Whether only its initiator sends."""
        return bool(self.id & 2)

    @property
    def initiated_here(self) -> bool:
        """Whether this end opened the stream."""
        return bool(self.id & 1) != self._connection.is_client

    async def read(self, limit: int = 65_536) -> bytes:
        """Return 1 to `limit` bytes, as soon as there are any; b"" at the stream's end.

        Raises StreamReset when the peer reset the stream.
        """
        return b"".join(await self._read(limit, some=True))

    async def read_exactly(self, size: int) -> bytes:
        """Return `size` bytes. Raises IncompleteReadError when the stream ends before, StreamReset as `read`."""
        data = b"".join(await self._read(size))
        if len(data) < size:
            raise IncompleteReadError(self.id, data, size)
        return data

    async def read_all(self) -> bytes:
        """Return everything up to the stream's end. Raises StreamReset as `read`."""
        return b"".join(await self._read(None))

    async def write(self, data: bytes | bytearray | memoryview, end: bool = False) -> None:
        """Write `data`, and with `end` end the stream; returns when the stack has taken all into its buffer.

        Raises StreamStopped when the peer does not want it any more, StreamError after the end.
        """
        if self._writing is not None:
            raise StreamError(f"stream {self.id} is being written by another coroutine")
        view = memoryview(data)
        self._rest = view if view.readonly else memoryview(bytes(view))
        self._rest_end = end
        met = self._hand_over()
        self._owner.flush()
        if not met:
            self._writing = self._owner.new_future(f"room to write on stream {self.id}")
            try:
                await self._writing
            finally:
                self._writing = None

    async def finish(self) -> None:
        """End the stream: nothing more will be written."""
        await self.write(b"", end=True)

    async def wait_sent(self) -> None:
        """Wait until the peer has acknowledged everything written, and the end.

        Raises StreamStopped when the peer does not want it any more.
        """
        if not self._sent:
            if (stopped := self._stopped()) is not None:
                raise stopped
            if self._waits_sent is None:
                self._waits_sent = self._owner.new_future(f"acknowledgement of stream {self.id}")
            await self._waits_sent

    def reset(self, code: int = 0, reliable_size: int = 0) -> None:
        """Stop sending, and tell the peer that what is missing will not come (RESET_STREAM).

        The first `reliable_size` bytes arrive in any case, where the peer has set `reset_stream_at`.
        """
        self._connection.reset(self.id, code, reliable_size)
        self._sent = True
        self._owner.flush()
        self._forget_if_over()

    def stop(self, code: int = 0) -> None:
        """Ask the peer to stop sending (STOP_SENDING)."""
        self._connection.stop_sending(self.id, code)
        self._owner.flush()

    def set_priority(self, urgency: int, incremental: bool = True) -> None:
        """Say which streams send first: 0 (most urgent) to 7; of equal ones the `incremental` take turns."""
        self._connection.set_priority(self.id, urgency, incremental)

    def on_readable(self) -> None:
        """There may be more to read: go on with a waiting read."""
        if self._reading is not None:
            _settle(self._reading, self._take)

    def on_writable(self) -> None:
        """There may be room, or the peer stopped the stream: go on with a waiting write."""
        if self._writing is not None:
            _settle(self._writing, self._hand_over)
        waiting = self._waits_sent
        if waiting is not None and not waiting.done() and (stopped := self._stopped()) is not None:
            waiting.set_exception(stopped)

    def _stopped(self) -> StreamStopped | None:
        """What to raise when the peer has asked us to stop sending."""
        try:
            self._connection.write(self.id, b"")
        except StreamStopped as stopped:
            return stopped
        except StreamError:
            return None  # it has ended, which is how it should be
        return None

    def on_sent(self) -> None:
        """Everything up to the end was acknowledged."""
        self._sent = True
        if self._waits_sent is not None:
            self._waits_sent.set_result(None)
        self._forget_if_over()

    def on_closed(self, failure: Callable[[], Exception]) -> None:
        """The connection ended: raise `failure()` in those who wait."""
        for future in (self._reading, self._writing, self._waits_sent):
            if future is not None and not future.done():
                future.set_exception(failure())

    async def _read(self, size: int | None, some: bool = False) -> list[bytes]:
        if self._reading is not None:
            raise StreamError(f"stream {self.id} is being read by another coroutine")
        chunks: list[bytes] = []
        self._chunks = chunks
        self._missing = size
        self._some = some
        met = self._take()
        if chunks:
            self._owner.flush()
        if not met:
            self._reading = self._owner.new_future(f"data on stream {self.id}")
            try:
                await self._reading
            finally:
                self._reading = None
        return chunks

    def _take(self) -> bool:
        """Take what the stack has received, as far as it is asked for; tell whether the request is met."""
        while self._missing != 0 and not self._read_over:
            data, self._read_over = self._connection.read(self.id, self._missing)
            if data:
                self._chunks.append(data)
                if self._missing is not None:
                    self._missing = 0 if self._some else self._missing - len(data)
            elif not self._read_over:
                return False
        if self._read_over:
            self._forget_if_over()
        return True

    def _hand_over(self) -> bool:
        """Hand the stack as much as it takes; tell whether that was all."""
        taken = self._connection.write(self.id, self._rest, self._rest_end)
        self._rest = self._rest[taken:]
        return not self._rest

    def _forget_if_over(self) -> None:
        if self._read_over and self._sent:
            self._owner.forget(self.id)


def _settle(future: Future[Any], attempt: Callable[[], bool]) -> None:
    """Resolve `future` when an attempt succeeds or raises; it may have been cancelled meanwhile."""
    if future.done():
        return
    try:
        met = attempt()
    except Exception as exception:
        future.set_exception(exception)
    else:
        if met:
            future.set_result(None)
