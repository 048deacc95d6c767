"""The key schedule of RFC 8446 section 7.1, with the transcript hash that feeds it (section 4.4.1)."""

import hashlib
from functools import cache
from typing import Final

from stack.crypto.hkdf import HASH_LENGTH, hkdf_expand_label, hkdf_extract
from stack.crypto.mac import hmac_digest

# Cipher suites and their hash.
AES_128_GCM_SHA256: Final = 0x1301
AES_256_GCM_SHA384: Final = 0x1302
CHACHA20_POLY1305_SHA256: Final = 0x1303
AES_128_CCM_SHA256: Final = 0x1304
SUITES: Final[dict[int, str]] = {
    AES_128_GCM_SHA256: "sha256",
    AES_256_GCM_SHA384: "sha384",
    CHACHA20_POLY1305_SHA256: "sha256",
    AES_128_CCM_SHA256: "sha256",
}


@cache
def _empty_digest(hash_name: str) -> bytes:
    return hashlib.new(hash_name).digest()


@cache
def _early_secret(hash_name: str) -> bytes:
    """Return the Early Secret of a handshake without a pre-shared key: a constant of the hash."""
    zeros = bytes(HASH_LENGTH[hash_name])
    return hkdf_extract(hash_name, zeros, zeros)


@cache
def _early_derived(hash_name: str) -> bytes:
    """Return what the Handshake Secret is extracted with, where there is no pre-shared key: another constant."""
    return hkdf_expand_label(
        hash_name, _early_secret(hash_name), b"derived", _empty_digest(hash_name), HASH_LENGTH[hash_name]
    )


class KeySchedule:
    """Secrets of one handshake, in the order of RFC 8446's figure, over a running transcript hash.

    The schedule starts with the Early Secret; `add_shared_secret` goes on to the Handshake Secret,
    `enter_master` to the Master Secret. `derive` always derives from the present one, over the messages added
    so far.
    """

    __slots__ = ("_hash_name", "_length", "_secret", "_transcript", "_with_key")

    def __init__(self, hash_name: str, psk: bytes = b"") -> None:
        """`hash_name` is "sha256" or "sha384", `psk` the pre-shared key if there is one."""
        self._hash_name = hash_name
        self._length = HASH_LENGTH[hash_name]
        self._transcript = hashlib.new(hash_name)
        self._with_key = bool(psk)
        self._secret = hkdf_extract(hash_name, bytes(self._length), psk) if psk else _early_secret(hash_name)

    def add_message(self, message: bytes) -> None:
        """Add a whole handshake message, header included, to the transcript."""
        self._transcript.update(message)

    def transcript_hash(self) -> bytes:
        """Return the hash of the messages so far."""
        return self._transcript.copy().digest()

    def add_shared_secret(self, shared_secret: bytes) -> None:
        """Go on to the Handshake Secret with the (EC)DHE output, empty when there is none."""
        salt = self._derived() if self._with_key else _early_derived(self._hash_name)
        self._secret = hkdf_extract(self._hash_name, salt, shared_secret or bytes(self._length))

    def enter_master(self) -> None:
        """Go on to the Master Secret."""
        self._secret = hkdf_extract(self._hash_name, self._derived(), bytes(self._length))

    def _derived(self) -> bytes:
        empty = _empty_digest(self._hash_name)
        return hkdf_expand_label(self._hash_name, self._secret, b"derived", empty, self._length)

    def derive(self, label: bytes) -> bytes:
        """Return Derive-Secret(present secret, label, messages so far)."""
        return hkdf_expand_label(self._hash_name, self._secret, label, self._transcript.copy().digest(), self._length)

    def verify_data(self, base_secret: bytes) -> bytes:
        """Return the verify_data of a Finished whose sender's handshake traffic secret is `base_secret`."""
        key = hkdf_expand_label(self._hash_name, base_secret, b"finished", b"", self._length)
        return hmac_digest(self._hash_name, key, self._transcript.copy().digest())

    def binder(self, label: bytes, transcript: bytes) -> bytes:
        """Return the binder of the pre-shared key over `transcript` (section 4.2.11.2)."""
        name = self._hash_name
        base = hkdf_expand_label(name, self._secret, label, _empty_digest(name), self._length)
        key = hkdf_expand_label(name, base, b"finished", b"", self._length)
        return hmac_digest(name, key, hashlib.new(name, transcript).digest())

    def resumption_secret(self) -> bytes:
        """Return the secret that tickets' keys come from; the transcript must end with the client's Finished."""
        return self.derive(b"res master")

    def resumption_key(self, resumption_secret: bytes, nonce: bytes) -> bytes:
        """Return the pre-shared key that goes with a ticket (section 4.6.1)."""
        return hkdf_expand_label(self._hash_name, resumption_secret, b"resumption", nonce, self._length)

    def export(self, exporter_secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """Return TLS-Exporter(label, context, length) of RFC 8446 section 7.5."""
        name = self._hash_name
        secret = hkdf_expand_label(name, exporter_secret, label, _empty_digest(name), self._length)
        return hkdf_expand_label(name, secret, b"exporter", hashlib.new(name, context).digest(), length)
