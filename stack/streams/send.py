"""The sending part of a stream: buffer, retransmission, states (RFC 9000 sections 2.2, 3.1, 13.3)."""

from enum import Enum
from typing import TYPE_CHECKING, Final

from stack.errors import StreamError, StreamStopped
from stack.ranges import RangeSet
from stack.sent_frame import SentFrame

if TYPE_CHECKING:
    from stack.streams.reliable_reset import ReliableReset
    from stack.streams.table import StreamTable

DEFAULT_URGENCY: Final = 3
LEAST_URGENT: Final = 7  # 0 is the most urgent


class SendState(Enum):
    """RFC 9000 figure 2 (Ready and Send are one: nothing depends on the difference)."""

    SEND = "send"
    DATA_SENT = "data_sent"
    DATA_RECVD = "data_recvd"
    RESET_SENT = "reset_sent"
    RESET_RECVD = "reset_recvd"


class Trigger(Enum):
    """What moves a sending stream."""

    FIN = "STREAM with FIN, or RESET_STREAM_AT, sent"
    ALL_ACKED = "all data and FIN, or all that RESET_STREAM_AT promises, acknowledged"
    RESET = "RESET_STREAM sent"
    RESET_ACKED = "RESET_STREAM acknowledged"


TRANSITIONS: Final[dict[SendState, dict[Trigger, SendState]]] = {
    SendState.SEND: {Trigger.FIN: SendState.DATA_SENT, Trigger.RESET: SendState.RESET_SENT},
    SendState.DATA_SENT: {Trigger.ALL_ACKED: SendState.DATA_RECVD, Trigger.RESET: SendState.RESET_SENT},
    SendState.DATA_RECVD: {},
    SendState.RESET_SENT: {Trigger.RESET_ACKED: SendState.RESET_RECVD},
    SendState.RESET_RECVD: {},
}


class SendBuffer:
    """Bytes written, from the first one not acknowledged on. Used by streams and by CRYPTO.

    Offsets are those of the stream. What was lost is kept as ranges and goes out again before anything new.
    """

    __slots__ = ("_acked", "_base", "_data", "lost", "next_offset", "written")

    def __init__(self) -> None:
        self._data = bytearray()  # from offset _base on
        self._base = 0
        self._acked = RangeSet()  # acknowledged beyond _base
        self.lost = RangeSet()
        self.next_offset = 0  # everything below was sent at least once
        self.written = 0

    @property
    def held(self) -> int:
        """Bytes that wait to be sent or acknowledged."""
        return len(self._data)

    @property
    def pending(self) -> bool:
        """Whether there is something to send, regardless of flow control."""
        return self.next_offset < self.written or bool(self.lost.starts)

    @property
    def all_acked(self) -> bool:
        """Whether every byte written was acknowledged."""
        return self._base == self.written

    def acked_below(self, offset: int) -> bool:
        """Whether every byte below `offset` was acknowledged."""
        return self._base >= offset

    def append(self, data: bytes | memoryview) -> None:
        """Take `data` for sending."""
        self._data += data
        self.written += len(data)

    def slice(self, start: int, end: int) -> bytearray:
        """The bytes from offset `start` to `end`."""
        base = self._base
        return self._data[start - base : end - base]

    def next_range(self, room: int, limit: int) -> tuple[int, int]:
        """Take the next offsets to send: at most `room` bytes, new ones below `limit`. Empty when start == end."""
        if self.lost.starts:
            return self.lost.pop_first(room)
        start = self.next_offset
        end = min(start + room, self.written, limit)
        if end <= start:
            return start, start
        self.next_offset = end
        return start, end

    def on_acked(self, start: int, end: int) -> None:
        """The peer has [start, end)."""
        if self.lost.starts:
            self.lost.subtract(start, end)
        if start <= self._base and not self._acked.starts:
            if end > self._base:
                del self._data[: end - self._base]
                self._base = end
            return
        if start == end:
            return  # a frame that has nothing but the stream's end came before the data in front of it
        self._acked.add(start, end)
        if self._acked.starts[0] <= self._base:
            end = self._acked.ends[0]
            if end > self._base:
                del self._data[: end - self._base]
                self._base = end
            self._acked.drop_below(end)

    def on_lost(self, start: int, end: int) -> None:
        """[start, end) must go again, except what was acknowledged meanwhile."""
        start = max(start, self._base)
        if start >= end:
            return
        self.lost.add(start, end)
        for acked_start, acked_end in self._acked.overlapping(start, end):
            self.lost.subtract(acked_start, acked_end)

    def offer_again(self) -> None:
        """Let everything sent and not acknowledged go once more."""
        self.on_lost(self._base, self.next_offset)

    def truncate(self, size: int) -> None:
        """Drop what lies beyond offset `size`: what was sent of it is not sent again, the rest never."""
        del self._data[max(size - self._base, 0) :]
        self.lost.subtract(size, self.next_offset)
        self.written = max(self.next_offset, size)

    def clear(self) -> None:
        """Drop everything: the stream was reset. `next_offset` stays, as the final size."""
        self._data.clear()
        self._acked.clear()
        self.lost.clear()
        self._base = self.written = self.next_offset


