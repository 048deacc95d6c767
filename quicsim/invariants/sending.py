"""What one end of a connection sends: packet numbers, bytes in flight, the congestion window, acknowledged numbers."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from stack.observer import PacketInfo, RecoveryMetrics
from stack.ranges import RangeSet
from stack.wire.decoded_frames import (
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    PaddingFrame,
    PathChallengeFrame,
    StreamFrame,
)

SPACES: Final = {"initial": "initial", "handshake": "handshake", "0RTT": "application", "1RTT": "application"}

_SMALLEST_DATAGRAM: Final = 1200  # bytes of a full one, at least: RFC 9000 section 14
_MINIMUM_WINDOW: Final = 2  # datagrams: kMinimumWindow, RFC 9002 section 7.2
_PROBES: Final = 2  # packets that may go when a PTO expires: RFC 9002 section 6.2.4
_NOT_ELICITING: Final = {AckFrame, PaddingFrame, ConnectionCloseFrame}  # RFC 9002 section 2
_NOT_IN_FLIGHT: Final = {AckFrame, ConnectionCloseFrame}


class _Sent(NamedTuple):
    size: int
    path: int
    eliciting: bool


class Sending:
    """Books of what was sent, from the observer's events alone. `fail` is called with what does not hold."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail: Final = fail
        self._numbers: dict[str, RangeSet] = {space: RangeSet() for space in SPACES.values()}
        self._received: dict[str, RangeSet] = {space: RangeSet() for space in SPACES.values()}
        self._flight: dict[str, dict[int, _Sent]] = {space: {} for space in SPACES.values()}
        self._bytes: dict[int, int] = {}  # in flight, by path
        self._eliciting = 0  # packets in flight that ask for an ACK
        self._window: dict[int, int] = {}  # by path, where it was told since the path came into use
        self._probes = dict.fromkeys(SPACES.values(), 0)  # packets that may still exceed the window
        self._largest: dict[int, int] = {}  # bytes of the largest datagram that carried data, by path
        self._exceeds: dict[int, int] = {}  # what went out on a path before its window was told
        self._version = 0  # of the Initial packets

    # Packets

    def on_sent(self, packet: PacketInfo, frames: Sequence[Frame]) -> bool:
        """A packet was sent; true when it begins another connection attempt, in another version."""
        space = SPACES[packet.packet_type]
        restarted = self._take_number(space, packet)
        kinds = {type(frame) for frame in frames}
        if kinds <= _NOT_IN_FLIGHT:
            return restarted
        eliciting = not kinds <= _NOT_ELICITING
        path = packet.path
        self._flight[space][packet.packet_number] = _Sent(packet.size, path, eliciting)
        flight = self._bytes[path] = self._bytes.get(path, 0) + packet.size
        if StreamFrame in kinds:
            self._largest[path] = max(self._largest.get(path, 0), packet.size)
        excused = (
            self._probes[space] > 0
            or not self._eliciting  # nobody would acknowledge what fills the window
            or PathChallengeFrame in kinds
        )
        if eliciting:
            self._eliciting += 1
            self._probes[space] = max(self._probes[space] - 1, 0)
        window = self._window.get(path)
        if not excused:
            if window is None:
                self._exceeds[path] = flight
            elif flight > window:
                name = f"{packet.packet_type} packet {packet.packet_number} of {packet.size} bytes"
                self._fail(
                    f"{name} puts {flight} bytes in flight on path {path}, above the congestion window of "
                    f"{window}, and is no probe"
                )
        return restarted

    def _take_number(self, space: str, packet: PacketInfo) -> bool:
        """Note that a packet number was used; true when numbers begin again, with another version."""
        numbers, number = self._numbers[space], packet.packet_number
        restarted = False
        if space == "initial":
            if number == 0 and self._version not in (0, packet.version):
                numbers.clear()
                restarted = True
            self._version = packet.version
        if numbers.ends and number < numbers.ends[-1]:
            last = numbers.ends[-1] - 1
            self._fail(f"{packet.packet_type} packet number {number} was sent after {last}: none may be used again")
        numbers.add(number, number + 1)
        return restarted

    def on_received(self, packet: PacketInfo) -> None:
        """A packet was received."""
        self._received[SPACES[packet.packet_type]].add(packet.packet_number, packet.packet_number + 1)

    def on_ack_received(self, packet_type: str, ack: AckFrame) -> None:
        """The peer acknowledges packets: all of them must have been sent."""
        self._check_ack(ack, self._numbers[SPACES[packet_type]], f"an ACK in a {packet_type} packet came for", "sent")

    def on_ack_sent(self, packet_type: str, ack: AckFrame) -> None:
        """This end acknowledges packets: all of them must have arrived."""
        what = f"an ACK in a {packet_type} packet was sent for"
        self._check_ack(ack, self._received[SPACES[packet_type]], what, "received")

    def _check_ack(self, ack: AckFrame, known: RangeSet, what: str, happened: str) -> None:
        for smallest, largest in ack.ranges:
            whole = known.overlapping(smallest, largest + 1)
            if len(whole) != 1 or whole[0][0] > smallest or whole[0][1] <= largest:
                self._fail(f"{what} packets {smallest} to {largest}, not all of which were {happened}")

    # How packets leave flight

    def on_gone(self, packet_type: str, numbers: Sequence[int]) -> None:
        """Packets were acknowledged, declared lost or forgotten."""
        flight = self._flight[SPACES[packet_type]]
        for number in numbers:
            packet = flight.pop(number, None)
            if packet is not None:
                self._bytes[packet.path] -= packet.size
                self._eliciting -= packet.eliciting

    def on_probe_timeout(self) -> None:
        """A PTO expired."""
        self._probes = dict.fromkeys(self._probes, _PROBES)

    # Paths

    def on_path_used(self, path: int, instead_of: int, keeps_estimates: bool) -> None:
        """Packets take another path; `keeps_estimates`: it is the old one to the peer's new port (RFC 9000 9.4)."""
        window = self._window.pop(instead_of, None)
        self._window.pop(path, None)
        if not keeps_estimates:
            return
        if window is not None:
            self._window[path] = window
        self._largest[path] = self._largest.pop(instead_of, 0)
        self._bytes[path] = self._bytes.get(path, 0) + self._bytes.get(instead_of, 0)
        self._bytes[instead_of] = 0
        for flight in self._flight.values():
            for number, packet in flight.items():
                if packet.path == instead_of:
                    flight[number] = packet._replace(path=path)

    def on_datagram_size(self, path: int, size: int) -> None:
        """The path takes datagrams of this size."""
        self._largest[path] = size

    def on_metrics(self, metrics: RecoveryMetrics) -> None:
        """The stack tells its own books of the active path."""
        path, window = metrics.path, metrics.congestion_window
        flight = self._bytes.get(path, 0)
        if metrics.bytes_in_flight != flight:
            self._fail(f"bytes_in_flight of path {path} is {metrics.bytes_in_flight}, but {flight} bytes are in flight")
        least = _MINIMUM_WINDOW * max(self._largest.get(path, 0), _SMALLEST_DATAGRAM)
        if window < least:
            self._fail(f"the congestion window of path {path} is {window} bytes, below its minimum of {least}")
        before = self._exceeds.pop(path, 0)
        if before > window:
            self._fail(f"{before} bytes went out on path {path}, above the first congestion window of {window}")
        self._window[path] = window
