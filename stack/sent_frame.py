"""What a sent packet carried, kept as intent: lost frames are never resent as bytes, their owners are asked again."""

from typing import Any, Protocol

# (owner, details…): the owner alone knows what the details mean.
SentFrame = tuple[Any, ...]


class FrameOwner(Protocol):
    """A part of the connection that sends frames; learns their fate, and sends again what is still needed."""

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The packet that carried the frame was acknowledged."""

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """The packet that carried the frame was lost, or a probe should repeat it."""


class NeverRepeated:
    """Base of owners whose frames are sent once: probes repeat none of them, so `on_lost` means lost."""

    __slots__ = ()
