"""Bytes back in order (RFC 9000 section 2.2)."""

from stack.limits import BYTES_PER_PIECE, SMALL_DATA
from stack.ranges import RangeSet


class Pieces:
    """How many disjoint pieces wait for gaps to fill, on all streams that share the count."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Reassembly:
    """Bytes that arrive in any order, given out in order. Used by streams and by CRYPTO.

    In-order data is queued as it came, small pieces joined. Data beyond a gap goes into one buffer that starts at the
    gap, so overlaps cost nothing and memory is bounded by the window.
    """

    __slots__ = ("_beyond", "_pending", "_pieces", "_ready", "received")

    def __init__(self, pieces: Pieces | None = None) -> None:
        """`pieces`: where those that wait here are counted too."""
        self._pieces = pieces or Pieces()
        self.received = 0  # bytes received without a gap; they are queued or were taken
        self._ready: list[bytes] = []
        self._pending = RangeSet()  # offsets held beyond the gap
        self._beyond = bytearray()  # from offset `received` on

    @property
    def waiting(self) -> int:
        """Number of disjoint pieces that wait for a gap to fill."""
        return len(self._pending)

    def add(self, offset: int, data: bytes) -> bool:
        """Take `data` at `offset`; return whether more can be taken in order than before."""
        start = self.received
        if offset == start and not self._pending.starts:
            if not data:
                return False
            size = len(data)
            ready = self._ready
            if size < SMALL_DATA and ready and len(ready[-1]) < BYTES_PER_PIECE:
                ready[-1] += data
            else:
                ready.append(data)
            self.received = start + size
            return True
        end = offset + len(data)
        if end <= start or not data:
            return False
        if offset < start:
            data = data[start - offset :]
            offset = start
        beyond = self._beyond
        index = offset - start
        if index > len(beyond):
            beyond.extend(bytes(index - len(beyond)))
        beyond[index : index + len(data)] = data
        pending = self._pending
        before = len(pending.starts)
        pending.add(offset, end)
        if offset > start:
            self._pieces.count += len(pending.starts) - before
            return False
        length = pending.ends[0] - start
        pending.drop_below(start + length)
        self._pieces.count += len(pending.starts) - before
        self._ready.append(bytes(beyond[:length]))
        del beyond[:length]
        self.received = start + length
        return True

    def take(self, limit: int | None = None) -> bytes:
        """Give out what is in order, at most `limit` bytes."""
        ready = self._ready
        if not ready:
            return b""
        data = ready[0] if len(ready) == 1 else b"".join(ready)
        ready.clear()
        if limit is not None and len(data) > limit:
            ready.append(data[limit:])
            return data[:limit]
        return data

    def clear(self) -> None:
        """Drop everything held."""
        self._pieces.count -= len(self._pending)
        self._ready.clear()
        self._pending.clear()
        self._beyond.clear()
