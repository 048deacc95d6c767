"""Which packet numbers of application data are used: some are skipped at random, and the last one is the end.

A peer that acknowledges what it has not received, to make us send faster, sooner or later acknowledges a number that
was skipped, and so gives itself away (RFC 9000 section 21.4).
"""

from typing import TYPE_CHECKING, Final

from stack.errors import INTERNAL_ERROR
from stack.recovery.acknowledgments import NEVER
from stack.wire.varint import MAX_VARINT

if TYPE_CHECKING:
    from stack.connection import Connection
    from stack.recovery.space import PacketNumberSpace

# A skip makes the peer acknowledge at once, and looks like reordering: so there is one per 256 packets at first, and
# ever fewer. A connection so short that it is still in its first windows has none.
FIRST_SKIP: Final = 128  # no packet number below is skipped
FIRST_PERIOD_BITS: Final = 8  # the first skip is among the 2^8 numbers that follow; the next among 2^9, …
LAST_PERIOD_BITS: Final = 16


class PacketNumbers:
    """Sees to it that the next packet number of a space may be used, whenever that reaches the space's `checkpoint`."""

    __slots__ = ("_connection", "_drawn", "_period_bits", "_skip_at", "_space")

    def __init__(self, connection: "Connection", space: "PacketNumberSpace") -> None:
        """`space` is that of application data; the others never get far."""
        self._connection = connection
        self._space = space
        self._skip_at = FIRST_SKIP if connection.config.skip_packet_numbers else NEVER
        self._drawn = False  # whether _skip_at was chosen at random; until then it is when to choose
        self._period_bits = FIRST_PERIOD_BITS
        space.checkpoint = 0

    def on_checkpoint(self, now: int) -> None:
        """Skip a number, update the keys, or end the connection, if it is time to; then set the next checkpoint."""
        connection, space = self._connection, self._space
        if space.next_packet_number >= self._skip_at:
            if self._drawn:
                space.skip()
            self._draw()
        if space.next_packet_number >= MAX_VARINT:
            # rfc9000:12.3:3
            connection.closing.abandon(INTERNAL_ERROR, "all packet numbers have been used", now)
            return
        phases = connection.key_phases
        if space.next_packet_number >= phases.update_at:
            phases.on_limit(now)
        space.checkpoint = min(self._skip_at, phases.update_at, MAX_VARINT)

    def _draw(self) -> None:
        self._drawn = True
        self._skip_at = self._space.next_packet_number + self._connection.rng.getrandbits(self._period_bits)
        self._period_bits = min(self._period_bits + 1, LAST_PERIOD_BITS)
