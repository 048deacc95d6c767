"""Address validation tokens, sealed so that only the endpoint that made them can read them (RFC 9000 section 8.1)."""

from heapq import heappop, heappush
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.crypto.hkdf import hkdf_expand_label
from stack.limits import MAX_SPENT_TOKENS, NEW_TOKEN_LIFETIME_NS, RETRY_TOKEN_LIFETIME_NS
from stack.observer import Address
from stack.randomness import Randomness

RETRY_TOKEN: Final = 0
NEW_TOKEN: Final = 1

_LIFETIME_NS: Final = (RETRY_TOKEN_LIFETIME_NS, NEW_TOKEN_LIFETIME_NS)  # by purpose
_KEY_LENGTH: Final = 16
_NONCE_LENGTH: Final = 12


class Token(NamedTuple):
    """What a token says. The connection IDs are those of a Retry, empty in a token of a NEW_TOKEN frame."""

    purpose: int  # RETRY_TOKEN or NEW_TOKEN: rfc9000:8.1.1:1
    issued_at: int
    address: Address  # of the client
    original_destination_cid: bytes = b""
    retry_source_cid: bytes = b""
    nonce: bytes = b""  # tells a token from every other; set when sealed

    @property
    def expires_at(self) -> int:
        """When the token stops being valid (rfc9000:8.1.4:7, rfc9000:8.1.3:5)."""
        return self.issued_at + _LIFETIME_NS[self.purpose]

    def is_valid(self, address: Address, now: int) -> bool:
        """Whether the token proves at `now` that a client at `address` owns it.

        A Retry is answered at once from the same port (rfc9000:8.1.4:3); for a later connection only the host must be
        the same (rfc9000:8.1.4:4).
        """
        same = self.address == address if self.purpose == RETRY_TOKEN else self.address[0] == address[0]
        return same and self.issued_at <= now < self.expires_at


class TokenSealer:
    """Seals and opens tokens with AES-128-GCM; nobody else can read, link or make them (rfc9000:8.1.3:6)."""

    __slots__ = ("_aead", "_rng")

    def __init__(self, secret: bytes, rng: Randomness) -> None:
        """`secret` is the endpoint's, of 32 bytes; nonces come from `rng`."""
        self._aead = AESGCM(hkdf_expand_label("sha256", secret, b"token key", b"", _KEY_LENGTH))
        self._rng = rng

    def seal(self, token: Token, version: int) -> bytes:
        """Return the token's bytes for a client that uses QUIC version `version`, unique by their random nonce."""
        host, port = token.address
        plaintext = b"%c%b%b%c%b%c%b%b" % (
            token.purpose,
            token.issued_at.to_bytes(8),
            port.to_bytes(2),
            len(token.original_destination_cid),
            token.original_destination_cid,
            len(token.retry_source_cid),
            token.retry_source_cid,
            host.encode(),
        )
        nonce = self._rng.randbytes(_NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, plaintext, version.to_bytes(4))

    def open(self, sealed: bytes, version: int) -> Token | None:
        """Return what was sealed for `version`; None for what this endpoint did not make for it (rfc9000:8.1.4:2)."""
        nonce = sealed[:_NONCE_LENGTH]
        try:
            plaintext = self._aead.decrypt(nonce, sealed[_NONCE_LENGTH:], version.to_bytes(4))
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            return None
        original_end = 12 + plaintext[11]
        retry_end = original_end + 1 + plaintext[original_end]
        return Token(
            purpose=plaintext[0],
            issued_at=int.from_bytes(plaintext[1:9]),
            address=(plaintext[retry_end:].decode(), int.from_bytes(plaintext[9:11])),
            original_destination_cid=plaintext[12:original_end],
            retry_source_cid=plaintext[original_end + 1 : retry_end],
            nonce=nonce,
        )


class SpentTokens:
    """The tokens that were used and must not be used again until they expire (rfc9000:8.1.4:8)."""

    __slots__ = ("_by_expiry", "_nonces")

    def __init__(self) -> None:
        self._nonces: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def may_spend(self, token: Token, now: int) -> bool:
        """Whether `token` is unspent, and there is room to remember that it will have been spent."""
        while self._by_expiry and self._by_expiry[0][0] <= now:
            self._nonces.discard(heappop(self._by_expiry)[1])
        return token.nonce not in self._nonces and len(self._nonces) < MAX_SPENT_TOKENS

    def spend(self, token: Token) -> None:
        """Remember that `token` was used."""
        self._nonces.add(token.nonce)
        heappush(self._by_expiry, (token.expires_at, token.nonce))
