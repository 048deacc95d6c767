"""Losses that a path has anyway, told apart from congestion by how rare they are.

RFC 9002 section 7.3.2 takes every loss for congestion. On a radio link most are not, and where the round trip is long
a window that each of them reduces fills a small part of the link (RFC 9438 section 5.1 has the formula). With a
tolerance only losses that make up more than a share of what was sent reduce the window. (BBR does the same with a
share of 2 %, draft-ietf-ccwg-bbr section 2.4.)
"""

from typing import Final

MEMORY: Final = 1 << 19  # bytes: when so many were acknowledged or lost, both counts are halved


class LossTolerance:
    """Bytes acknowledged and lost since the last reduction, of which the older ones count less and less."""

    __slots__ = ("_acked", "_lost", "_share")

    def __init__(self, share: float) -> None:
        """`share`: of the bytes sent, may be lost."""
        self._share = share
        self._acked = self._lost = 0

    def on_acked(self, acked: int) -> None:
        """So many bytes were newly acknowledged."""
        self._acked += acked
        while self._acked + self._lost > MEMORY:
            self._acked //= 2
            self._lost //= 2

    def bears(self, lost: int) -> bool:
        """So many bytes were lost; false if that is too much, and counting starts over.

        While less than half of `MEMORY` is known of, that half is taken as known, for a share of a few packets says
        little.
        """
        self._lost += lost
        if self._lost <= self._share * max(self._acked + self._lost, MEMORY // 2):
            return True
        self._acked = self._lost = 0
        return False
