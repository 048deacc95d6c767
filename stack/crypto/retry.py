"""Retry packets and their integrity tag (RFC 9000 section 17.2.5, RFC 9001 section 5.8)."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.wire.header import encode_retry_header
from stack.wire.versions import Version


def retry_integrity_tag(version: Version, original_dcid: bytes, retry_packet_without_tag: bytes) -> bytes:
    """Return the 16-byte tag of a Retry packet that answers an Initial packet sent to `original_dcid`."""
    pseudo_packet = b"%c%b%b" % (len(original_dcid), original_dcid, retry_packet_without_tag)
    return AESGCM(version.retry_key).encrypt(version.retry_nonce, b"", pseudo_packet)


def encode_retry(
    version: Version, dcid: bytes, scid: bytes, token: bytes, original_dcid: bytes, unused_bits: int
) -> bytes:
    """Return a Retry packet with its integrity tag.

    `dcid` is the client's Source Connection ID, `scid` the ID that the client shall use next, `original_dcid`
    the Destination Connection ID of the Initial packet that it answers; `unused_bits` (4 used) are arbitrary.
    """
    packet = encode_retry_header(version, dcid, scid, token, unused_bits)
    return packet + retry_integrity_tag(version, original_dcid, packet)
