"""Datagrams: application data that is sent once, or not at all, and never again (RFC 9221)."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from stack.config import DROP_OLDEST, Config
from stack.errors import PROTOCOL_VIOLATION, DatagramError, DatagramQueueFull, TransportError
from stack.events import ConnectionEvent, DatagramAcked, DatagramFate, DatagramLost, DatagramReceived
from stack.limits import MAX_QUEUED_DATAGRAMS
from stack.recovery.acknowledgments import NEVER
from stack.sent_frame import NeverRepeated, SentFrame
from stack.stats import ConnectionStats
from stack.wire.frames import DATAGRAM_LEN, encode_datagram_header
from stack.wire.varint import Truncated, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket


class _Queued(NamedTuple):
    """A datagram that waits to be sent."""

    datagram_id: int
    urgency: int
    expires_at: int
    data: bytes


class Datagrams(NeverRepeated):
    """The datagrams of a connection that wait to be sent, and the frames that carry datagrams in both directions.

    `queued` counts those that wait. `expires_at` is when the first of them expires, or earlier; NEVER if none does.
    """

    __slots__ = (
        "_capacity",
        "_drops_oldest",
        "_emit",
        "_local_limit",
        "_next_id",
        "_order",
        "_peer_limit",
        "_queued_bytes",
        "_queues",
        "_stats",
        "_turn",
        "expires_at",
        "queued",
    )

    def __init__(self, config: Config, emit: Callable[[ConnectionEvent], None], stats: ConnectionStats) -> None:
        self._local_limit = config.max_datagram_frame_size
        self._capacity = config.datagram_send_buffer
        self._drops_oldest = config.datagram_overflow == DROP_OLDEST
        self._emit = emit
        self._stats = stats
        self._peer_limit = 0  # largest frame that the peer takes, known with its transport parameters
        self._next_id = 0
        self._queues: dict[int, deque[_Queued]] = {}  # by urgency, those ever used
        self._order: list[deque[_Queued]] = []  # the same, most urgent first
        self._queued_bytes = 0
        self._turn = True  # whether datagrams go before equally urgent streams in the next packet
        self.queued = 0
        self.expires_at = NEVER

    def set_peer_limit(self, max_datagram_frame_size: int) -> None:
        """The peer announced the largest DATAGRAM frame that it takes, 0 for none, whatever we take (rfc9221:3:6)."""
        self._peer_limit = max_datagram_frame_size

    def max_payload(self, room: int) -> int:
        """Bytes of the largest datagram that the peer takes in `room` bytes of frames; 0 also if it takes none."""
        room = min(room, self._peer_limit)
        # The type takes 1 byte, and the length 1, 2 or 4
        return max(0, min(room - 2, 63), min(room - 3, 16_383), room - 5)

    # Sending

    def send(self, data: bytes, room: int, expires_at: int | None, urgency: int) -> int:
        """Queue a datagram and return its number; `room` is what frames may take in a packet of its own, in bytes.

        Raises DatagramError if the peer takes none or none so large, DatagramQueueFull if full queues refuse more.
        """
        if not self._peer_limit:  # rfc9221:3:1
            raise DatagramError("the peer takes no datagrams: it has announced no max_datagram_frame_size")
        largest = self.max_payload(room)
        if len(data) > largest:  # rfc9221:3:2
            raise DatagramError(f"a datagram of {len(data)} bytes: peer and path take at most {largest}")
        if not self._drops_oldest and self.queued and self._overflows(1, len(data)):
            raise DatagramQueueFull(f"{self.queued} datagrams of {self._queued_bytes} bytes wait to be sent")
        datagram = _Queued(self._next_id, urgency, NEVER if expires_at is None else expires_at, data)
        self._next_id += 1
        self._queue_of(urgency).append(datagram)
        self.queued += 1
        self._queued_bytes += len(data)
        self.expires_at = min(self.expires_at, datagram.expires_at)
        while self.queued > 1 and self._overflows(0, 0):
            least_urgent = next(queue for queue in reversed(self._order) if queue)
            self._give_up(self._take_first(least_urgent), "dropped")
        return datagram.datagram_id

    def _overflows(self, count: int, size: int) -> bool:
        """Whether the queue is too long with `count` more datagrams of `size` bytes together."""
        return self.queued + count > MAX_QUEUED_DATAGRAMS or self._queued_bytes + size > self._capacity

    def _queue_of(self, urgency: int) -> deque[_Queued]:
        queue = self._queues.get(urgency)
        if queue is None:
            queue = self._queues[urgency] = deque()
            self._order = [self._queues[used] for used in sorted(self._queues)]
        return queue

    def _take_first(self, queue: deque[_Queued]) -> _Queued:
        datagram = queue.popleft()
        self.queued -= 1
        self._queued_bytes -= len(datagram.data)
        if not self.queued:
            self.expires_at = NEVER
        return datagram

    def _give_up(self, datagram: _Queued, fate: DatagramFate) -> None:
        self._stats.datagram_frames_dropped += 1
        self._emit(DatagramLost(datagram.datagram_id, fate))

    def expire(self, now: int) -> None:
        """Give up what was not sent before it expired; call it when `expires_at` has come."""
        next_at = NEVER
        for queue in self._order:
            for _ in range(len(queue)):
                datagram = self._take_first(queue)
                if datagram.expires_at <= now:
                    self._give_up(datagram, "expired")
                else:
                    queue.append(datagram)
                    self.queued += 1
                    self._queued_bytes += len(datagram.data)
                    next_at = min(next_at, datagram.expires_at)
        self.expires_at = next_at

    def go_before(self, stream_urgency: int) -> bool:
        """Whether the next datagram goes into a packet before data of streams of this urgency (rfc9221:5.1:1).

        What is more urgent goes first; equally urgent, they take turns packet by packet, so that neither starves.
        """
        urgency = next(queue[0].urgency for queue in self._order if queue)
        return urgency < stream_urgency or (urgency == stream_urgency and self._turn)

    def write(self, room: int, largest: int, parts: list[bytes | bytearray], sent_frames: list[SentFrame]) -> int:
        """Put DATAGRAM frames into `parts` as long as the next fits into `room` bytes; return the bytes used.

        `largest` is the room in a packet with nothing else. What exceeds that too, now that the path takes less than
        when it was queued, is given up.
        """
        used = 0
        for queue in self._order:
            while queue:
                data = queue[0].data
                header = encode_datagram_header(len(data))
                size = len(header) + len(data)
                if used + size > room:
                    if size <= largest:
                        self._turn = not used
                        return used
                    self._give_up(self._take_first(queue), "too_large")
                    continue
                datagram = self._take_first(queue)
                parts.append(header)
                parts.append(data)
                sent_frames.append((self, datagram.datagram_id))
                self._stats.datagram_frames_sent += 1
                used += size
        self._turn = not used
        return used

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The datagram arrived (rfc9221:5.2:3)."""
        self._emit(DatagramAcked(sent[1]))

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """The datagram was probably lost: the application decides what that means (rfc9221:5.2:2)."""
        self._stats.datagram_frames_lost += 1
        self._emit(DatagramLost(sent[1], "lost"))

    # Receiving

    def on_datagram_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """DATAGRAM: hand the data to the application at once (rfc9221:5:2)."""
        after_type = position
        end = len(payload)
        if frame_type == DATAGRAM_LEN:
            length, position = decode_varint(payload, position)
            if position + length > end:
                raise Truncated(f"a datagram of {length} bytes exceeds the {end - position} that are left")
            end = position + length
        size = 1 + end - after_type
        if size > self._local_limit:  # rfc9221:3:3, rfc9221:3:4
            limit = self._local_limit or "none was announced"
            raise TransportError(PROTOCOL_VIOLATION, f"DATAGRAM frame of {size} bytes, limit {limit}", frame_type)
        self._stats.datagram_frames_received += 1
        self._emit(DatagramReceived(payload[position:end]))
        return end
