"""Packet protection: AEAD, header protection and their keys (RFC 9001 section 5)."""

from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from stack.crypto.hkdf import HASH_LENGTH, hkdf_expand_label, hkdf_extract
from stack.wire.packet_number import decode_packet_number
from stack.wire.versions import Version

TLS_AES_128_GCM_SHA256: Final = 0x1301
TLS_AES_256_GCM_SHA384: Final = 0x1302
TLS_CHACHA20_POLY1305_SHA256: Final = 0x1303
TLS_AES_128_CCM_SHA256: Final = 0x1304

TAG_LENGTH: Final = 16
SAMPLE_LENGTH: Final = 16
IV_LENGTH: Final = 12

_LONG_FORM: Final = 0x80
_LONG_MASK: Final = 0x0F  # bits of the first byte that header protection covers
_SHORT_MASK: Final = 0x1F

Mask = Callable[[bytes], bytes]

_ECB: Final = modes.ECB()


def _aes_mask(key: bytes) -> Mask:
    """Header protection by AES (RFC 9001 section 5.4.3); ECB keeps no state, so one encryptor is enough."""
    return Cipher(algorithms.AES(key), _ECB).encryptor().update


def _chacha20_mask(key: bytes) -> Mask:
    """Header protection by ChaCha20 (RFC 9001 section 5.4.4); the sample is block counter and nonce."""
    encryptor = Cipher(algorithms.ChaCha20(key, bytes(SAMPLE_LENGTH)), None).encryptor()
    reset_nonce, update = encryptor.reset_nonce, encryptor.update

    def mask(sample: bytes) -> bytes:
        reset_nonce(sample)
        return update(b"\0\0\0\0\0")

    return mask


class Suite(NamedTuple):
    """What one TLS cipher suite means for QUIC packets (RFC 9001 sections 5.3, 5.4 and 6.6)."""

    hash_name: str
    key_length: int  # bytes, of the AEAD and of header protection
    aead: type[AESGCM] | type[ChaCha20Poly1305] | type[AESCCM]
    header_protection: Callable[[bytes], Mask]
    confidentiality_limit: int  # packets sealed with one key
    integrity_limit: int  # packets of a connection that failed authentication


_CCM_LIMIT: Final = 2_965_820  # 2^21.5 packets

SUITES: Final[dict[int, Suite]] = {
    TLS_AES_128_GCM_SHA256: Suite("sha256", 16, AESGCM, _aes_mask, 1 << 23, 1 << 52),
    TLS_AES_256_GCM_SHA384: Suite("sha384", 32, AESGCM, _aes_mask, 1 << 23, 1 << 52),
    TLS_CHACHA20_POLY1305_SHA256: Suite("sha256", 32, ChaCha20Poly1305, _chacha20_mask, 1 << 62, 1 << 36),
    TLS_AES_128_CCM_SHA256: Suite("sha256", 16, AESCCM, _aes_mask, _CCM_LIMIT, _CCM_LIMIT),
}


