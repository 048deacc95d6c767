"""The latency spin bit, from which an observer on the way reads the round-trip time (RFC 9000 section 17.4).

The server sends back the bit of the newest packet that it has, the client the opposite, so that an edge between runs of
0 and 1 goes round once per round trip. The state lives with the connection ID that packets of a path go to: it starts
anew on each path and with each connection ID.
"""

from typing import Final

from stack.randomness import Randomness
from stack.wire.header import SPIN_BIT

ONE_IN: Final = 16  # connection IDs don't take part: rfc9000:17.4:4


class SpinBit:
    """What goes into the spin bit of short headers to one connection ID: `bit`, 0 or SPIN_BIT.

    When not `active`, the bit was drawn once and says nothing; what arrives must be ignored (rfc9000:17.4:5).
    Else it is the one of the newest packet received, exclusive or `flip`.
    """

    __slots__ = ("active", "bit", "flip")

    def __init__(self, rng: Randomness, is_client: bool, enabled: bool) -> None:
        """`enabled`: whether the configuration allows it."""
        draw = rng.getrandbits(5)
        self.active = enabled and draw % ONE_IN != 0
        self.flip = SPIN_BIT if is_client else 0
        self.bit = 0 if self.active or draw < ONE_IN else SPIN_BIT  # rfc9000:17.4:6
