"""Frames of a packet, decoded once although several observers look at them, at both ends."""

from functools import lru_cache
from typing import Final

from stack.wire.decoded_frames import Frame, decode_frames

_UNDER_WAY: Final = 1024  # packets between sender and receiver, on most networks


@lru_cache(maxsize=_UNDER_WAY)
def decoded_frames(payload: bytes) -> tuple[Frame, ...]:
    """Return the frames of a packet's plaintext. Raises TransportError when they can't be decoded."""
    return tuple(decode_frames(payload))
