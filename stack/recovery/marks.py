"""ECN marks of one packet number space: how many were sent, and what the peer reported (RFC 9000 section 13.4)."""

from stack.wire.frames import EcnCounts


class SentMarks:
    """The sending side's book of marks. `unreported` counts marked packets that no report has covered.

    It goes below zero when the peer reports more marks than were sent, until `settle`.
    """

    __slots__ = ("_reported", "unreported")

    def __init__(self) -> None:
        self._reported: EcnCounts = (0, 0, 0)
        self.unreported = 0

    def report(self, counts: EcnCounts) -> EcnCounts:
        """Take the counts of an ACK frame; return by how much ECT(0), ECT(1) and CE have grown since the last ones."""
        before, self._reported = self._reported, counts
        ect_0, ect_1, ce = counts[0] - before[0], counts[1] - before[1], counts[2] - before[2]
        self.unreported -= ect_0 + ect_1 + ce
        return ect_0, ect_1, ce

    def settle(self) -> bool:
        """Whether more marks were reported than sent; what is too much is forgotten, so that it counts only once."""
        if self.unreported >= 0:
            return False
        self.unreported = 0
        return True
