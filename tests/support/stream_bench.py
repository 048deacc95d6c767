"""A stream table by itself: frames in as bytes, frames out as values, events in a list."""

from operator import attrgetter
from typing import Any

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.control import ControlFrames
from stack.dispatch import ROWS, ReceivedPacket
from stack.errors import TransportError
from stack.events import ConnectionEvent
from stack.recovery.acknowledgments import Acknowledgments
from stack.recovery.space import PacketNumberSpace
from stack.sent_frame import SentFrame
from stack.stats import ConnectionStats
from stack.streams.crypto import CryptoStream
from stack.streams.table import StreamTable
from stack.tls.config import ClientTls
from stack.tls.engine import APPLICATION
from stack.wire.decoded_frames import Frame, decode_frames
from stack.wire.header import ONE_RTT
from stack.wire.parameters import TransportParameters
from tests.support.paths import make_path

GENEROUS = TransportParameters(
    initial_max_data=1 << 30,
    initial_max_stream_data_bidi_local=1 << 20,
    initial_max_stream_data_bidi_remote=1 << 20,
    initial_max_stream_data_uni=1 << 20,
    initial_max_streams_bidi=100,
    initial_max_streams_uni=100,
)


class StreamBench:
    """A StreamTable with its control frames. The peer's limits are GENEROUS unless given."""

    def __init__(self, *, is_client: bool = True, peer: TransportParameters | None = GENEROUS, **config: Any) -> None:
        self.events: list[ConnectionEvent] = []
        self.control = ControlFrames()
        self.stats = ConnectionStats()
        self.config = Config(tls=ClientTls(trust=test_certificate()), **config)
        self.now = 0  # ns
        path = make_path()
        self.rtt, self.congestion = path.rtt, path.congestion
        self.rtt.smoothed_rtt_ns = 0  # without a round-trip time no window grows
        self.congestion.congestion_window = 0
        self.table = StreamTable(self.config, is_client, self.control, self.events.append, self.stats, lambda: path)
        space = PacketNumberSpace(2, APPLICATION, ONE_RTT, Acknowledgments(0, 3), CryptoStream())
        self._packet = ReceivedPacket(space, path, b"", 0)
        if peer is not None:
            self.table.set_peer_parameters(peer)
            self.events.clear()

    def open(self, unidirectional: bool = False) -> int:
        """Open a stream that the peer's limit allows."""
        stream_id = self.table.open(unidirectional)
        assert stream_id is not None
        return stream_id

    def send(self, room: int = 1200) -> tuple[list[Frame], list[SentFrame]]:
        """Return the frames of one packet with `room` bytes for them, and what is remembered of them."""
        parts: list[bytes | bytearray] = []
        sent: list[SentFrame] = []
        self.control.now = self.now
        used = self.control.write(room, parts, sent)
        used += self.table.scheduler.write(room - used, parts, sent)
        payload = b"".join(parts)
        assert len(payload) == used <= room
        return decode_frames(payload), sent

    def frames(self, room: int = 1200) -> list[Frame]:
        """Return the frames of one packet."""
        return self.send(room)[0]

    def feed(self, frame: bytes) -> None:
        """Process one frame of the peer."""
        for row in ROWS:
            if row.first <= frame[0] <= row.last:
                # As attributes of a connection: `flow`, `streams.received`, `streams.limits`
                owner: Any = attrgetter(row.owner.removeprefix("streams."))(self.table)
                assert getattr(owner, row.method)(frame, 1, frame[0], self._packet) == len(frame)

    def error(self, frame: bytes) -> int | None:
        """Process one frame of the peer and return the code of the error that it causes."""
        try:
            self.feed(frame)
        except TransportError as error:
            return error.code
        return None

    @staticmethod
    def acked(sent: list[SentFrame]) -> None:
        """The packet with these frames was acknowledged."""
        for frame in sent:
            frame[0].on_acked(frame, 0)

    @staticmethod
    def lost(sent: list[SentFrame]) -> None:
        """The packet with these frames was lost."""
        for frame in sent:
            frame[0].on_lost(frame, 0)
