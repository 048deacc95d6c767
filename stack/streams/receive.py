"""The receiving part of a stream: final size, states (RFC 9000 sections 2.2, 3.2, 4.5)."""

from enum import Enum
from typing import Final

from stack.errors import (
    FINAL_SIZE_ERROR,
    FLOW_CONTROL_ERROR,
    INTERNAL_ERROR,
    STREAM_STATE_ERROR,
    TransportError,
)
from stack.limits import BYTES_PER_PIECE, MAX_PIECES
from stack.streams.flow import ReceiveWindow
from stack.streams.reassembly import Pieces, Reassembly
from stack.streams.trace import StreamTrace


class ReceiveState(Enum):
    """RFC 9000 figure 3."""

    RECV = "recv"
    SIZE_KNOWN = "size_known"
    DATA_RECVD = "data_recvd"
    DATA_READ = "data_read"
    RESET_RECVD = "reset_recvd"
    RESET_READ = "reset_read"


class Trigger(Enum):
    """What moves a receiving stream."""

    FIN = "STREAM with FIN, or RESET_STREAM_AT"
    ALL = "all data received, or all that RESET_STREAM_AT promises"
    READ = "application read all, or learned of the reset"
    RESET = "RESET_STREAM"


TRANSITIONS: Final[dict[ReceiveState, dict[Trigger, ReceiveState]]] = {
    ReceiveState.RECV: {Trigger.FIN: ReceiveState.SIZE_KNOWN, Trigger.RESET: ReceiveState.RESET_RECVD},
    ReceiveState.SIZE_KNOWN: {Trigger.ALL: ReceiveState.DATA_RECVD, Trigger.RESET: ReceiveState.RESET_RECVD},
    ReceiveState.DATA_RECVD: {Trigger.READ: ReceiveState.DATA_READ},
    ReceiveState.DATA_READ: {},
    ReceiveState.RESET_RECVD: {Trigger.READ: ReceiveState.RESET_READ},
    ReceiveState.RESET_READ: {},
}

_OPEN: Final = (ReceiveState.RECV, ReceiveState.SIZE_KNOWN)


