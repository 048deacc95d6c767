"""Which stream sends next: round robin, a packet's worth each, over the streams that have something to send."""

from collections import deque

from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.flow import ConnectionFlow
from stack.streams.send import SendStream
from stack.wire.frames import encode_stream_header
from stack.wire.varint import varint_size

SMALLEST_FRAME_ROOM = 24  # bytes: less room than this is not worth a STREAM frame's header


class Scheduler:
    """Streams that can send, in a queue. No work is proportional to the number of streams (only those queued)."""

    __slots__ = ("_flow", "_held_back", "_queue", "_stats")

    def __init__(self, flow: ConnectionFlow, stats: ConnectionStats) -> None:
        self._flow = flow
        self._stats = stats
        self._queue: deque[SendStream] = deque()
        self._held_back: list[SendStream] = []  # have only new data, and the connection's limit forbids it

    def __bool__(self) -> bool:
        return bool(self._queue)

    def queue(self, stream: SendStream) -> None:
        """Give `stream` a place at the end, unless it has one or nothing to send."""
        if not stream.queued and stream.pending():
            stream.queued = True
            self._queue.append(stream)

    def on_credit(self) -> None:
        """The connection's flow control limit rose."""
        held_back = self._held_back
        if held_back:
            self._queue.extend(held_back)
            held_back.clear()

    def write(self, room: int, parts: list[bytes], sent_frames: list[SentFrame]) -> int:
        """Put STREAM frames into `parts` as long as they fit into `room` bytes; return the bytes used."""
        queue = self._queue
        used = 0
        while queue and room - used >= SMALLEST_FRAME_ROOM:
            stream = queue.popleft()
            size = self._write_frame(stream, room - used, parts, sent_frames)
            used += size
            if not stream.pending():
                stream.queued = False
                if stream.blocked():
                    stream.on_blocked()
            elif size == 0:
                self._held_back.append(stream)  # keeps its place by staying `queued`
                self._flow.on_blocked()
            else:
                queue.append(stream)
        return used

    def _write_frame(self, stream: SendStream, room: int, parts: list[bytes], sent_frames: list[SentFrame]) -> int:
        """Put one STREAM frame into `parts`; return its size, 0 when flow control of the connection forbids any."""
        buffer = stream.buffer
        fresh_from = buffer.next_offset
        repeats = bool(buffer.lost.starts)
        flow = self._flow
        limit = min(stream.max_data, fresh_from + flow.peer_limit - flow.sent)
        offset = buffer.lost.starts[0] if repeats else fresh_from
        header_size = 3 + varint_size(stream.stream_id) + (varint_size(offset) if offset else 0)  # 2 for the length
        start, end = buffer.next_range(room - header_size, limit)
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
            stream.on_fin_sent()
        header = encode_stream_header(stream.stream_id, start, end - start, fin)
        parts.append(header)
        parts.append(buffer.slice(start, end))
        sent_frames.append((stream, start, end, fin))
        return len(header) + end - start
