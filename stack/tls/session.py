"""What a client keeps of a session, to resume it (RFC 8446 section 4.6.1): an opaque blob to everybody else."""

from typing import Final, NamedTuple

from stack.errors import ConfigError
from stack.tls import codec
from stack.tls.alerts import HandshakeError
from stack.tls.codec import Reader

_FORMAT: Final = b"QSS\x01"


class Session(NamedTuple):
    """One ticket and the session that it stands for. Instants in ns, `lifetime` in seconds."""

    context: bytes
    suite: int
    received_at: int
    lifetime: int
    age_add: int
    early_data: bool
    key: bytes
    ticket: bytes
    alpn: str
    server_name: str | None
    transport_parameters: bytes  # the server's
    certificates: tuple[bytes, ...]  # the server's, leaf first

    def allows_early_data(self, suites: tuple[int, ...], alpn: tuple[str, ...]) -> bool:
        """Whether 0-RTT may be sent by a client that offers `suites` and `alpn`."""
        return self.early_data and self.suite in suites and self.alpn in alpn

    def age(self, now: int) -> int | None:
        """Return the ticket's age in ms; None when it is too old, or from another clock's future."""
        age_ns = now - self.received_at
        # rfc8446:4.2.11.1:1 rfc8446:4.6.1:10
        return age_ns // 1_000_000 if 0 <= age_ns < self.lifetime * 1_000_000_000 else None


class Use:
    """Whether a session was offered: its ticket goes into the ClientHello of one connection (RFC 8446 appendix C.4)."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = False

    def take(self) -> bool:
        """Return whether the session is still unused; from now on it is not."""
        taken, self._taken = self._taken, True
        return not taken


def encode_session(session: Session) -> bytes:
    """Return the blob."""
    return b"".join(
        (
            _FORMAT,
            codec.vector8(session.context),
            session.suite.to_bytes(2),
            session.received_at.to_bytes(8),
            session.lifetime.to_bytes(4),
            session.age_add.to_bytes(4),
            bytes((session.early_data, session.server_name is not None)),
            codec.vector8(session.key),
            codec.vector16(session.ticket),
            codec.vector8(session.alpn.encode()),
            codec.vector8((session.server_name or "").encode()),
            codec.vector16(session.transport_parameters),
            *(codec.vector24(der) for der in session.certificates),
        )
    )


def decode_session(blob: bytes) -> Session:
    """Return what `encode_session` encoded. Raises ConfigError for anything else."""
    reader = Reader(blob, "session")
    try:
        if reader.take(len(_FORMAT)) != _FORMAT:
            raise ConfigError("session: must be what a SessionTicket event gave, of this version of the program")
        context = reader.vector(1)
        suite, received_at = reader.integer(2), reader.integer(8)
        lifetime, age_add = reader.integer(4), reader.integer(4)
        early_data, named = reader.take(2)
        key, ticket = reader.vector(1, 1), reader.vector(2, 1)
        alpn, name = reader.vector(1).decode(), reader.vector(1).decode()
        parameters = reader.vector(2)
        certificates = []
        while reader.left:
            certificates.append(reader.vector(3, 1))
    except (HandshakeError, UnicodeDecodeError):
        raise ConfigError(f"session: {len(blob)} bytes that were cut short or changed") from None
    return Session(
        context,
        suite,
        received_at,
        lifetime,
        age_add,
        bool(early_data),
        key,
        ticket,
        alpn,
        name if named else None,
        parameters,
        tuple(certificates),
    )
