"""Packet headers (RFC 9000 section 17 and, for what every version shares, RFC 8999 section 5)."""

from typing import Final, NamedTuple

from stack.wire.varint import Truncated, decode_varint, encode_varint
from stack.wire.versions import VERSIONS, Version

INITIAL: Final = 0
ZERO_RTT: Final = 1
HANDSHAKE: Final = 2
RETRY: Final = 3
VERSION_NEGOTIATION: Final = 4
ONE_RTT: Final = 5
UNKNOWN_VERSION: Final = -1  # the packet type of a long header in a version that we don't know

PACKET_TYPE_NAMES: Final = ("initial", "0RTT", "handshake", "retry", "version_negotiation", "1RTT")

MAX_CID_LENGTH: Final = 20  # in the versions that we know
RETRY_TAG_LENGTH: Final = 16
SMALLEST_INITIAL_DATAGRAM: Final = 1200  # bytes of UDP payload (RFC 9000 section 14.1)

# Of a short header's first byte
SPIN_BIT: Final = 0x20
KEY_PHASE_BIT: Final = 0x04  # under header protection

_LONG_FORM: Final = 0x80
_FIXED_BIT: Final = 0x40
_CID_LENGTH_OFFSET: Final = 5  # first byte and version come before it
_LARGEST_TWO_BYTE_LENGTH: Final = 16_383 - 4  # leaves room for the longest packet number


class HeaderError(ValueError):
    """The packet can't be parsed and must be dropped; so must the rest of its datagram."""


class LongHeader(NamedTuple):
    """One packet's long header; offsets are absolute in the datagram."""

    packet_type: int
    version: int
    destination_cid: bytes
    source_cid: bytes
    token: bytes  # Initial: its token; Retry: the token without the integrity tag
    packet_number_offset: int  # Version Negotiation: where the versions start; unknown version: after the invariants
    end: int  # after this packet


def parse_long_header(data: bytes, start: int, greased: bool = False) -> LongHeader:
    """Parse the long header of the packet that begins at `start` of a datagram.

    `greased` tells that the fixed bit may have any value, because we announced grease_quic_bit (RFC 9287).

    Raises HeaderError for anything malformed: a field or the packet beyond the datagram, a connection ID
    above 20 bytes, a fixed bit of 0 unless `greased`, a Retry without a token, or a Version Negotiation without whole
    versions.
    """
    position = start + _CID_LENGTH_OFFSET
    if position >= len(data) or not data[start] & _LONG_FORM:
        raise HeaderError(f"no long header fits at {start}")
    number = int.from_bytes(data[start + 1 : position])
    destination_cid, position = _parse_cid(data, position)
    source_cid, position = _parse_cid(data, position)
    if number == 0:
        if position == len(data) or (len(data) - position) % 4:  # rfc8999:6:2
            raise HeaderError("Version Negotiation must list one or more versions of 4 bytes")
        return LongHeader(VERSION_NEGOTIATION, 0, destination_cid, source_cid, b"", position, len(data))
    version = VERSIONS.get(number)
    if version is None:  # its connection IDs may be longer than ours: rfc9000:17.2:4
        return LongHeader(UNKNOWN_VERSION, number, destination_cid, source_cid, b"", position, len(data))
    first = data[start]
    if not (first & _FIXED_BIT or greased):  # rfc9287:3:2
        raise HeaderError("the fixed bit is 0")  # rfc9000:17.2:1
    if len(destination_cid) > MAX_CID_LENGTH or len(source_cid) > MAX_CID_LENGTH:
        raise HeaderError(f"a connection ID exceeds {MAX_CID_LENGTH} bytes")  # rfc9000:17.2:3 rfc9000:17.2:6
    packet_type = version.packet_types.index(first >> 4 & 3)
    if packet_type == RETRY:
        return _parse_retry(data, number, destination_cid, source_cid, position)
    token = b""
    try:
        if packet_type == INITIAL:
            length, position = decode_varint(data, position)
            token = data[position : position + length]
            position += length
        length, position = decode_varint(data, position)
    except Truncated as error:
        raise HeaderError(str(error)) from None
    end = position + length
    if end > len(data):
        raise HeaderError(f"the packet's Length of {length} exceeds the datagram's {len(data) - position} bytes")
    return LongHeader(packet_type, number, destination_cid, source_cid, token, position, end)


