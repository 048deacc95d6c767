"""Sets of integers as sorted, disjoint, half-open ranges: packet numbers received, bytes lost or acknowledged."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

# What an empty set has instead of lists of its own, and never changes: a connection has many that stay empty
_NONE: Final[list[int]] = []


class RangeSet:
    """A set of non-negative ints as ranges [start, end). Growing at the end costs one compare.

    `starts` and `ends` may be changed only here, or while the set is not empty.
    """

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts = self.ends = _NONE

    def __len__(self) -> int:
        """Number of ranges, not of members."""
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Ranges (start, end), ascending."""
        return zip(self.starts, self.ends, strict=True)

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self.starts, value) - 1
        return index >= 0 and value < self.ends[index]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    def add(self, start: int, end: int) -> None:
        """Add [start, end); ranges that touch become one. An empty range adds nothing."""
        if start >= end:
            return
        starts, ends = self.starts, self.ends
        if not ends:
            self.starts = [start]
            self.ends = [end]
            return
        if start > ends[-1]:
            starts.append(start)
            ends.append(end)
            return
        if start == ends[-1]:
            ends[-1] = end
            return
        first = bisect_left(ends, start)  # first range that ends at or after start
        last = bisect_right(starts, end)  # one past the last range that starts at or before end
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]

    def subtract(self, start: int, end: int) -> None:
        """Remove [start, end)."""
        starts, ends = self.starts, self.ends
        if not starts or start >= end:
            return
        first = bisect_right(ends, start)  # first range that ends after start
        last = bisect_left(starts, end)  # one past the last range that starts before end
        if first >= last:
            return
        new_starts: list[int] = []
        new_ends: list[int] = []
        if starts[first] < start:
            new_starts.append(starts[first])
            new_ends.append(start)
        if ends[last - 1] > end:
            new_starts.append(end)
            new_ends.append(ends[last - 1])
        starts[first:last] = new_starts
        ends[first:last] = new_ends

    def overlapping(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges that have members in [start, end), whole, ascending."""
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end)
        return list(zip(self.starts[first:last], self.ends[first:last], strict=True))

    def pop_first(self, limit: int) -> tuple[int, int]:
        """Take away and return at most `limit` members from the lowest range, as (start, end)."""
        start, end = self.starts[0], self.ends[0]
        if end - start > limit:
            end = start + limit
            self.starts[0] = end
        else:
            del self.starts[0], self.ends[0]
        return start, end

    def drop_below(self, value: int) -> None:
        """Forget every member below `value`."""
        starts, ends = self.starts, self.ends
        if not starts or starts[0] >= value:
            return
        gone = bisect_right(ends, value)
        del starts[:gone], ends[:gone]
        if starts and starts[0] < value:
            starts[0] = value

    def clear(self) -> None:
        """Forget everything."""
        self.starts = self.ends = _NONE