class SendStream:
    """What is sent on a stream. Its STREAM frames in flight are (self, start, end, fin)."""

    __slots__ = (
        "_table",
        "buffer",
        "fin_acked",
        "fin_pending",
        "fin_written",
        "incremental",
        "max_data",
        "queued",
        "reliable",
        "reset_code",
        "state",
        "stop_code",
        "stream_id",
        "urgency",
        "writable_below",
    )

    def __init__(self, stream_id: int, max_data: int, table: "StreamTable") -> None:
        """`max_data`: the peer's limit for this stream."""
        self.stream_id = stream_id
        self._table = table
        self.buffer = SendBuffer()
        self.max_data = max_data
        self.state = SendState.SEND
        self.fin_written = False  # the application ended the stream
        self.fin_pending = False  # FIN must go (again)
        self.fin_acked = False
        self.urgency = DEFAULT_URGENCY
        self.incremental = True  # takes turns with equally urgent streams
        self.queued = False  # stands in the scheduler's queue
        self.writable_below = -1  # bytes held from which on a write that had to wait can go on; -1: none waits
        self.reset_code: int | None = None
        self.reliable: ReliableReset | None = None  # with a reset code: what will arrive all the same
        self.stop_code: int | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen (a terminal state)."""
        return self.state is SendState.DATA_RECVD or self.state is SendState.RESET_RECVD

    def _move(self, trigger: Trigger) -> None:
        old = self.state
        self.state = TRANSITIONS[old][trigger]
        if self._table.trace is not None:
            self._table.trace.moved(self.stream_id, "sending", old.value, self.state.value)

    def write(self, data: bytes | memoryview, end: bool, capacity: int) -> int:
        """Take as much of `data` as may be held in all, `capacity` bytes; return how much that was.

        `end` counts when all was taken. If not, the application is told when an eighth of the capacity is free: sooner
        would wake it for crumbs; later, with a congestion window near the capacity, would starve it.
        """
        if self.stop_code is not None:
            raise StreamStopped(self.stream_id, self.stop_code)
        if self.reset_code is not None:
            raise StreamError(f"stream {self.stream_id} was reset by this end: nothing more can be written")
        if self.fin_written:
            raise StreamError(f"stream {self.stream_id} has ended: nothing more can be written")
        taken = max(min(len(data), capacity - self.buffer.held), 0)
        if taken:
            self.buffer.append(data if taken == len(data) else memoryview(data)[:taken])
        if taken == len(data):
            if end:
                self.fin_written = self.fin_pending = True
        else:
            self.writable_below = 7 * capacity // 8
        return taken

    def pending(self) -> bool:
        """Whether a STREAM frame could go, by this stream's own flow control."""
        buffer = self.buffer
        if buffer.lost.starts:
            return True
        if buffer.next_offset < buffer.written:
            return buffer.next_offset < self.max_data
        return self.fin_pending

    def blocked(self) -> bool:
        """Whether there is new data that the peer's stream limit holds back."""
        return self.max_data <= self.buffer.next_offset < self.buffer.written

    def on_blocked(self) -> None:
        """The scheduler found new data, and the peer's stream limit reached."""
        self._table.on_stream_blocked(self)

    def on_end_sent(self) -> None:
        """A STREAM frame with FIN, or RESET_STREAM_AT, went out."""
        self.fin_pending = False
        if self.state is SendState.SEND:
            self._move(Trigger.FIN)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """A STREAM frame (self, start, end, fin) arrived."""
        _, start, end, fin = sent
        buffer = self.buffer
        if self.reset_code is not None:
            if self.reliable is not None:
                buffer.on_acked(start, end)
                self.finish_if_delivered()
            return
        buffer.on_acked(start, end)
        if fin:
            self.fin_acked = True
            self.fin_pending = False
        if self.fin_acked and buffer.all_acked:
            if self.state is SendState.DATA_SENT:
                self._move(Trigger.ALL_ACKED)
                self._table.on_send_finished(self)
        elif buffer.held <= self.writable_below:
            self.writable_below = -1
            self._table.on_send_room(self)

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """A STREAM frame was lost: its bytes go again, unless the stream was reset."""
        if self.state is SendState.RESET_SENT or self.finished:
            return
        _, start, end, fin = sent
        if self.reliable is not None:
            end, fin = min(end, self.reliable.size), False
        self.buffer.on_lost(start, end)
        if fin and not self.fin_acked:
            self.fin_pending = True
        self._table.queue(self)

    def reset(self, code: int) -> bool:
        """Give up sending; return whether a RESET_STREAM is owed (not in a terminal state, rfc9000:3.3:1)."""
        if self.state is SendState.RESET_SENT or self.finished:
            return False
        if self.reliable is None:  # else the peer may know the code already, and it must not change
            self.reset_code = code
        self.reliable = None
        self.fin_pending = False
        self._move(Trigger.RESET)
        self.buffer.clear()
        return True

    def reset_reliably(self, code: int, promise: "ReliableReset") -> bool:
        """Give up sending all but `promise.size` bytes; return whether that changes anything.

        Raises StreamError for more bytes than were written or promised before, and for another code than before.
        """
        if self.state is SendState.RESET_SENT or self.finished:
            return False
        old = self.reliable
        most = self.buffer.written if old is None else old.size
        if promise.size > most:
            raise StreamError(f"stream {self.stream_id}: reliable_size {promise.size} must be at most {most}")
        if old is not None and code != self.reset_code:
            raise StreamError(f"stream {self.stream_id} was reset with code {self.reset_code}, now {code}")
        if old is not None and promise.size == old.size:
            return False
        self.reset_code = code
        self.reliable = promise
        self.fin_written = self.fin_pending = False
        self.buffer.truncate(promise.size)
        return True

    def finish_if_delivered(self) -> None:
        """The peer may have all that a reliable reset promises."""
        reliable = self.reliable
        if reliable is not None and reliable.acked and self.buffer.acked_below(reliable.size) and not self.finished:
            self._move(Trigger.ALL_ACKED)
            self._table.on_send_finished(self)

    def on_reset_acked(self) -> None:
        """The peer has our RESET_STREAM."""
        if self.state is SendState.RESET_SENT:
            self._move(Trigger.RESET_ACKED)
            self._table.on_send_finished(self)
