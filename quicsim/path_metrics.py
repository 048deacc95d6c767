"""What a connection did on its paths: addresses, moves, and the challenges and responses that validate them."""

from typing import Final, NamedTuple

from quicsim.series import Series
from stack.observer import Address, PacketInfo
from stack.wire.decoded_frames import Frame, PathChallengeFrame, PathResponseFrame

CHALLENGE: Final = "PATH_CHALLENGE"
RESPONSE: Final = "PATH_RESPONSE"

_KINDS: Final = {PathChallengeFrame: CHALLENGE, PathResponseFrame: RESPONSE}


class PathFrame(NamedTuple):
    """A CHALLENGE or RESPONSE that was sent or received at `at` (ns) on the path of this number."""

    at: int
    path: int
    kind: str
    data: bytes
    sent: bool


class Move(NamedTuple):
    """A step of a validation or migration at `at` (ns); `state` is qlog's name of it."""

    at: int
    state: str
    path: int


class PathMetrics:
    """The paths of one end of a connection, by number; 0 is the one of the handshake.

    `addresses` are (local, remote); `traffic` has a row for each packet, whose size is in bytes.
    """

    def __init__(self) -> None:
        self.addresses: Final[dict[int, tuple[Address, Address]]] = {}
        self.traffic: Final = Series("path", "size", "sent")
        self.frames: Final[list[PathFrame]] = []
        self.moves: Final[list[Move]] = []

    @property
    def changes(self) -> list[Move]:
        """The moves that put another path to use."""
        return [move for move in self.moves if move.state == "migration_started"]

    def packet(self, now: int, packet: PacketInfo, sent: bool) -> None:
        """A packet was sent or received."""
        self.traffic.append(now, packet.path, packet.size, sent)

    def frame(self, now: int, path: int, frame: Frame, sent: bool) -> None:
        """A frame was sent or received; only those that validate paths are kept."""
        if isinstance(frame, PathChallengeFrame | PathResponseFrame):
            self.frames.append(PathFrame(now, path, _KINDS[type(frame)], frame.data, sent))
