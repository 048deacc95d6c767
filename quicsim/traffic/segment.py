"""Segments of the TCP model, as payloads of datagrams.

On the wire a segment has 40 bytes of headers, TCP's and IP's 20 each. A datagram's size leaves out the 28 bytes of UDP
and IPv4 headers, so a payload begins with 12 bytes: what it is, a number, and a checksum, as TCP too finds out what
was corrupted. Segments are numbered where TCP numbers bytes: all carry MSS bytes but the last. A SACK option (RFC 2018)
adds as many bytes as it would.
"""

from collections.abc import Iterable
from struct import Struct, error
from typing import Final, NamedTuple
from zlib import crc32

MSS: Final = 1_448  # bytes of data in a segment, as with TCP's timestamps in 1,500 bytes
MAX_SACK_BLOCKS: Final = 3  # beside timestamps (RFC 2018 section 3)

SYN: Final = 1  # also the answer to one; its first byte is none that QUIC's datagrams have
DATA: Final = 2
ACK: Final = 3

_HEAD: Final = Struct(">BBHI")  # kind, SACK blocks, 0, number
_CHECKSUM: Final = Struct(">I")
_BLOCK: Final = Struct(">II")
_OPTION: Final = bytes(4)  # two NOPs, the option's kind and length
_HEADER_SIZE: Final = _HEAD.size + _CHECKSUM.size
_DATA: Final = bytes(MSS)


class Segment(NamedTuple):
    """A segment as its receiver has it: `number` is its own, or in an ACK that of the next one that is expected."""

    kind: int
    number: int
    size: int  # of its data, bytes
    blocks: tuple[tuple[int, int], ...]  # received beyond the number: first, and one past the last


def encode(kind: int, number: int, size: int = 0, blocks: Iterable[tuple[int, int]] = ()) -> bytes:
    """Return the payload of a segment with `size` bytes of data, or with SACK `blocks`."""
    ranges = list(blocks)
    body = _OPTION + b"".join(_BLOCK.pack(*block) for block in ranges) if ranges else _DATA[:size]
    head = _HEAD.pack(kind, len(ranges), 0, number)
    return head + _CHECKSUM.pack(crc32(body, crc32(head))) + body


def decode(payload: bytes) -> Segment | None:
    """Return the segment in a payload; None for one that was corrupted."""
    try:
        kind, count, _, number = _HEAD.unpack_from(payload)
        (checksum,) = _CHECKSUM.unpack_from(payload, _HEAD.size)
    except error:
        return None
    body = payload[_HEADER_SIZE:]
    if crc32(body, crc32(payload[: _HEAD.size])) != checksum:
        return None
    start = len(_OPTION)
    blocks = tuple(_BLOCK.iter_unpack(body[start : start + count * _BLOCK.size])) if count else ()
    return Segment(kind, number, 0 if count else len(body), blocks)
