"""Random streams that depend on a seed and a name alone."""

import hashlib
from random import Random


def random_stream(seed: int, name: str) -> Random:
    """Return a new random stream, the same for the same `seed` and `name` on any machine."""
    return Random(int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()))
