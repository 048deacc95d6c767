"""HMAC (RFC 2104) over `hashlib`.

A handshake takes some eighty of them, of a few bytes each. `hmac.digest` looks its hash function up by name in every
call, which takes longer than the hashing.
"""

import hashlib
from typing import Final

# By hash: its function, the size of its blocks, and what keys are combined with for the inner and the outer hash
_HASHES: Final = {
    name: (function, size, int.from_bytes(b"\x36" * size), int.from_bytes(b"\x5c" * size))
    for name, function, size in (("sha256", hashlib.sha256, 64), ("sha384", hashlib.sha384, 128))
}


def hmac_digest(hash_name: str, key: bytes, message: bytes) -> bytes:
    """Return HMAC of `message`; `hash_name` is "sha256" or "sha384"."""
    hash_of, size, inner, outer = _HASHES[hash_name]
    if len(key) > size:
        key = hash_of(key).digest()
    padded = int.from_bytes(key.ljust(size, b"\0"))
    inside = hash_of((padded ^ inner).to_bytes(size) + message).digest()
    return hash_of((padded ^ outer).to_bytes(size) + inside).digest()
