"""The randomness the stack is given: a seeded generator in simulation, the system's CSPRNG on real sockets."""

from typing import Protocol


class Randomness(Protocol):
    """What the stack draws from; `random.Random(seed)` and `random.SystemRandom()` both fit."""

    def randbytes(self, n: int, /) -> bytes:
        """Return `n` random bytes."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Return an int of `k` random bits."""
        ...

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...
