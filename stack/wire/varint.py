"""Variable-length integers (RFC 9000 section 16)."""

from typing import Final

MAX_VARINT: Final = (1 << 62) - 1

_ONE_BYTE_LIMIT: Final = 1 << 6
_TWO_BYTE_LIMIT: Final = 1 << 14
_FOUR_BYTE_LIMIT: Final = 1 << 30

# Encodings of every value that takes one or two bytes, made once per process: stream ids, lengths, frame
# types.
_SHORT: Final[tuple[bytes, ...]] = tuple(
    value.to_bytes(1) if value < _ONE_BYTE_LIMIT else (value | 0x4000).to_bytes(2) for value in range(_TWO_BYTE_LIMIT)
)


class Truncated(ValueError):
    """The data ends inside a field."""


def varint_size(value: int) -> int:
    """Return the length in bytes of the shortest encoding of `value`, which must be from 0 to MAX_VARINT."""
    if value < _ONE_BYTE_LIMIT:
        return 1
    if value < _TWO_BYTE_LIMIT:
        return 2
    if value < _FOUR_BYTE_LIMIT:
        return 4
    return 8


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of `value` (RFC 9000 section 16).

    Raises ValueError when it is negative or above MAX_VARINT.
    """
    if 0 <= value < _TWO_BYTE_LIMIT:
        return _SHORT[value]
    if 0 <= value < _FOUR_BYTE_LIMIT:
        return (value | 0x8000_0000).to_bytes(4)
    if 0 <= value <= MAX_VARINT:
        return (value | 0xC000_0000_0000_0000).to_bytes(8)
    raise ValueError(f"{value} can't be a variable-length integer: must be from 0 to {MAX_VARINT}")


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the value at `position`, however long its encoding, and the next position (RFC 9000 A.1).

    Raises Truncated when `data` ends before the value does.
    """
    try:
        first = data[position]
        if first < 0x40:
            return first, position + 1
        if first < 0x80:
            return (first & 0x3F) << 8 | data[position + 1], position + 2
    except IndexError:
        raise Truncated(f"the data ends at {len(data)}, inside the variable-length integer at {position}") from None
    if first < 0xC0:
        end = position + 4
        value = int.from_bytes(data[position:end]) & _FOUR_BYTE_LIMIT - 1
    else:
        end = position + 8
        value = int.from_bytes(data[position:end]) & MAX_VARINT
    if end > len(data):
        raise Truncated(f"the data ends at {len(data)}, inside the variable-length integer at {position}")
    return value, end
