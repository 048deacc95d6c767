"""Columns of numbers over time."""

from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

NS_PER_S: Final = 10**9


class Series:
    """Rows of integers in order of time, kept as columns. The first column is "time" in ns."""

    def __init__(self, *names: str) -> None:
        self.names: Final = ("time", *names)
        self._columns: Final = tuple(array("q") for _ in self.names)

    def append(self, now: int, *values: int) -> None:
        """Add a row: the time in ns, and a value for each further column."""
        for column, value in zip(self._columns, (now, *values), strict=True):
            column.append(value)

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        """Return a copy of a column; raises KeyError for a name that is none."""
        if name not in self.names:
            raise KeyError(f"{name!r}: must be one of {', '.join(self.names)}")
        return np.array(self._columns[self.names.index(name)], dtype=np.int64)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The times in s."""
        return self["time"] / NS_PER_S
