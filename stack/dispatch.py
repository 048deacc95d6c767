"""One row per frame type: its name, the packets that may carry it, and who handles it (RFC 9000 table 3).

A handler is a method `(payload, position, frame_type, packet) -> next position` of one of the connection's parts; it
raises Truncated when the payload ends inside the frame. To add a frame type, write the handler (and, to send it, a
`ControlOwner`) in the part it belongs to, and add a row here.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from stack.tls.engine import APPLICATION, EARLY, HANDSHAKE, INITIAL

if TYPE_CHECKING:
    from stack.path.path import Path
    from stack.recovery.space import PacketNumberSpace


class ReceivedPacket:
    """The authenticated packet whose frames are being processed."""

    __slots__ = ("destination_cid", "now", "path", "space", "waited_ns")

    def __init__(self, space: "PacketNumberSpace", path: "Path", destination_cid: bytes, now: int) -> None:
        self.space = space
        self.path = path
        self.destination_cid = destination_cid
        self.now = now
        self.waited_ns = 0  # since it arrived, for its keys


Handler = Callable[[bytes, int, int, ReceivedPacket], int]

_LEVELS: Final = {"I": 1 << INITIAL, "0": 1 << EARLY, "H": 1 << HANDSHAKE, "1": 1 << APPLICATION}


class Row(NamedTuple):
    """One frame type, or a run of them that share everything."""

    first: int
    last: int
    name: str
    packets: str  # of I, H, 0, 1, as in RFC 9000 table 3
    owner: str  # attribute of the connection, or of one of its parts
    method: str
    ack_eliciting: bool = True


ROWS: Final = (
    Row(0x00, 0x00, "PADDING", "IH01", "receiver", "on_padding_frame", ack_eliciting=False),
    Row(0x01, 0x01, "PING", "IH01", "receiver", "on_ping_frame"),
    Row(0x02, 0x03, "ACK", "IH1", "recovery", "on_ack_frame", ack_eliciting=False),
    Row(0x04, 0x04, "RESET_STREAM", "01", "streams.received", "on_reset_stream_frame"),
    Row(0x05, 0x05, "STOP_SENDING", "01", "streams.received", "on_stop_sending_frame"),
    Row(0x06, 0x06, "CRYPTO", "IH1", "handshake", "on_crypto_frame"),
    Row(0x07, 0x07, "NEW_TOKEN", "1", "new_tokens", "on_frame"),
    Row(0x08, 0x0F, "STREAM", "01", "streams.received", "on_stream_frame"),
    Row(0x10, 0x10, "MAX_DATA", "01", "streams.received", "on_max_data_frame"),
    Row(0x11, 0x11, "MAX_STREAM_DATA", "01", "streams.received", "on_max_stream_data_frame"),
    Row(0x12, 0x13, "MAX_STREAMS", "01", "streams.limits", "on_max_streams_frame"),
    Row(0x14, 0x14, "DATA_BLOCKED", "01", "flow", "on_data_blocked_frame"),
    Row(0x15, 0x15, "STREAM_DATA_BLOCKED", "01", "streams.received", "on_stream_data_blocked_frame"),
    Row(0x16, 0x17, "STREAMS_BLOCKED", "01", "streams.limits", "on_streams_blocked_frame"),
    Row(0x18, 0x18, "NEW_CONNECTION_ID", "01", "remote_ids", "on_new_frame"),
    Row(0x19, 0x19, "RETIRE_CONNECTION_ID", "01", "local_ids", "on_retire_frame"),
    Row(0x1A, 0x1A, "PATH_CHALLENGE", "01", "paths", "on_challenge_frame"),
    Row(0x1B, 0x1B, "PATH_RESPONSE", "1", "paths", "on_response_frame"),
    Row(0x1C, 0x1C, "CONNECTION_CLOSE", "IH01", "closing", "on_close_frame", ack_eliciting=False),
    Row(0x1D, 0x1D, "CONNECTION_CLOSE", "01", "closing", "on_close_frame", ack_eliciting=False),
    Row(0x1E, 0x1E, "HANDSHAKE_DONE", "1", "handshake", "on_handshake_done_frame"),
    Row(0x1F, 0x1F, "IMMEDIATE_ACK", "1", "ack_frequency", "on_immediate_ack_frame"),
    Row(0x24, 0x24, "RESET_STREAM_AT", "01", "streams.received", "on_reset_stream_at_frame"),
    Row(0x30, 0x31, "DATAGRAM", "01", "datagrams", "on_datagram_frame"),  # rfc9221:5:3, rfc9221:6:1
    Row(0xAF, 0xAF, "ACK_FREQUENCY", "1", "ack_frequency", "on_ack_frequency_frame"),
)

TABLE_SIZE: Final = 0x100  # more than the largest frame type that we know

# Per frame type: the levels that may carry it (0: unknown type), and whether it asks for an ACK
ALLOWED: Final = [0] * TABLE_SIZE
ACK_ELICITING: Final = [False] * TABLE_SIZE
for _row in ROWS:
    for _type in range(_row.first, _row.last + 1):
        ALLOWED[_type] = sum(_LEVELS[packet] for packet in _row.packets)
        ACK_ELICITING[_type] = _row.ack_eliciting


_METHOD_OF: Final = {
    frame_type: attrgetter(f"{row.owner}.{row.method}") for row in ROWS for frame_type in range(row.first, row.last + 1)
}


class Handlers(dict[int, Handler]):
    """The handlers of a connection's parts by frame type. Most connections need few of them, so each is found once.

    Only frame types that are known (`ALLOWED`) may be asked for.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: object) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, frame_type: int) -> Handler:
        handler: Handler = _METHOD_OF[frame_type](self._connection)
        self[frame_type] = handler
        return handler
