"""Corruption of what is in a datagram."""

from collections.abc import Callable
from typing import Final

from links.chance import CappedChance, Choice
from links.datagram import Datagram
from links.element import Element
from links.units import whole_number

MODES: Final = ("bits", "bytes", "truncate")


class Corrupt(Element):
    """Changes datagrams, chosen with a probability (0 to 1) or by a predicate, as if the UDP checksum had missed it.

    `mode` is "bits": `count` bits flip; "bytes": `count` bytes take another value; or "truncate": what is left is a
    random length, from 0 bytes to one less than there were. Of the payload only the first `within` bytes are changed.
    With `burst` never more than so many datagrams in a row are; with `correlation` (0 to below 1) a datagram shares
    with that probability the choice before it, as in netem's "corrupt". What is empty passes as it is.

    Corrupt(0.3, "bytes", within=51, burst=3) is the QUIC interop runner's "corrupt-rate". Raises ValueError for another
    mode, a count or length below 1, and a burst beside a correlation or a predicate.
    """

    def __init__(
        self,
        chosen: float | Callable[[Datagram], object],
        mode: str = "bits",
        count: int = 1,
        *,
        within: int | None = None,
        burst: int | None = None,
        correlation: float = 0.0,
    ) -> None:
        super().__init__()
        self.choice = Choice(chosen, correlation)
        if burst is not None and (correlation or callable(chosen)):
            raise ValueError(f"burst {burst!r}: goes with a probability alone")
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} of corruption: must be one of {', '.join(MODES)}")
        self.mode = mode
        self.count = whole_number("count", count, 1)
        self.within = None if within is None else whole_number("within", within, 1)
        self.corrupted = 0
        self._capped = None if burst is None or callable(chosen) else CappedChance(chosen, burst)

    def receive(self, datagram: Datagram, now: int) -> int:
        self.received += 1
        capped = self._capped
        chosen = self.choice.takes(datagram, self.rng) if capped is None else capped.draw(self.rng)
        if chosen and datagram.size:
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
