"""Packet numbers: truncation and recovery (RFC 9000 sections 17.1, A.2 and A.3)."""

from typing import Final

MAX_PACKET_NUMBER_LENGTH: Final = 4  # bytes on the wire


def packet_number_length(packet_number: int, largest_acknowledged: int) -> int:
    """Return how many bytes, 1 to 4, `packet_number` needs on the wire.

    `largest_acknowledged` is the largest number of the same space that the peer acknowledged, -1 for none.
    Four bytes are the most there is: past 2^31 unacknowledged packets the number can no longer be recovered,
    and a congestion window ends long before.
    """
    # The range that the encoding covers must be more than twice the unacknowledged one: rfc9000:17.1:1
    # rfc9000:17.1:2
    unacknowledged = packet_number - largest_acknowledged
    if unacknowledged < 0x80:
        return 1
    if unacknowledged < 0x8000:
        return 2
    if unacknowledged < 0x80_0000:
        return 3
    return 4


def decode_packet_number(truncated: int, length_bytes: int, largest_received: int) -> int:
    """Return the full packet number closest to the next expected one.

    `truncated` is the wire value of `length_bytes` bytes, `largest_received` the largest number that was
    authenticated in the same space, -1 for none.
    """
    expected = largest_received + 1
    window = 1 << (length_bytes << 3)
    half = window >> 1
    candidate = (expected & -window) | truncated
    if candidate <= expected - half and candidate < (1 << 62) - window:
        return candidate + window
    if candidate > expected + half and candidate >= window:
        return candidate - window
    return candidate
