"""Flow control: what one end may send, by what the other has announced (RFC 9000 section 4)."""

from collections.abc import Callable
from typing import Final

from stack.wire.decoded_frames import (
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    ResetStreamAtFrame,
    ResetStreamFrame,
    StreamFrame,
)

SERVER_INITIATED: Final = 1
UNIDIRECTIONAL: Final = 2


class FlowLimits:
    """One direction of a connection: the sender's stream data, and the limits that its peer has announced.

    `from_client`: it is the client that sends. Nothing is checked before the transport parameters are known, as in
    0-RTT packets; what was sent then counts all the same.
    """

    def __init__(self, from_client: bool, fail: Callable[[str], None]) -> None:
        self._initiator: Final = 0 if from_client else SERVER_INITIATED  # bit of streams that the sender opens
        self._fail: Final = fail
        self._initial: dict[str, int] | None = None
        self._data = 0  # limit over all streams
        self._sent = 0
        self._streams: dict[int, int] = {0: 0, UNIDIRECTIONAL: 0}  # how many of each kind the sender may open
        self._limits: dict[int, int] = {}  # by stream, where a frame raised it
        self._ends: dict[int, int] = {}  # by stream: the highest offset

    def on_parameters(self, parameters: dict[str, object]) -> None:
        """The receiver's transport parameters."""
        self._initial = {name: value for name, value in parameters.items() if isinstance(value, int)}
        self._data = max(self._data, self._announced("initial_max_data"))
        for kind, name in ((0, "initial_max_streams_bidi"), (UNIDIRECTIONAL, "initial_max_streams_uni")):
            self._streams[kind] = max(self._streams[kind], self._announced(name))

    def on_raised(self, frame: Frame) -> None:
        """A frame of the receiver's."""
        if isinstance(frame, MaxDataFrame):
            self._data = max(self._data, frame.maximum)
        elif isinstance(frame, MaxStreamDataFrame):
            self._limits[frame.stream_id] = max(self._limits.get(frame.stream_id, 0), frame.maximum)
        elif isinstance(frame, MaxStreamsFrame):
            kind = UNIDIRECTIONAL if frame.unidirectional else 0
            self._streams[kind] = max(self._streams[kind], frame.maximum)

    def on_used(self, frame: Frame) -> None:
        """A frame of the sender's."""
        if isinstance(frame, StreamFrame):
            end = frame.offset + len(frame.data)
        elif isinstance(frame, ResetStreamFrame | ResetStreamAtFrame):
            end = frame.final_size
        else:
            return
        stream = frame.stream_id
        before = self._ends.get(stream)
        if before is None:
            self._check_count(stream)
        elif end <= before:
            return
        self._ends[stream] = end
        self._sent += end - (before or 0)
        if self._initial is None:
            return
        limit = max(self._limits.get(stream, 0), self._initial_limit(stream))
        if end > limit:
            self._fail(f"stream {stream} reaches offset {end}, above its flow control limit of {limit}")
        if self._sent > self._data:
            self._fail(f"{self._sent} bytes on all streams, above the connection's flow control limit of {self._data}")

    def _check_count(self, stream: int) -> None:
        kind = stream & UNIDIRECTIONAL
        if self._initial is None or stream & SERVER_INITIATED != self._initiator:
            return
        if stream >> 2 >= self._streams[kind]:
            self._fail(f"stream {stream} is opened, above the limit of {self._streams[kind]} streams of its kind")

    def _initial_limit(self, stream: int) -> int:
        if stream & UNIDIRECTIONAL:
            return self._announced("initial_max_stream_data_uni")
        # Named as the receiver of the data sees it
        opened = "remote" if stream & SERVER_INITIATED == self._initiator else "local"
        return self._announced(f"initial_max_stream_data_bidi_{opened}")

    def _announced(self, name: str) -> int:
        return 0 if self._initial is None else self._initial.get(name, 0)
