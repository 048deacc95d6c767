"""The narrow interface between the transport and a TLS 1.3 engine (RFC 9001 section 4).

The transport moves handshake bytes per encryption level and gets back one ordered queue of events. Packet keys, header
protection, key updates and the QUIC labels belong to the transport; everything inside a TLS message to the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from stack.randomness import Randomness

# Encryption levels, in the order in which a handshake uses them.
INITIAL: Final = 0
EARLY: Final = 1
HANDSHAKE: Final = 2
APPLICATION: Final = 3
LEVEL_NAMES: Final = ("initial", "early", "handshake", "application")

# Directions of a secret.
READ: Final = 0
WRITE: Final = 1

# Nobody changes events. Those of which a handshake has many are not frozen, since that makes making them slow.


@dataclass(slots=True)
class HandshakeBytes:
    """Handshake messages to send in CRYPTO frames of `level`."""

    level: int
    data: bytes


@dataclass(slots=True)
class NewSecret:
    """A traffic secret. `suite` is the TLS cipher suite (0x1301 …). Comes before any data of its level."""

    level: int
    direction: int
    suite: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class PeerTransportParameters:
    """The peer's quic_transport_parameters extension, undecoded."""

    data: bytes


@dataclass(frozen=True, slots=True)
class HandshakeInfo:
    """What was negotiated; known before Completed."""

    alpn: str | None
    server_name: str | None
    resumed: bool


@dataclass(frozen=True, slots=True)
class RememberedParameters:
    """A client may send 0-RTT: the server's transport parameters and protocol of the session that it resumes.

    Comes before the early secret.
    """

    data: bytes
    alpn: str


@dataclass(frozen=True, slots=True)
class EarlyData:
    """Whether the server accepted 0-RTT; only where the client offered it."""

    accepted: bool


@dataclass(frozen=True, slots=True)
class Completed:
    """The handshake is complete (RFC 9001 section 4.1.1). Certificates are DER, leaf first; empty when none."""

    peer_certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionTicket:
    """A ticket to resume with. `early_data` tells whether 0-RTT is allowed; `lifetime` in seconds."""

    blob: bytes
    early_data: bool
    lifetime: int


@dataclass(frozen=True, slots=True)
class Alert:
    """The handshake failed: the transport closes with CRYPTO_ERROR 0x0100 | description (RFC 9001 section 4.8).

    Unless `protocol_violation`: then it closes with PROTOCOL_VIOLATION, as RFC 9001 asks for what only QUIC forbids.
    """

    level: int
    description: int
    reason: str
    protocol_violation: bool = False


@dataclass(slots=True)
class KeyLog:
    """One secret for the NSS key log (SSLKEYLOGFILE), by label and client random."""

    label: str
    client_random: bytes
    secret: bytes


Event = (
    HandshakeBytes
    | NewSecret
    | PeerTransportParameters
    | HandshakeInfo
    | RememberedParameters
    | EarlyData
    | Completed
    | SessionTicket
    | Alert
    | KeyLog
)


class Engine(Protocol):
    """One handshake, one side."""

    @property
    def waiting(self) -> bool:
        """True while the engine waits for somebody else (an agent, a remote signer) and will call the waker."""
        ...

    @property
    def crypto_buffer(self) -> int:
        """Bytes of CRYPTO data, 4096 or more, that may wait for a gap to fill, per level (rfc9000:4:1)."""
        ...

    def set_waker(self, waker: Callable[[], None]) -> None:
        """`waker` is called when events appear although the transport fed nothing."""

    def set_context(self, context: bytes) -> None:
        """What sessions belong to from now on, such as a version: they are resumed only in an equal context."""

    def allow_early_data(
        self, check: Callable[[bytes, bytes], bool], remember: Callable[[bytes], bytes] | None = None
    ) -> None:
        """A server accepts 0-RTT only if `check` of its transport parameters then, in the session, and now is true.

        What `remember` makes of them is all that a ticket has to keep for that.
        """

    def start(self, now: int) -> None:
        """A client makes its ClientHello; a server does nothing. `now` in ns."""

    def feed(self, level: int, data: bytes, now: int) -> None:
        """In-order CRYPTO bytes of one level, split anywhere. Never raises on what a peer sent: queues an Alert."""

    def next_event(self) -> Event | None:
        """The oldest event not yet taken, or None."""

    def send_ticket(self, now: int) -> None:
        """A server queues NewSessionTickets, as many as it is configured to; allowed once Completed."""

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """RFC 8446 section 7.5's exporter."""
        ...

    def close(self) -> None:
        """Forget keys and buffers; the engine is not used again."""


# What the local side announces: bytes, or a function of the peer's (a server's depend on the client's).
LocalTransportParameters = bytes | Callable[[bytes], bytes]


class EngineFactory(Protocol):
    """Makes engines; one per endpoint role, holding its credentials and policy (`stack.tls.config`)."""

    def client(
        self, server_name: str | None, transport_parameters: LocalTransportParameters, rng: Randomness
    ) -> Engine:
        """An engine that speaks as client to `server_name`."""
        ...

    def server(self, transport_parameters: LocalTransportParameters, rng: Randomness) -> Engine:
        """An engine that speaks as server."""
        ...
