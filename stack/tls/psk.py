"""Pre-shared keys: the pre_shared_key extension and the binders that prove the key (RFC 8446 section 4.2.11)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stack.crypto.hkdf import HASH_LENGTH
from stack.errors import ConfigError
from stack.tls import codec
from stack.tls.alerts import DECODE_ERROR, DECRYPT_ERROR, ILLEGAL_PARAMETER, HandshakeError
from stack.tls.codec import Reader
from stack.tls.schedule import KeySchedule

# PskKeyExchangeMode: without and with (EC)DHE, which alone gives forward secrecy.
PSK_KE: Final = 0
PSK_DHE_KE: Final = 1

MIN_KEY_LENGTH: Final = 16  # bytes of an external key
_MIN_BINDER_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class ExternalPsk:
    """A key that client and server were given beforehand, by the name that the client shows (section 4.2.11).

    `hash_name`, "sha256" or "sha384", is part of the agreement: only suites with that hash go with the key.

    Raises ConfigError for an identity, key or hash that can't be used.
    """

    identity: bytes
    key: bytes
    hash_name: str = "sha256"  # rfc8446:4.2.11:2

    def __post_init__(self) -> None:
        if not 1 <= len(self.identity) <= 1_000:
            raise ConfigError(f"identity has {len(self.identity)} bytes: must have 1 to 1000")
        if len(self.key) < MIN_KEY_LENGTH:
            raise ConfigError(f"key has {len(self.key)} bytes: must have {MIN_KEY_LENGTH} or more")
        if self.hash_name not in HASH_LENGTH:
            raise ConfigError(f"hash_name = {self.hash_name!r}: must be one of {', '.join(HASH_LENGTH)}")


class Psk(NamedTuple):
    """A key that a client offers: an external one, or one of a session (with the ticket as identity)."""

    identity: bytes
    obfuscated_age: int
    key: bytes
    hash_name: str
    external: bool


class PskOffer(NamedTuple):
    """A client's pre_shared_key: identities with obfuscated ticket ages, and a binder for each."""

    identities: tuple[tuple[bytes, int], ...]
    binders: tuple[bytes, ...]
    binders_length: int  # bytes that the list of binders has at the end of the ClientHello


def encode_offer(psks: Sequence[Psk]) -> bytes:
    """Return a pre_shared_key body whose binders are zero."""
    identities = b"".join(codec.vector16(psk.identity) + psk.obfuscated_age.to_bytes(4) for psk in psks)
    return codec.vector16(identities) + _encode_binders([bytes(HASH_LENGTH[psk.hash_name]) for psk in psks])


def bind(prefix: bytes, hello: bytes, psks: Sequence[Psk]) -> bytes:
    """Return a ClientHello that ends with `encode_offer(psks)`, with the right binders (section 4.2.11.2).

    `prefix` is the transcript before it, after a HelloRetryRequest.
    """
    length = len(_encode_binders([bytes(HASH_LENGTH[psk.hash_name]) for psk in psks]))
    truncated = hello[:-length]
    return truncated + _encode_binders(
        [_binder(psk.key, psk.hash_name, psk.external, prefix + truncated) for psk in psks]
    )


def parse_offer(body: bytes) -> PskOffer:
    """Parse a ClientHello's pre_shared_key. Raises HandshakeError."""
    reader = Reader(body, "pre_shared_key")
    entries = Reader(reader.vector(2, 7), "pre_shared_key")
    binders_length = reader.left
    proofs = Reader(reader.vector(2, 33), "pre_shared_key")
    reader.finish()
    identities = []
    while entries.left:
        identities.append((entries.vector(2, 1), entries.integer(4)))
    binders = []
    while proofs.left:
        binders.append(proofs.vector(1, _MIN_BINDER_LENGTH))
    if len(binders) != len(identities):
        raise HandshakeError(ILLEGAL_PARAMETER, f"{len(identities)} PSK identities, but {len(binders)} binders")
    return PskOffer(tuple(identities), tuple(binders), binders_length)


def check_binder(key: bytes, hash_name: str, external: bool, binder: bytes, transcript: bytes) -> None:
    """Check a client's binder over the transcript up to the binders. Raises HandshakeError decrypt_error."""
    # rfc8446:4.2.11:8 rfc8446:4.2.11:9
    if not hmac.compare_digest(binder, _binder(key, hash_name, external, transcript)):
        raise HandshakeError(DECRYPT_ERROR, "the client's PSK binder is wrong")


def parse_selected(body: bytes) -> int:
    """Return the index of the identity that a server chose. Raises HandshakeError."""
    if len(body) != 2:
        raise HandshakeError(DECODE_ERROR, "ServerHello's pre_shared_key must have 2 bytes")
    return int.from_bytes(body)


def parse_modes(body: bytes) -> tuple[int, ...]:
    """Return a ClientHello's psk_key_exchange_modes. Raises HandshakeError."""
    reader = Reader(body, "psk_key_exchange_modes")
    modes = reader.vector(1, 1)
    reader.finish()
    return tuple(modes)


def _binder(key: bytes, hash_name: str, external: bool, transcript: bytes) -> bytes:
    return KeySchedule(hash_name, key).binder(b"ext binder" if external else b"res binder", transcript)


def _encode_binders(binders: list[bytes]) -> bytes:
    return codec.vector16(b"".join(codec.vector8(binder) for binder in binders))
