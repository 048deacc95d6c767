"""What `Connection.events()` and `Endpoint.events()` report to the layer above, in the order it happened."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stack.observer import Address

if TYPE_CHECKING:
    from stack.connection import Connection


@dataclass(frozen=True, slots=True)
class ConnectionAccepted:
    """Endpoint event: a server connection was created for a first Initial packet (its handshake is not done yet)."""

    connection: "Connection"


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """TLS is complete: the application may send and receive. `peer_certificates` are DER, leaf first."""

    alpn: str | None
    server_name: str | None
    resumed: bool
    early_data_accepted: bool
    peer_certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlyDataAllowed:
    """Client: what the application sends goes in 0-RTT from now on, before the handshake is complete."""


@dataclass(frozen=True, slots=True)
class EarlyDataAccepted:
    """Server: what the client sends before the handshake is complete is taken. Somebody may be replaying it."""


@dataclass(frozen=True, slots=True)
class HandshakeConfirmed:
    """The handshake is confirmed (RFC 9001 section 4.1.2)."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """The `server` gave a token for `Endpoint.connect` to it, for one connection that starts in QUIC version `version`.

    It spares that connection the validation of the client's address (RFC 9000 section 8.1.3, rfc9369:5:1).
    """

    token: bytes
    version: int
    server: Address


@dataclass(frozen=True, slots=True)
class NewSession:
    """The server gave a ticket: `session` is for `stack.tls.config.ClientTls`, for one connection to that server.

    `early_data` tells whether that connection may send 0-RTT; `lifetime` is in seconds, from now on. It only resumes
    if the connection starts in QUIC version `version`.
    """

    session: bytes
    early_data: bool
    lifetime: int
    version: int


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream, or `count` of its type at once: `stream_id` and those that follow, each 4 higher.

    Opening one opens all below it. All can be used; those without a frame so far take no memory until they are.
    """

    stream_id: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """There is data, the end or a reset to read. Said once; said again only after a read found nothing more."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A write that took less than it was given can go on, or the peer stopped the stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamSent:
    """Everything written to the stream, and its end, was acknowledged by the peer."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamsAvailable:
    """The peer raised the limit of streams that we may open."""

    unidirectional: bool


@dataclass(frozen=True, slots=True)
class PathValidated:
    """The peer receives at `remote` what comes from `local` (RFC 9000 section 8.2)."""

    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class PathFailed:
    """A path could not be validated in time; if it was in use, the last validated one is used again."""

    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Packets take this path from now on (RFC 9000 section 9)."""

    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """A datagram arrived (RFC 9221)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class DatagramAcked:
    """The peer acknowledged the datagram that `Connection.send_datagram` gave this number."""

    datagram_id: int


# "lost" in the network, "expired" before it could be sent, "dropped" from a full queue for newer or more urgent ones,
# "too_large" for a path that takes less than when the datagram was queued
DatagramFate = Literal["lost", "expired", "dropped", "too_large"]


@dataclass(frozen=True, slots=True)
class DatagramLost:
    """The datagram of this number was given up; only one that was "lost" has been sent, and may yet have arrived."""

    datagram_id: int
    fate: DatagramFate


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The connection is closed for the application; nothing follows.

    `idle` marks an idle timeout and `stateless_reset` a peer that has lost its state: neither has an error code.

    `code`/`reason` are those of the CONNECTION_CLOSE; `application` tells which of its two kinds; `remote` who sent it.
    """

    code: int
    reason: str
    application: bool
    remote: bool
    idle: bool = False
    stateless_reset: bool = False


ConnectionEvent = (
    HandshakeCompleted
    | EarlyDataAllowed
    | EarlyDataAccepted
    | HandshakeConfirmed
    | NewToken
    | NewSession
    | StreamOpened
    | StreamReadable
    | StreamWritable
    | StreamSent
    | StreamsAvailable
    | PathValidated
    | PathFailed
    | PathChanged
    | DatagramReceived
    | DatagramAcked
    | DatagramLost
    | ConnectionEnded
)
