"""A GnuTLS server's session tickets: the keys that they are sealed with, and which may be used for 0-RTT.

GnuTLS's tickets say neither for which name and protocol they were issued nor what the server announced then. So each of
these has a key of its own, and tickets that allow 0-RTT are remembered until they are used once (RFC 8446 section 8.1).
"""

import hmac
from hashlib import sha256
from typing import NamedTuple

from stack.limits import MAX_EARLY_TICKETS
from stack.tls import codec


class Issued(NamedTuple):
    """The session that a ticket was issued in."""

    suite: int
    alpn: str
    server_name: str | None
    context: bytes
    transport_parameters: bytes  # the server's


class TicketRegister:
    """The tickets of a server's connections. `key` is secret."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._issued: dict[bytes, Issued] = {}

    def sealing_key(self, context: bytes, server_name: str | None, alpn: str, client_auth: str) -> bytes:
        """Return the 64 bytes that GnuTLS seals and opens the tickets of such sessions with."""
        name = b"" if server_name is None else b"\x01" + server_name.encode()
        parts = context, name, alpn.encode(), client_auth.encode()
        return hmac.digest(self._key, b"".join(codec.vector16(part) for part in parts), "sha512")

    def issue(self, ticket: bytes, session: Issued) -> None:
        """Allow 0-RTT with a ticket; the oldest one loses that when there are too many."""
        issued = self._issued
        if len(issued) == MAX_EARLY_TICKETS:
            del issued[next(iter(issued))]
        issued[sha256(ticket).digest()] = session

    def take(self, ticket: bytes) -> Issued | None:
        """Return what a ticket was issued in, if it may be used for 0-RTT; never again after that (rfc8446:8:3)."""
        return self._issued.pop(sha256(ticket).digest(), None)
