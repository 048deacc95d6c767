"""Stateless reset: telling a peer that its connection is unknown here, and being told so (RFC 9000 section 10.3)."""

from typing import TYPE_CHECKING, Final

from stack.limits import MAX_STATELESS_RESETS_PER_SECOND
from stack.observer import Address
from stack.path.connection_ids import SMALLEST_RESET, stateless_reset_token
from stack.randomness import Randomness

if TYPE_CHECKING:
    from stack.connection import Connection

# Bytes of a connection ID for which there are resets. Shorter random ones recur: a new connection might get an ID whose
# token was told to anybody who asked (rfc9000:10.3.2:3, rfc9000:10.3.2:4).
SHORTEST_ID: Final = 8
USUAL_SIZE: Final = 42  # bytes at least, when the trigger allows it: an ordinary size for a small packet
_SIZE_BITS: Final = 4  # random bits of variation on top
_FIXED_BIT: Final = 0x40
_SECOND: Final = 1_000_000_000


class StatelessResets:
    """An endpoint's stateless resets, sent and received."""

    __slots__ = ("_by_addresses", "_key", "_rng", "_sent", "_window_ends_at")

    def __init__(self, key: bytes, rng: Randomness) -> None:
        """`key` is the endpoint's static key, from which the tokens of its connection IDs follow."""
        self._key = key
        self._rng = rng
        self._by_addresses: dict[tuple[Address, Address], dict[int, Connection]] = {}
        self._sent = 0  # in the current second
        self._window_ends_at = 0

    def watch(self, connection: "Connection", local: Address, remote: Address) -> None:
        """Recognize resets of a connection on one of its paths."""
        self._by_addresses.setdefault((local, remote), {})[id(connection)] = connection

    def forget(self, connection: "Connection", local: Address, remote: Address) -> None:
        """The path is no more."""
        addresses = (local, remote)
        watched = self._by_addresses.get(addresses, {})
        watched.pop(id(connection), None)
        if not watched:
            self._by_addresses.pop(addresses, None)

    def reset_by(self, data: bytes, local: Address, remote: Address) -> "Connection | None":
        """Return the connection that a datagram with an unknown connection ID resets (rfc9000:10.3.1:2)."""
        for connection in self._by_addresses.get((local, remote), {}).values():
            if connection.remote_ids.matches_reset(data):
                return connection
        return None

    def answer(self, data: bytes, connection_id: bytes, now: int) -> bytes | None:
        """Return the reset that answers a packet with a short header and an unknown connection ID of ours.

        It is shorter than its trigger, so that two endpoints can't reset each other for ever (rfc9000:10.3.3:1,
        rfc9000:10.3:5, rfc9000:10.3:6). None when the trigger is too short, or too many were sent in this second.
        """
        size = min(len(data) - 1, USUAL_SIZE + self._rng.getrandbits(_SIZE_BITS))
        if size < SMALLEST_RESET or len(connection_id) < SHORTEST_ID:
            return None
        if now >= self._window_ends_at:
            self._window_ends_at = now + _SECOND
            self._sent = 0
        if self._sent >= MAX_STATELESS_RESETS_PER_SECOND:
            return None
        self._sent += 1
        token = stateless_reset_token(self._key, connection_id)
        first = _FIXED_BIT | self._rng.getrandbits(6)  # rfc9000:10.3:8
        return first.to_bytes(1) + self._rng.randbytes(size - 1 - len(token)) + token  # rfc9000:10.3:3
