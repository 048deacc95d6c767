"""Parsing ACK frames (RFC 9000 section 19.3)."""

from stack.errors import FRAME_ENCODING_ERROR, TransportError
from stack.wire.frames import ACK_ECN, EcnCounts
from stack.wire.varint import decode_varint


def parse_ack(
    payload: bytes, position: int, frame_type: int
) -> tuple[list[tuple[int, int]], int, EcnCounts | None, int]:
    """Return ranges (smallest, largest), largest first, the encoded ACK delay, ECN counts if any, the next position.

    `position` is after the frame type. Raises Truncated, and TransportError for negative packet numbers.
    """
    largest, position = decode_varint(payload, position)
    delay, position = decode_varint(payload, position)
    count, position = decode_varint(payload, position)
    length, position = decode_varint(payload, position)
    smallest = largest - length
    ranges = [(smallest, largest)]
    for _ in range(count):
        gap, position = decode_varint(payload, position)
        length, position = decode_varint(payload, position)
        largest = smallest - gap - 2
        smallest = largest - length
        ranges.append((smallest, largest))
    if smallest < 0:
        # rfc9000:19.3.1:1
        raise TransportError(FRAME_ENCODING_ERROR, "ACK of a negative packet number", frame_type)
    if frame_type != ACK_ECN:
        return ranges, delay, None, position
    ect_0, position = decode_varint(payload, position)
    ect_1, position = decode_varint(payload, position)
    ce, position = decode_varint(payload, position)
    return ranges, delay, (ect_0, ect_1, ce), position
