"""What an endpoint hands to the network."""

from typing import NamedTuple

from stack.observer import Address


class Transmit(NamedTuple):
    """One UDP datagram to send; `ecn` is the codepoint, 0 to 3."""

    payload: bytes
    source: Address
    destination: Address
    ecn: int
