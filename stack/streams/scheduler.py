"""Which stream sends next: the most urgent first, and in turns, a packet's worth each, among equally urgent ones."""

from collections import deque

from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.flow import ConnectionFlow
from stack.streams.send import SendStream
from stack.wire.frames import STREAM, STREAM_FIN, STREAM_LEN, STREAM_OFF
from stack.wire.varint import encode_varint

SMALLEST_FRAME_ROOM = 24  # bytes: less room than this is not worth a STREAM frame's header
LARGE_FRAME = 16_384  # bytes: a length from here on takes 4 bytes


class Scheduler:
    """Streams that can send, `ready` many, in a queue per urgency. No work grows with the number of all streams."""

    __slots__ = ("_flow", "_order", "_queues", "_stats", "held_back", "ready")

    def __init__(self, flow: ConnectionFlow, stats: ConnectionStats) -> None:
        self._flow = flow
        self._stats = stats
        self.ready = 0  # streams in all queues
        self._queues: dict[int, deque[SendStream]] = {}  # by urgency, those ever used
        self._order: list[deque[SendStream]] = []  # the same, most urgent first
        # Streams, by ID, whose new data the connection's limit forbids; what gets lost still queues them
        self.held_back: dict[int, SendStream] = {}

    def queue(self, stream: SendStream) -> None:
        """Give `stream` a place at the end, unless it has one or nothing to send."""
        if not stream.queued and stream.pending():
            stream.queued = True
            self.ready += 1
            self._queue_of(stream.urgency).append(stream)

    def set_priority(self, stream: SendStream, urgency: int, incremental: bool) -> None:
        """Let `stream` send by this priority from now on (rfc9000:2.3:1)."""
        stream.incremental = incremental
        if urgency == stream.urgency:
            return
        if stream.queued:
            self._queue_of(stream.urgency).remove(stream)
            self._queue_of(urgency).append(stream)
        stream.urgency = urgency

    def _queue_of(self, urgency: int) -> deque[SendStream]:
        queue = self._queues.get(urgency)
        if queue is None:
            queue = self._queues[urgency] = deque()
            self._order = [self._queues[used] for used in sorted(self._queues)]
        return queue

    def on_credit(self) -> None:
        """The connection's flow control limit rose."""
        held_back = self.held_back
        if held_back:
            self.held_back = {}
            for stream in held_back.values():
                self.queue(stream)

    def forget(self, stream: SendStream) -> None:
        """`stream` was reset: it has nothing that could be held back."""
        self.held_back.pop(stream.stream_id, None)

    def urgency(self) -> int:
        """The urgency of the stream that sends next; only while some are ready."""
        return next(queue[0].urgency for queue in self._order if queue)

    def write(self, room: int, parts: list[bytes | bytearray], sent_frames: list[SentFrame]) -> int:
        """Put STREAM frames into `parts` as long as they fit into `room` bytes; return the bytes used."""
        used = 0
        while self.ready and room - used >= SMALLEST_FRAME_ROOM:
            for queue in self._order:
                if queue:
                    break
            stream = queue.popleft()
            size = self._write_frame(stream, room - used, parts, sent_frames)
            used += size
            if not stream.pending():
                stream.queued = False
                self.ready -= 1
                if stream.blocked():
                    stream.on_blocked()
                elif stream.reliable is not None:
                    stream.reliable.on_all_sent()
            elif size == 0:
                stream.queued = False
                self.ready -= 1
                self.held_back[stream.stream_id] = stream
                self._flow.on_blocked()
            elif stream.incremental:
                queue.append(stream)
            else:
                queue.appendleft(stream)
        return used

    def _write_frame(
        self, stream: SendStream, room: int, parts: list[bytes | bytearray], sent_frames: list[SentFrame]
    ) -> int:
        """Put one STREAM frame into `parts`; return its size, 0 when flow control of the connection forbids any."""
        buffer = stream.buffer
        fresh_from = buffer.next_offset
        repeats = bool(buffer.lost.starts)
        flow = self._flow
        limit = min(stream.max_data, fresh_from + flow.peer_limit - flow.sent)
        offset = buffer.lost.starts[0] if repeats else fresh_from
        place = encode_varint(stream.stream_id)
        frame_type = STREAM | STREAM_LEN
        if offset:
            place += encode_varint(offset)
            frame_type |= STREAM_OFF
        # 1 byte for the type, and for the length 2, or 4 where the datagram is so large
        start, end = buffer.next_range(room - len(place) - (3 if room < LARGE_FRAME else 5), limit)
        # rfc9000:4.5:2 FIN goes with the last byte, or alone once all was sent
        fin = stream.fin_written and end == buffer.written and (stream.fin_pending or start < end)
        if start == end and not fin:
            return 0
        if repeats:
            self._stats.stream_bytes_retransmitted += end - start
        else:
            flow.sent += end - start  # rfc9000:4.1:1
        self._stats.stream_bytes_sent += end - start
        if fin:
            stream.on_end_sent()
            frame_type |= STREAM_FIN
        header = encode_varint(frame_type) + place + encode_varint(end - start)
        parts.append(header)
        parts.append(buffer.slice(start, end))
        sent_frames.append((stream, start, end, fin))
        return len(header) + end - start
