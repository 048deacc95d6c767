"""HMAC (RFC 2104) over `hashlib`.

A handshake takes some eighty of them, of a few bytes each. `hmac.digest` looks its hash function up by name in every
call, which takes longer than the hashing.
"""

import hashlib
from typing import Final

_HASHES: Final = {"sha256": (hashlib.sha256, 64), "sha384": (hashlib.sha384, 128)}  # with the size of their blocks

# For `bytes.translate`: what keys are combined with for the inner and the outer hash
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def hmac_digest(hash_name: str, key: bytes, message: bytes) -> bytes:
    """Return HMAC of `message`; `hash_name` is "sha256" or "sha384"."""
    hash_of, size = _HASHES[hash_name]
    if len(key) > size:
        key = hash_of(key).digest()
    padded = key.ljust(size, b"\0")
    return hash_of(padded.translate(_OUTER) + hash_of(padded.translate(_INNER) + message).digest()).digest()