class PacketProtection:
    """Seals and opens payloads with the keys of one secret, so of one direction and key phase."""

    __slots__ = ("_aead", "_iv", "_secret", "_version", "hash_name", "suite")

    def __init__(self, suite: int, secret: bytes, version: Version) -> None:
        """Derive key and IV from a TLS traffic secret (RFC 9001 section 5.1); `suite` is a key of SUITES."""
        row = SUITES[suite]
        self.suite = suite
        self.hash_name = row.hash_name
        self._secret = secret
        self._version = version
        self._aead = row.aead(hkdf_expand_label(row.hash_name, secret, version.key_label, b"", row.key_length))
        self._iv = int.from_bytes(hkdf_expand_label(row.hash_name, secret, version.iv_label, b"", IV_LENGTH))

    def seal(self, packet_number: int, header: bytes, payload: bytes) -> bytes:
        """Return ciphertext and tag; `header` is the unprotected header, which they authenticate."""
        return self._aead.encrypt((self._iv ^ packet_number).to_bytes(IV_LENGTH), payload, header)

    def open(self, packet_number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        """Return the plaintext, or None when `ciphertext` (with its tag) or `header` is not authentic."""
        try:
            return self._aead.decrypt((self._iv ^ packet_number).to_bytes(IV_LENGTH), ciphertext, header)
        except InvalidTag:
            return None

    def next_generation(self) -> "PacketProtection":
        """Return the protection of the next key phase (RFC 9001 section 6.1)."""
        label, length = self._version.key_update_label, HASH_LENGTH[self.hash_name]
        secret = hkdf_expand_label(self.hash_name, self._secret, label, b"", length)
        return PacketProtection(self.suite, secret, self._version)


class NoPacketProtection(PacketProtection):
    """Leaves payloads as they are: where both ends have announced `disable_1rtt_encryption`."""

    __slots__ = ()

    def __init__(self, suite: int) -> None:
        """`suite` is what TLS has agreed on."""
        self.suite = suite

    def seal(self, packet_number: int, header: bytes, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def open(self, packet_number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        """Return the payload, whoever has sent it."""
        return ciphertext

    def next_generation(self) -> PacketProtection:
        """There is only one."""
        return self


class HeaderProtection:
    """Masks headers with the key of one secret; it outlives key updates (RFC 9001 section 5.4).

    `mask(sample)` takes 16 bytes of ciphertext and returns 5 bytes or more.
    """

    __slots__ = ("mask",)

    mask: Mask

    def __init__(self, suite: int, secret: bytes, version: Version) -> None:
        """Derive the header protection key from a TLS traffic secret; `suite` is a key of SUITES."""
        row = SUITES[suite]
        label = version.header_protection_label
        self.mask = row.header_protection(hkdf_expand_label(row.hash_name, secret, label, b"", row.key_length))

    def is_too_short(self, first: int, length: int) -> bool:
        """Whether `length` bytes from the packet number on do not do, which are too few for a sample."""
        return True


class NoHeaderProtection(HeaderProtection):
    """Leaves headers as they are."""

    __slots__ = ()

    def __init__(self) -> None:
        self.mask = lambda _: b"\0\0\0\0\0"

    def is_too_short(self, first: int, length: int) -> bool:
        """Whether there is nothing behind the packet number."""
        return length <= (first & 3) + 1


class Keys(NamedTuple):
    """Everything that protects one direction of one encryption level."""

    protection: PacketProtection
    header: HeaderProtection


def make_keys(suite: int, secret: bytes, version: Version) -> Keys:
    """Return the keys of a TLS traffic secret; `suite` is a key of SUITES."""
    return Keys(PacketProtection(suite, secret, version), HeaderProtection(suite, secret, version))


def make_no_keys(suite: int) -> Keys:
    """Return what protects nothing."""
    return Keys(NoPacketProtection(suite), NoHeaderProtection())


def initial_secrets(version: Version, client_destination_cid: bytes) -> tuple[bytes, bytes]:
    """Return the client's and the server's Initial secret, for TLS_AES_128_GCM_SHA256 (RFC 9001 section 5.2).

    `client_destination_cid` is the Destination Connection ID of the client's first Initial packet, or of the
    first after a Retry.
    """
    secret = hkdf_extract("sha256", version.initial_salt, client_destination_cid)
    client = hkdf_expand_label("sha256", secret, b"client in", b"", 32)
    server = hkdf_expand_label("sha256", secret, b"server in", b"", 32)
    return client, server


def initial_keys(version: Version, client_destination_cid: bytes) -> tuple[Keys, Keys]:
    """Return the client's and the server's keys for Initial packets; see `initial_secrets`."""
    client, server = initial_secrets(version, client_destination_cid)
    return make_keys(TLS_AES_128_GCM_SHA256, client, version), make_keys(TLS_AES_128_GCM_SHA256, server, version)


def protect_packet(keys: Keys, header: bytes, packet_number_length: int, packet_number: int, payload: bytes) -> bytes:
    """Return the whole protected packet.

    `header` ends with the truncated packet number. Payload and packet number must have 4 bytes together, so
    that there is a sample to take (RFC 9001 section 5.4.2); the caller pads.
    """
    sealed = keys.protection.seal(packet_number, header, payload)
    # The sample starts where a packet number of four bytes would end.
    mask = keys.header.mask(sealed[4 - packet_number_length : 20 - packet_number_length])
    masked = bytearray(header)
    masked[0] ^= mask[0] & (_LONG_MASK if masked[0] & _LONG_FORM else _SHORT_MASK)
    position = len(masked) - packet_number_length
    masked[position] ^= mask[1]
    if packet_number_length > 1:
        masked[position + 1] ^= mask[2]
        if packet_number_length > 2:
            masked[position + 2] ^= mask[3]
            if packet_number_length > 3:
                masked[position + 3] ^= mask[4]
    return b"".join((masked, sealed))


def unprotect_header(
    header_protection: HeaderProtection,
    data: bytes,
    start: int,
    packet_number_offset: int,
    end: int,
    largest_received: int,
) -> tuple[int, int, int, bytes] | None:
    """Return first byte, full packet number, where the payload starts and the whole unprotected header.

    The packet lies at `start` to `end` of `data`; `largest_received` is the largest authenticated packet
    number of its space, -1 for none. None when the packet is too short to be sampled. Nothing is authentic
    before it is opened.
    """
    sample = packet_number_offset + 4
    if sample + SAMPLE_LENGTH > end and header_protection.is_too_short(data[start], end - packet_number_offset):
        return None  # rfc9001:5.4.2:1
    mask = header_protection.mask(data[sample : sample + SAMPLE_LENGTH])
    first = data[start]
    first ^= mask[0] & (_LONG_MASK if first & _LONG_FORM else _SHORT_MASK)
    length = (first & 3) + 1
    payload_offset = packet_number_offset + length
    header = bytearray(data[start:payload_offset])
    header[0] = first
    position = packet_number_offset - start
    truncated = header[position] = header[position] ^ mask[1]
    if length > 1:
        byte = header[position + 1] = header[position + 1] ^ mask[2]
        truncated = truncated << 8 | byte
        if length > 2:
            byte = header[position + 2] = header[position + 2] ^ mask[3]
            truncated = truncated << 8 | byte
            if length > 3:
                byte = header[position + 3] = header[position + 3] ^ mask[4]
                truncated = truncated << 8 | byte
    return first, decode_packet_number(truncated, length, largest_received), payload_offset, bytes(header)