def _parse_cid(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the connection ID whose length byte is at `position`, and the position after it."""
    if position >= len(data):
        raise HeaderError("the datagram ends before a connection ID's length")
    end = position + 1 + data[position]
    if end > len(data):
        raise HeaderError("the datagram ends inside a connection ID")
    return data[position + 1 : end], end


def _parse_retry(data: bytes, version: int, destination_cid: bytes, source_cid: bytes, position: int) -> LongHeader:
    tag = len(data) - RETRY_TAG_LENGTH
    if tag <= position:  # rfc9000:17.2.5.2:4
        raise HeaderError("Retry must carry a token and an integrity tag")
    return LongHeader(RETRY, version, destination_cid, source_cid, data[position:tag], position, len(data))


def encode_long_header(
    version: Version,
    packet_type: int,
    destination_cid: bytes,
    source_cid: bytes,
    token: bytes,
    payload_length: int,
    packet_number: int,
    packet_number_length: int,
) -> bytes:
    """Return the unprotected header, packet number included, of an Initial, 0-RTT or Handshake packet.

    `payload_length` counts the plaintext and its 16-byte tag. Length takes two bytes, or four for a packet
    that needs them, so that the header's size is known before the payload's. `token` counts for Initial only.
    """
    length = payload_length + packet_number_length
    if payload_length <= _LARGEST_TWO_BYTE_LENGTH:
        encoded_length = (length | 0x4000).to_bytes(2)
    else:
        encoded_length = (length | 0x8000_0000).to_bytes(4)
    # Reserved bits stay 0: rfc9000:17.2:8
    first = _LONG_FORM | _FIXED_BIT | version.packet_types[packet_type] << 4 | packet_number_length - 1
    return b"".join(
        (
            _encode_invariants(first, version.number, destination_cid, source_cid),
            encode_varint(len(token)) + token if packet_type == INITIAL else b"",
            encoded_length,
            (packet_number & (1 << 8 * packet_number_length) - 1).to_bytes(packet_number_length),
        )
    )


def encode_version_negotiation(
    destination_cid: bytes, source_cid: bytes, versions: tuple[int, ...], random_bits: int
) -> bytes:
    """Return a Version Negotiation packet; `random_bits` (7 used) fill what has no meaning (RFC 9000 17.2.1).

    The connection IDs are those of the packet that it answers, swapped by the caller.
    """
    # The fixed bit keeps it recognisable as QUIC beside other protocols: rfc9000:17.2.1:2 rfc9000:17.2.1:3
    first = _LONG_FORM | _FIXED_BIT | random_bits & 0x3F
    header = _encode_invariants(first, 0, destination_cid, source_cid)
    return header + b"".join(version.to_bytes(4) for version in versions)


def encode_retry_header(
    version: Version, destination_cid: bytes, source_cid: bytes, token: bytes, unused_bits: int
) -> bytes:
    """Return a Retry packet without its tag; `unused_bits` (4 used) are arbitrary (RFC 9000 17.2.5)."""
    first = _LONG_FORM | _FIXED_BIT | version.packet_types[RETRY] << 4 | unused_bits & 0x0F
    return _encode_invariants(first, version.number, destination_cid, source_cid) + token


def _encode_invariants(first: int, version: int, destination_cid: bytes, source_cid: bytes) -> bytes:
    return b"%c%b%c%b%c%b" % (
        first,
        version.to_bytes(4),
        len(destination_cid),
        destination_cid,
        len(source_cid),
        source_cid,
    )


def destination_cid_of(data: bytes, short_length: int) -> bytes | None:
    """Return the destination connection ID of a datagram's first packet, whatever the version (RFC 8999 5).

    `short_length` is the length in bytes of the IDs that this endpoint issues, which a short header does not
    tell. None when the datagram is too short to hold one.
    """
    if not data:
        return None
    if data[0] & _LONG_FORM:
        if len(data) <= _CID_LENGTH_OFFSET:
            return None
        position, length = _CID_LENGTH_OFFSET + 1, data[_CID_LENGTH_OFFSET]
    else:
        position, length = 1, short_length
    return data[position : position + length] if position + length <= len(data) else None
