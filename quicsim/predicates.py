"""Predicates of datagrams by the QUIC packets in them, for link elements such as LossIf, Reorder and Corrupt.

    sim.link("client", "server", up=[LossIf(nth(packets("handshake"), 2))], down=[LossIf(ack_only())])

In a plan they are text: `{ loss_if = "second handshake" }`, `{ reorder = { chosen = "ack-only", hold = "5ms" } }`; see
`parse`. Packet types are seen in the headers. Of frames the sender tells (`quicsim.contents`), which only a simulation
does: nothing is decrypted.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from links import Datagram, Element
from quicsim.decoded import decoded_frames
from stack.observer import PacketInfo
from stack.wire import decoded_frames as wire
from stack.wire.header import PACKET_TYPE_NAMES as _TYPE_NAMES
from stack.wire.header import HeaderError, parse_long_header

Predicate = Callable[[Datagram], bool]

PACKETS: Final = {name.lower().replace("_", "-"): name for name in _TYPE_NAMES}
FRAMES: Final = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Frame")).lower(): kind
    for name, kind in vars(wire).items()
    if name.endswith("Frame") and isinstance(kind, type)
}
ACK_ONLY: Final = "ack-only"

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_LONG_FORM: Final = 0x80
_TEXT: Final = re.compile(r"(?:(?P<numbers>[\d,\s-]+?|[a-z]+?|\d+(?:st|nd|rd|th))\s+)?(?P<what>\S+)", re.IGNORECASE)


class _OfFrames:
    """A predicate that asks what the sender says is in a datagram."""

    needs_contents: Final = True

    def __init__(self, holds: Callable[[tuple[PacketInfo, ...]], bool]) -> None:
        self._holds: Final = holds

    def __call__(self, datagram: Datagram) -> bool:
        contents = datagram.contents
        assert isinstance(contents, tuple)
        return bool(contents) and self._holds(contents)


class _Nth:
    """Holds for the datagrams of some numbers, counted from 1, among those for which another predicate does."""

    def __init__(self, predicate: Predicate, numbers: frozenset[int]) -> None:
        self.needs_contents: Final = getattr(predicate, "needs_contents", False)
        self._predicate: Final = predicate
        self._numbers: Final = numbers
        self._count = 0

    def __call__(self, datagram: Datagram) -> bool:
        if not self._predicate(datagram):
            return False
        self._count += 1
        return self._count in self._numbers


def packets(kind: str) -> Predicate:
    """Return whether a datagram has a packet of a type: "initial", "0rtt", "handshake", "1rtt", "retry", ….

    Raises ValueError for a type that is none.
    """
    if kind not in PACKETS:
        raise ValueError(_choose(kind, PACKETS))
    wanted = PACKETS[kind]
    return lambda datagram: wanted in _types(datagram.payload)


def frames(kind: str) -> Predicate:
    """Return whether a datagram has a frame of a type, such as "crypto" or "path_challenge".

    Raises ValueError for a type that is none.
    """
    if kind not in FRAMES:
        raise ValueError(_choose(kind, FRAMES))
    wanted = FRAMES[kind]
    return _OfFrames(
        lambda contents: any(type(frame) is wanted for packet in contents for frame in decoded_frames(packet.payload))
    )


def ack_only() -> Predicate:
    """Return whether a datagram has nothing but ACK frames, and padding."""
    return _OfFrames(_has_only_acks)


def nth(predicate: Predicate, *numbers: int) -> Predicate:
    """Return whether a datagram is one of these numbers, from 1, among those for which `predicate` holds.

    It counts, so it is for one element only. Raises ValueError when there is no number, or one below 1.
    """
    if not numbers or min(numbers) < 1:
        raise ValueError(f"nth of {list(numbers)}: must be numbers from 1")
    return _Nth(predicate, frozenset(numbers))


def parse(text: str) -> Predicate:
    """Return the predicate that a text names: what it is about, behind the numbers of those that count, if not all.

    That is a packet type, a frame type, or "ack-only"; the numbers are as in "2", "2nd", "second", "2-7" or "1,3,5".
    For example "second handshake", "1-3 initial", "path_challenge". Raises ValueError for anything else.
    """
    match = _TEXT.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f'predicate {text!r}: must be such as "second handshake", "2-7 initial" or "ack-only"')
    what, numbers = match["what"], match["numbers"]
    if what == ACK_ONLY:
        predicate = ack_only()
    elif what in PACKETS:
        predicate = packets(what)
    elif what in FRAMES:
        predicate = frames(what)
    else:
        raise ValueError(_choose(what, [ACK_ONLY, *PACKETS, *FRAMES]))
    return predicate if numbers is None else nth(predicate, *_numbers(numbers))


def needs_contents(element: Element) -> bool:
    """Whether an element has a predicate that asks for the frames in a datagram."""
    predicate = getattr(element, "predicate", None) or getattr(getattr(element, "choice", None), "predicate", None)
    return bool(getattr(predicate, "needs_contents", False))


def _types(payload: bytes) -> Iterator[str]:
    """Yield the types of the packets of a datagram, as far as their headers can be read."""
    position = 0
    while position < len(payload):
        if not payload[position] & _LONG_FORM:
            yield "1RTT"
            return
        try:
            header = parse_long_header(payload, position, greased=True)
        except HeaderError:
            return
        if header.packet_type < 0:
            return
        yield _TYPE_NAMES[header.packet_type]
        position = header.end


def _has_only_acks(contents: tuple[PacketInfo, ...]) -> bool:
    kinds = {type(frame) for packet in contents for frame in decoded_frames(packet.payload)}
    return wire.AckFrame in kinds and kinds <= {wire.AckFrame, wire.PaddingFrame}


def _numbers(text: str) -> list[int]:
    if text in _ORDINALS:
        return [_ORDINALS.index(text) + 1]
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?:st|nd|rd|th)?(?:-(\d+))?", part)
        if match is None:
            raise ValueError(f"numbers {text!r}: must be such as 2, 2nd, second, 2-7 or 1,3,5")
        first = int(match[1])
        found += range(first, int(match[2] or first) + 1)
    return found


def _choose(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown packet or frame {name!r}: {hint}must be one of {', '.join(names)}"
