"""Reserved values that mean nothing, so that peers don't forget to ignore what they don't know (RFC 8701)."""

from typing import Final

from stack.randomness import Randomness
from stack.tls import codec, extensions

VALUES: Final = tuple(0x0A0A + 0x1010 * index for index in range(16))
PSK_MODES: Final = tuple(0x0B + 0x1F * index for index in range(8))


def pick(rng: Randomness) -> int:
    """Return one of the reserved 16-bit values: suites, groups, versions, signature schemes, extensions."""
    return VALUES[rng.getrandbits(4)]


def add_to_hello(bodies: dict[int, bytes], suites: tuple[int, ...], rng: Randomness) -> tuple[int, ...]:
    """Add reserved values to everything that a client offers: to `bodies`, and to the suites that are returned.

    An empty extension goes first, one with a byte last.
    """
    group = pick(rng)
    bodies[extensions.SUPPORTED_VERSIONS] = _prepend(bodies[extensions.SUPPORTED_VERSIONS], 1, _number(pick(rng)))
    bodies[extensions.SUPPORTED_GROUPS] = _prepend(bodies[extensions.SUPPORTED_GROUPS], 2, _number(group))
    share = extensions.encode_key_share(group, b"\x00")
    bodies[extensions.KEY_SHARE] = _prepend(bodies[extensions.KEY_SHARE], 2, share)
    signatures = bodies[extensions.SIGNATURE_ALGORITHMS]
    bodies[extensions.SIGNATURE_ALGORITHMS] = _prepend(signatures, 2, _number(pick(rng)))
    modes = bodies.get(extensions.PSK_KEY_EXCHANGE_MODES)
    if modes is not None:
        bodies[extensions.PSK_KEY_EXCHANGE_MODES] = codec.vector8(modes[1:] + bytes((PSK_MODES[rng.getrandbits(3)],)))
    first, last = rng.getrandbits(4), rng.getrandbits(4)
    known = dict(bodies)
    bodies.clear()
    bodies[VALUES[first]] = b""
    bodies.update(known)
    bodies[VALUES[last if last != first else last ^ 1]] = b"\x00"
    return (pick(rng), *suites)


def extension(rng: Randomness) -> bytes:
    """Return a reserved extension, for a CertificateRequest or a NewSessionTicket."""
    return extensions.encode_extension(pick(rng), b"")


def _number(value: int) -> bytes:
    return value.to_bytes(2)


def _prepend(vector: bytes, width: int, item: bytes) -> bytes:
    """Return a vector, whose length has `width` bytes, with one item more at its front."""
    items = item + vector[width:]
    return len(items).to_bytes(width) + items
