"""Parts of attacks that several tests use."""

from stack.connection import Connection
from stack.wire.frames import encode_ack


def forged_address(number: int) -> tuple[str, int]:
    """One of many addresses that nobody answers at."""
    return f"192.0.{number >> 8 & 255}.{number & 255}", 1_024 + number


def acknowledgment(connection: Connection) -> bytes:
    """An ACK frame of everything that `connection` has sent."""
    space = connection.spaces[2]
    end = space.next_packet_number
    skipped = sorted((number for number in space.skipped if number < end), reverse=True)
    ranges = []
    for number in [*skipped, -1]:
        if number + 1 < end:
            ranges.append((number + 1, end - 1))
        end = number
    return encode_ack(ranges, 0)
