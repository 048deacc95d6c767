"""A UDP datagram on its way through a link."""

from typing import Final

Address = tuple[str, int]

HOP_LIMIT: Final = 64  # links that a datagram takes at most: what hosts usually send with


class Datagram:
    """One UDP datagram. Elements may change its payload, addresses and ECN codepoint in place.

    `size` is the UDP payload in bytes, `ecn` the codepoint 0 to 3, `sent_at` the time in ns at which its host sent
    it, `id` its number in the simulation, `hop_limit` the number of links that it may still take. `dropped_by` and
    `drop_reason` are empty until an element or a router drops it. `contents` is what its sender says is in it, for
    predicates, where somebody asks; here nobody knows what it means.
    """

    __slots__ = (
        "contents",
        "destination",
        "drop_reason",
        "dropped_by",
        "ecn",
        "hop_limit",
        "id",
        "payload",
        "sent_at",
        "size",
        "source",
    )

    def __init__(
        self,
        payload: bytes,
        source: Address,
        destination: Address,
        ecn: int = 0,
        sent_at: int = 0,
        number: int = 0,
    ) -> None:
        self.payload = payload
        self.source = source
        self.destination = destination
        self.ecn = ecn
        self.size = len(payload)
        self.sent_at = sent_at
        self.id = number
        self.hop_limit = HOP_LIMIT
        self.contents: object = ()
        self.dropped_by = ""
        self.drop_reason = ""

    def copy(self) -> "Datagram":
        """Return another datagram with the same contents and number, to which nothing happened yet."""
        copy = Datagram(self.payload, self.source, self.destination, self.ecn, self.sent_at, self.id)
        copy.hop_limit = self.hop_limit
        copy.contents = self.contents
        return copy
