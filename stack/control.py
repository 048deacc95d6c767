"""Control frames that are owed to the peer, kept as intent (RFC 9000 section 13.3).

Whoever owes a frame says so with `owe(owner, key)`; when a packet has room, the owner writes the frame with the values
of that moment. If the packet is lost, the owner is asked again, and owes again only what still matters.
"""

from typing import Protocol

from stack.sent_frame import FrameOwner, SentFrame


class ControlOwner(FrameOwner, Protocol):
    """A part of the connection that sends control frames, one kind per key; in flight they are (owner, key)."""

    def write_frame(self, key: int) -> bytes:
        """The frame for `key` as it should be now; b"" when nothing is owed any more."""
        ...


class ControlFrames:
    """The frames owed, oldest first, each (owner, key) at most once. Empty `owed` means that none is."""

    __slots__ = ("now", "owed")

    def __init__(self) -> None:
        self.now = 0  # when the packet goes that is being written, set by the sender: frames may depend on it
        # Keyed by identity of the owner: owners need no hash, and the order is that of owing.
        self.owed: dict[tuple[int, int], tuple[ControlOwner, int]] = {}

    def owe(self, owner: ControlOwner, key: int) -> None:
        """Owe the frame `key` of `owner`; owing twice is owing once."""
        self.owed.setdefault((id(owner), key), (owner, key))

    def write(self, room: int, parts: list[bytes | bytearray], sent_frames: list[SentFrame]) -> int:
        """Move as many owed frames as fit into `room` bytes to `parts` and `sent_frames`; return the bytes used."""
        used = 0
        while self.owed:
            identity = next(iter(self.owed))
            owner, key = self.owed[identity]
            frame = owner.write_frame(key)
            if used + len(frame) > room:
                break
            del self.owed[identity]
            if frame:
                parts.append(frame)
                sent_frames.append((owner, key))
                used += len(frame)
        return used
