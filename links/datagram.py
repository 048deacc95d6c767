"""A UDP datagram on its way through a link."""

Address = tuple[str, int]


class Datagram:
    """One UDP datagram. Elements may change its payload, addresses and ECN codepoint in place.

    `size` is the UDP payload in bytes, `ecn` the codepoint 0 to 3, `sent_at` the time in ns at which it
    entered the link, `id` its number in the simulation. `dropped_by` and `drop_reason` are empty until an
    element drops it.
    """

    __slots__ = (
        "destination",
        "drop_reason",
        "dropped_by",
        "ecn",
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
        self.dropped_by = ""
        self.drop_reason = ""

    def copy(self) -> "Datagram":
        """Return another datagram with the same contents and number, to which nothing happened yet."""
        return Datagram(self.payload, self.source, self.destination, self.ecn, self.sent_at, self.id)
