"""Frames of a packet, decoded once although several observers look at them."""

from functools import lru_cache

from stack.wire.decoded_frames import Frame, decode_frames


@lru_cache(maxsize=8)
def decoded_frames(payload: bytes) -> tuple[Frame, ...]:
    """Return the frames of a packet's plaintext. Raises TransportError when they can't be decoded."""
    return tuple(decode_frames(payload))
