"""What both stacks are given to do, so that their figures compare."""

from typing import Final, NamedTuple, Protocol

DATAGRAM_SIZE: Final = 1280  # UDP payload bytes
MAX_DATA: Final = 2 << 20  # flow control of a connection, bytes
MAX_STREAM_DATA: Final = 1 << 20
UNDELIVERED: Final = 1 << 20  # bytes per stream that the sending application keeps in flight or buffered
CHUNK: Final = bytes(64 << 10)  # what it writes at once
TURN_NS: Final = 100_000  # virtual time that one exchange of flights takes; the network itself has no latency
DATA_DATAGRAM: Final = DATAGRAM_SIZE // 2  # a datagram from the server counts as data from this size on


class Download(NamedTuple):
    """How long the client took to read everything: CPU seconds, both endpoints together.

    Both stacks compute in one thread and never wait, so that is the time on an idle machine, and on a busy one it
    changes less.
    """

    data_datagrams: int
    seconds: float

    @property
    def microseconds_per_datagram(self) -> float:
        """Cost of one data datagram with all that belongs to it: acknowledgments, flow control, copies."""
        return self.seconds * 1e6 / self.data_datagrams


class Stack(Protocol):
    """One QUIC implementation under test, client and server in memory in one thread."""

    name: str

    def download(self, streams: int, size: int) -> Download:
        """Fetch `size` bytes on each of `streams` streams of one connection; its handshake is not counted."""
        ...

    def handshakes(self, count: int, resumed: bool = False) -> float:
        """Return the CPU seconds for `count` handshakes, one after another, each with new endpoints.

        If `resumed`, all with the session of an earlier connection, without 0-RTT. No tickets are issued.
        """
        ...