class ReceiveStream:
    """What arrives on a stream. `window` is its flow control; the connection's is the stream table's business."""

    __slots__ = (
        "_buffer",
        "_read",
        "_trace",
        "announced",
        "discarding",
        "final_size",
        "reliable_size",
        "reset_code",
        "state",
        "stream_id",
        "window",
    )

    def __init__(
        self,
        stream_id: int,
        window: ReceiveWindow,
        pieces: Pieces | None = None,
        trace: StreamTrace | None = None,
    ) -> None:
        """`window`: what the peer may send before the application reads; `pieces`: counts those of all streams."""
        self._trace = trace
        self.stream_id = stream_id
        self.window = window
        self.state = ReceiveState.RECV
        self.final_size: int | None = None
        self.reset_code = 0
        self.reliable_size: int | None = None  # of RESET_STREAM_AT: bytes that come before the reset
        self.discarding = False  # the application stopped reading; data is taken and forgotten
        self.announced = False  # StreamReadable was said and the application has not come up empty since
        self._buffer = Reassembly(pieces)
        self._read = 0

    @property
    def consumed(self) -> int:
        """Bytes that the application took, or that were discarded."""
        return self._read

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen (a terminal state)."""
        return self.state is ReceiveState.DATA_READ or self.state is ReceiveState.RESET_READ

    @property
    def cut_short(self) -> bool:
        """Whether a reliable reset is all that is left: what precedes it was read."""
        return (
            self.reliable_size is not None
            and self.state is ReceiveState.DATA_RECVD
            and self._read == self._buffer.received
        )

    @property
    def open(self) -> bool:
        """Whether data or a reset may still arrive that matters."""
        return self.state in _OPEN

    def _move(self, trigger: Trigger) -> None:
        old = self.state
        self.state = TRANSITIONS[old][trigger]
        if self._trace is not None:
            self._trace.moved(self.stream_id, "receiving", old.value, self.state.value)

    def on_data(self, offset: int, data: bytes, fin: bool, frame_type: int) -> tuple[int, bool]:
        """STREAM frame; return how many bytes count for connection flow control, and whether there is news to read."""
        end = offset + len(data)
        window = self.window
        if end > window.limit:
            # rfc9000:4.1:2
            raise TransportError(
                FLOW_CONTROL_ERROR, f"stream {self.stream_id}: offset {end}, limit {window.limit}", frame_type
            )
        if fin or self.final_size is not None:
            self._check_final_size(end, fin, frame_type)
        new = end - window.received
        if new > 0:
            window.received = end
        else:
            new = 0
        if self.state not in _OPEN:
            return new, False
        if fin and self.final_size is None:
            self.final_size = end
            self._move(Trigger.FIN)
        buffer = self._buffer
        news = buffer.add(offset, data)
        if not news and buffer.waiting > MAX_PIECES + window.size // BYTES_PER_PIECE:
            raise TransportError(INTERNAL_ERROR, f"stream {self.stream_id}: data in too many pieces", frame_type)
        if buffer.received == self.final_size or (
            self.reliable_size is not None and buffer.received >= self.reliable_size
        ):
            self._move(Trigger.ALL)
            news = True
        if self.discarding:
            self._drop()
            return new, False
        return new, news

    def _check_final_size(self, end: int, fin: bool, frame_type: int) -> None:
        known = self.final_size
        if known is not None and (end > known or (fin and end != known)):
            # rfc9000:4.5:3
            raise TransportError(
                FINAL_SIZE_ERROR, f"stream {self.stream_id}: final size {known}, now {end}", frame_type
            )
        if fin and end < self.window.received:
            # rfc9000:4.5:3
            raise TransportError(
                FINAL_SIZE_ERROR,
                f"stream {self.stream_id}: final size {end} below received {self.window.received}",
                frame_type,
            )

    def on_reset(self, code: int, final_size: int, frame_type: int) -> tuple[int, bool]:
        """RESET_STREAM; return what counts for connection flow control, and whether the application has news."""
        new = self._take_final_size(code, final_size, frame_type)
        if Trigger.RESET not in TRANSITIONS[self.state]:
            return new, False
        self._move(Trigger.RESET)
        self.reset_code = code
        self._buffer.clear()
        return new, True

    def on_reset_at(self, code: int, final_size: int, reliable_size: int, frame_type: int) -> tuple[int, bool]:
        """RESET_STREAM_AT; returns what `on_reset` does. One that promises more than an earlier one is ignored."""
        new = self._take_final_size(code, final_size, frame_type)
        known = self.reliable_size
        if self.state not in _OPEN or (known is not None and reliable_size >= known):
            return new, False
        self.reset_code = code
        self.reliable_size = reliable_size
        if self.state is ReceiveState.RECV:
            self._move(Trigger.FIN)
        if self._buffer.received < reliable_size:
            return new, False
        self._move(Trigger.ALL)
        return new, True

    def _take_final_size(self, code: int, final_size: int, frame_type: int) -> int:
        """Check and note the final size of a reset; return how many bytes it adds to what was received."""
        if final_size > self.window.limit:
            raise TransportError(
                FLOW_CONTROL_ERROR,
                f"stream {self.stream_id}: final size {final_size} above its limit",
                frame_type,
            )
        self._check_final_size(final_size, True, frame_type)
        if self.reliable_size is not None and code != self.reset_code:
            raise TransportError(
                STREAM_STATE_ERROR, f"stream {self.stream_id}: reset code {self.reset_code}, now {code}", frame_type
            )
        new = final_size - self.window.received
        self.window.received = final_size
        self.final_size = final_size
        return new

    def read(self, limit: int | None) -> bytes:
        """Give out data in order; moves to DATA_READ with the last byte."""
        data = self._buffer.take(limit)
        self._read += len(data)
        self.window.consumed = self._read
        if not data:
            self.announced = False
        if self.state is ReceiveState.DATA_RECVD and self._read == self.final_size and self.reliable_size is None:
            self._move(Trigger.READ)
        return data

    def read_reset(self) -> None:
        """The application has learned of the reset; of a reliable one, what was not delivered counts as consumed."""
        self._move(Trigger.READ)
        if self.state is ReceiveState.DATA_READ and self.final_size is not None:
            self._read = self.final_size
            self._buffer.clear()

    def _drop(self) -> None:
        self.read(None)
        if self.cut_short:
            self.read_reset()

    def discard(self) -> None:
        """Stop keeping data; the peer was asked to stop sending."""
        self.discarding = True
        self._drop()
