"""Randomness from the operating system, a block at a time: a system call per packet would cost more than the packet."""

import os
from typing import Final

_BLOCK: Final = 4096  # bytes
_POOL: Final = 256  # bits, for those who want few at a time


class SystemRandomness:
    """A `stack.randomness.Randomness` that nobody can predict; bytes are used once."""

    __slots__ = ("_block", "_pool", "_pool_size", "_position")

    def __init__(self) -> None:
        self._block = b""
        self._position = 0
        self._pool = self._pool_size = 0  # unused bits, and how many

    def randbytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        if count > _BLOCK // 8:
            return os.urandom(count)
        end = self._position + count
        if end > len(self._block):
            self._block, end = os.urandom(_BLOCK), count
        self._position = end
        return self._block[end - count : end]

    def getrandbits(self, count: int) -> int:
        """Return a random integer from 0 to 2^count - 1."""
        if count > self._pool_size:
            size = max(_POOL, count + 7) // 8
            self._pool, self._pool_size = int.from_bytes(self.randbytes(size)), 8 * size
        bits = self._pool & (1 << count) - 1
        self._pool >>= count
        self._pool_size -= count
        return bits

    def random(self) -> float:
        """Return a random number from 0 to below 1."""
        return self.getrandbits(53) / (1 << 53)
