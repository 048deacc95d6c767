"""The largest value of late (as BBR's filters need it: draft-ietf-ccwg-bbr sections 5.5.3 and 5.5.9)."""

from collections import deque


class WindowedMax:
    """A maximum over the last few units of a time that counts up: rounds, or cycles of probing."""

    __slots__ = ("_values", "value")

    def __init__(self) -> None:
        self.value = 0
        self._values: deque[tuple[int, int]] = deque()  # (time, value), later and smaller from left to right

    def update(self, value: int, time: int, length: int) -> int:
        """Take in a value; return the largest one of the last `length` units, that at `time` included."""
        values = self._values
        while values and values[-1][1] <= value:
            values.pop()
        values.append((time, value))
        while values[0][0] <= time - length:
            values.popleft()
        self.value = values[0][1]
        return self.value
