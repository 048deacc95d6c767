"""HKDF (RFC 5869) and HKDF-Expand-Label (RFC 8446 section 7.1), over HMAC."""

from functools import cache
from typing import Final

from stack.crypto.mac import hmac_digest

HASH_LENGTH: Final = {"sha256": 32, "sha384": 48}
_SHORTEST: Final = min(HASH_LENGTH.values())


def hkdf_extract(hash_name: str, salt: bytes, key_material: bytes) -> bytes:
    """Return the pseudorandom key of RFC 5869 section 2.2; `hash_name` is "sha256" or "sha384"."""
    return hmac_digest(hash_name, salt, key_material)


def hkdf_expand(hash_name: str, key: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes of output keying material (RFC 5869 section 2.3)."""
    block = hmac_digest(hash_name, key, info + b"\x01")
    output = block
    counter = 2
    while len(output) < length:
        block = hmac_digest(hash_name, key, block + info + bytes((counter,)))
        output += block
        counter += 1
    return output[:length]


def hkdf_label(label: bytes, context: bytes, length: int) -> bytes:
    """Return the HkdfLabel structure; `label` without its "tls13 " prefix."""
    return b"%c%c%c%b%c%b" % (
        length >> 8,
        length & 0xFF,
        6 + len(label),
        b"tls13 " + label,
        len(context),
        context,
    )


@cache
def _first_block_info(label: bytes, length: int) -> bytes:
    """Return what the first block is made of, where there is no context; labels are few and constant."""
    return hkdf_label(label, b"", length) + b"\x01"


def hkdf_expand_label(hash_name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Return HKDF-Expand-Label(secret, label, context, length)."""
    if length > _SHORTEST and length > HASH_LENGTH[hash_name]:
        return hkdf_expand(hash_name, secret, hkdf_label(label, context, length), length)
    info = hkdf_label(label, context, length) + b"\x01" if context else _first_block_info(label, length)
    return hmac_digest(hash_name, secret, info)[:length]
