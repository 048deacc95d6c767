"""What streams have to tell the observer. Streams know no time: the connection passes it on when it next does."""

from collections.abc import Callable

from stack.observer import ConnectionObserver


class StreamTrace:
    """State changes and flow-control stops since the last `flush`, in order."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[Callable[[ConnectionObserver, int], None]] = []

    def moved(self, stream_id: int, side: str, old: str, new: str) -> None:
        """A stream's part, `side` "sending" or "receiving", changed its state."""
        self._pending.append(lambda observer, now: observer.stream_state(now, stream_id, side, old, new))

    def blocked(self, stream_id: int | None, limit: int) -> None:
        """Sending stopped at a limit of the peer's, a stream's or (None) the connection's."""
        self._pending.append(lambda observer, now: observer.data_blocked(now, stream_id, limit))

    def data(self, stream_id: int, side: str, offset: int, data: bytes, end: bool) -> None:
        """The application wrote or read."""
        self._pending.append(lambda observer, now: observer.data_moved(now, stream_id, side, offset, data, end))

    def flush(self, observer: ConnectionObserver, now: int) -> None:
        """Tell `observer` everything."""
        if self._pending:
            pending, self._pending = self._pending, []
            for tell in pending:
                tell(observer, now)
