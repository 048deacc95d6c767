"""A server's session tickets: sealed state that clients keep for it, and the register that stops replays.

RFC 8446 sections 4.6.1, 8.1 (single-use tickets) and 8.3 (freshness).
"""

from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.limits import EARLY_DATA_AGE_TOLERANCE_NS, MAX_STRIKES
from stack.randomness import Randomness
from stack.tls import codec
from stack.tls.codec import Reader

KEY_LENGTH: Final = 32
_NONCE_LENGTH: Final = 12
_FORMAT: Final = b"quicsim ticket 1"
_MILLISECOND: Final = 1_000_000  # ns


class Ticket(NamedTuple):
    """What a ticket says about the session that it was issued in; `issued_at` in ns."""

    context: bytes
    suite: int
    issued_at: int
    age_add: int
    early_data: bool
    key: bytes
    alpn: str
    server_name: str | None
    transport_parameters: bytes  # the server's
    certificates: tuple[bytes, ...]  # the client's, leaf first

    def is_fresh(self, obfuscated_age: int, now: int) -> bool:
        """Whether the client's idea of the ticket's age is ours, so that its hello was made just now."""
        # rfc8446:4.2.10:3
        claimed = (obfuscated_age - self.age_add) % (1 << 32) * _MILLISECOND
        return abs(now - self.issued_at - claimed) <= EARLY_DATA_AGE_TOLERANCE_NS


class TicketOffice:
    """Seals and opens the tickets of a server's connections, and remembers which were used for 0-RTT.

    `key` has 32 bytes; None draws one from the randomness of the first ticket.
    """

    __slots__ = ("_aead", "_opened_at", "_strikes")

    def __init__(self, key: bytes | None) -> None:
        self._aead = None if key is None else AESGCM(key)
        self._opened_at: int | None = None  # instant from which on the register is complete
        self._strikes: dict[bytes, int] = {}  # when each used ticket may be forgotten, in order

    def seal(self, ticket: Ticket, rng: Randomness) -> bytes:
        """Return the ticket's bytes for a client: nobody else can read or make them."""
        if self._aead is None:
            self._aead = AESGCM(rng.randbytes(KEY_LENGTH))
        self._open_register(ticket.issued_at)
        nonce = rng.randbytes(_NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, _encode(ticket), _FORMAT)

    def open(self, data: bytes, now: int) -> Ticket | None:
        """Return what one of our tickets says; None for anything else (rfc8446:4.2.11:5)."""
        self._open_register(now)
        if self._aead is None or len(data) <= _NONCE_LENGTH:
            return None
        try:
            ticket = _decode(self._aead.decrypt(data[:_NONCE_LENGTH], data[_NONCE_LENGTH:], _FORMAT))
        except InvalidTag:
            return None
        return ticket if ticket.issued_at <= now else None

    def strike(self, data: bytes, ticket: Ticket, now: int) -> bool:
        """Take a fresh ticket out of use for 0-RTT; false if it was used before, or may have been (rfc8446:8:3)."""
        window = 2 * EARLY_DATA_AGE_TOLERANCE_NS  # a hello that was seen is not fresh any more after that
        opened_at = now if self._opened_at is None else self._opened_at
        # rfc8446:8.2:3
        if ticket.issued_at < opened_at and now < opened_at + window:
            return False
        strikes = self._strikes
        while strikes and strikes[oldest := next(iter(strikes))] <= now:
            del strikes[oldest]
        identity = data[:_NONCE_LENGTH]
        if identity in strikes or len(strikes) >= MAX_STRIKES:
            return False
        strikes[identity] = now + window
        return True

    def _open_register(self, now: int) -> None:
        if self._opened_at is None:
            self._opened_at = now


def _encode(ticket: Ticket) -> bytes:
    return b"".join(
        (
            codec.vector8(ticket.context),
            ticket.suite.to_bytes(2),
            ticket.issued_at.to_bytes(8),
            ticket.age_add.to_bytes(4),
            bytes((ticket.early_data, ticket.server_name is not None)),
            codec.vector8(ticket.key),
            codec.vector8(ticket.alpn.encode()),
            codec.vector16((ticket.server_name or "").encode()),
            codec.vector16(ticket.transport_parameters),
            *(codec.vector24(der) for der in ticket.certificates),
        )
    )


def _decode(data: bytes) -> Ticket:
    reader = Reader(data, "ticket")
    context = reader.vector(1)
    suite, issued_at, age_add = reader.integer(2), reader.integer(8), reader.integer(4)
    early_data, named = reader.take(2)
    key, alpn, name = reader.vector(1), reader.vector(1).decode(), reader.vector(2).decode()
    parameters = reader.vector(2)
    certificates = []
    while reader.left:
        certificates.append(reader.vector(3))
    return Ticket(
        context,
        suite,
        issued_at,
        age_add,
        bool(early_data),
        key,
        alpn,
        name if named else None,
        parameters,
        tuple(certificates),
    )
