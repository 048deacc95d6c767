"""Corruption of what is in a datagram."""

from typing import Final

from links import units
from links.chance import CappedChance
from links.datagram import Datagram
from links.element import Element
from links.units import whole_number

MODES: Final = ("bits", "bytes", "truncate")


class Corrupt(Element):
    """Changes some datagrams, each with the same `probability` (0 to 1), as if the UDP checksum had missed it.

    `mode` is "bits": `count` bits flip; "bytes": `count` bytes take another value; or "truncate": what is left is a
    random length, from 0 bytes to one less than there were. Of the payload only the first `within` bytes are changed.
    With `burst` never more than so many datagrams in a row are. What is empty passes as it is.

    Corrupt(0.3, "bytes", within=51, burst=3) is the QUIC interop runner's "corrupt-rate". Raises ValueError for another
    mode, or a count or length below 1.
    """

    def __init__(
        self,
        probability: float,
        mode: str = "bits",
        count: int = 1,
        *,
        within: int | None = None,
        burst: int | None = None,
    ) -> None:
        super().__init__()
        self.probability = units.probability(probability)
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} of corruption: must be one of {', '.join(MODES)}")
        self.mode = mode
        self.count = whole_number("count", count, 1)
        self.within = None if within is None else whole_number("within", within, 1)
        self.corrupted = 0
        self._chance = None if burst is None else CappedChance(probability, burst)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        chance = self._chance
        if (self.rng.random() < self.probability if chance is None else chance.draw(self.rng)) and datagram.size:
            self.corrupted += 1
            self._change(datagram)
        return now

    def _change(self, datagram: Datagram) -> None:
        length = datagram.size if self.within is None else min(datagram.size, self.within)
        if self.mode == "truncate":
            datagram.payload = datagram.payload[: self._below(length)]
            datagram.size = len(datagram.payload)
            return
        payload = bytearray(datagram.payload)
        if self.mode == "bits":
            for bit in self._places(length * 8):
                payload[bit >> 3] ^= 1 << (bit & 7)
        else:
            for place in self._places(length):
                payload[place] ^= 1 + self._below(255)
        datagram.payload = bytes(payload)

    def _places(self, number: int) -> list[int]:
        """Draw `count` different ints below `number`, all of them if there are no more."""
        if self.count >= number:
            return list(range(number))
        places: list[int] = []
        while len(places) < self.count:
            place = self._below(number)
            if place not in places:
                places.append(place)
        return places

    def _below(self, number: int) -> int:
        return int(self.rng.random() * number)
