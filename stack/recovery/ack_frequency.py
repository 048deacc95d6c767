"""How often the peer asks us to acknowledge, and we the peer (draft-ietf-quic-ack-frequency)."""

from typing import TYPE_CHECKING, Final

from stack.control import ControlFrames
from stack.errors import (
    FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION,
    TRANSPORT_PARAMETER_ERROR,
    AckFrequencyError,
    TransportError,
)
from stack.recovery.acknowledgments import Acknowledgments
from stack.sent_frame import SentFrame
from stack.wire.frames import encode_ack_frequency, encode_immediate_ack
from stack.wire.parameters import TransportParameters
from stack.wire.varint import MAX_VARINT, decode_varint

if TYPE_CHECKING:
    from stack.dispatch import ReceivedPacket
    from stack.recovery.timer import LossTimer

MIN_ACK_DELAY_US: Final = 1_000  # what we announce: kGranularity of RFC 9002
MICROSECOND: Final = 1_000  # ns
MAX_ACK_DELAY_NS: Final = ((1 << 14) - 1) * 1_000_000  # the largest that RFC 9000 section 18.2 allows

_IMMEDIATE_ACK_KEY: Final = -1  # other keys are sequence numbers of ACK_FREQUENCY


class AckFrequency:
    """Requests in both directions. Those of the peer are taken only if we announced that."""

    __slots__ = (
        "_acked",
        "_acks",
        "_control",
        "_enabled",
        "_granted_ns",
        "_in_flight",
        "_largest_sequence",
        "_peer_min_delay_ns",
        "_request",
        "_sequence",
        "_timer",
    )

    def __init__(self, enabled: bool, acks: Acknowledgments, timer: "LossTimer", control: ControlFrames) -> None:
        """`acks` are those of 1-RTT packets, which alone are delayed."""
        self._enabled = enabled
        self._acks = acks
        self._timer = timer
        self._control = control
        self._largest_sequence = -1  # of the peer's frames that were processed
        self._peer_min_delay_ns: int | None = None  # None: the peer takes no requests
        self._granted_ns = 0  # the peer's max_ack_delay that is known to be in force
        self._sequence = -1  # of our newest request
        self._request = (0, 0, 0)  # its threshold, max_ack_delay (ns) and reordering threshold
        self._acked = -1  # the newest of our requests that the peer acknowledged
        self._in_flight: dict[int, int] = {}  # max_ack_delay (ns) by sequence number, of those that may be in force yet

    def set_peer_parameters(self, parameters: TransportParameters) -> None:
        """Take what the peer announced. Raises TransportError for a min_ack_delay above its max_ack_delay."""
        self._granted_ns = parameters.max_ack_delay * 1000 * MICROSECOND
        if parameters.min_ack_delay is not None:
            self._peer_min_delay_ns = parameters.min_ack_delay * MICROSECOND
            if self._peer_min_delay_ns > self._granted_ns:
                reason = f"min_ack_delay of {parameters.min_ack_delay} µs exceeds max_ack_delay"
                raise TransportError(TRANSPORT_PARAMETER_ERROR, reason)

    # Asking

    def request(self, ack_eliciting_threshold: int, max_ack_delay_ns: int, reordering_threshold: int) -> None:
        """Ask the peer to acknowledge by these rules from now on. Raises AckFrequencyError."""
        shortest = self._check_supported()
        if not shortest <= max_ack_delay_ns <= MAX_ACK_DELAY_NS:
            raise AckFrequencyError(
                f"max_ack_delay of {max_ack_delay_ns} ns: {shortest} to {MAX_ACK_DELAY_NS} is taken"
            )
        for name, value in (("ack-eliciting", ack_eliciting_threshold), ("reordering", reordering_threshold)):
            if not 0 <= value <= MAX_VARINT:
                raise AckFrequencyError(f"{name} threshold of {value}: must be from 0 to {MAX_VARINT}")
        self._sequence += 1
        self._request = (ack_eliciting_threshold, max_ack_delay_ns, reordering_threshold)
        self._control.owe(self, self._sequence)

    def request_immediate(self) -> None:
        """Ask for an ACK at once. Raises AckFrequencyError."""
        self._check_supported()
        self._control.owe(self, _IMMEDIATE_ACK_KEY)

    def _check_supported(self) -> int:
        if self._peer_min_delay_ns is None:
            raise AckFrequencyError("the peer takes no such requests: it has announced no min_ack_delay")
        return self._peer_min_delay_ns

    def write_frame(self, key: int) -> bytes:
        """IMMEDIATE_ACK, or ACK_FREQUENCY unless a newer one has taken its place."""
        if key == _IMMEDIATE_ACK_KEY:
            return encode_immediate_ack()
        if key != self._sequence:
            return b""
        threshold, max_ack_delay_ns, reordering_threshold = self._request
        self._in_flight[key] = max_ack_delay_ns
        self._update_timer()
        return encode_ack_frequency(key, threshold, max_ack_delay_ns // MICROSECOND, reordering_threshold)

    def on_acked(self, sent: SentFrame, now: int) -> None:
        """The peer has a request: it ignores older ones from now on."""
        sequence = sent[1]
        if sequence > self._acked:
            self._acked = sequence
            self._granted_ns = self._in_flight[sequence]
            self._in_flight = {key: value for key, value in self._in_flight.items() if key > sequence}
            self._update_timer()

    def on_lost(self, sent: SentFrame, now: int) -> None:
        """Only the newest request is worth sending again; one for an immediate ACK comes too late."""
        if sent[1] == self._sequence and sent[1] > self._acked:
            self._control.owe(self, sent[1])

    def _update_timer(self) -> None:
        """Probe timeouts allow for the longest delay that the peer may be using."""
        self._timer.max_ack_delay_ns = max(self._granted_ns, *self._in_flight.values(), 0)

    # Being asked

    def on_ack_frequency_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """ACK_FREQUENCY: acknowledge by these rules from now on, unless a newer frame came before."""
        self._check_announced(frame_type)
        sequence, position = decode_varint(payload, position)
        threshold, position = decode_varint(payload, position)
        delay_us, position = decode_varint(payload, position)
        reordering_threshold, position = decode_varint(payload, position)
        if delay_us < MIN_ACK_DELAY_US or delay_us * MICROSECOND > MAX_ACK_DELAY_NS:
            raise TransportError(PROTOCOL_VIOLATION, f"requested max_ack_delay of {delay_us} µs", frame_type)
        if sequence > self._largest_sequence:
            self._largest_sequence = sequence
            self._acks.set_frequency(threshold, delay_us * MICROSECOND, reordering_threshold)
        return position

    def on_immediate_ack_frame(self, payload: bytes, position: int, frame_type: int, packet: "ReceivedPacket") -> int:
        """IMMEDIATE_ACK: acknowledge this packet with the next datagram."""
        self._check_announced(frame_type)
        self._acks.ack_at = 0
        return position

    def _check_announced(self, frame_type: int) -> None:
        if not self._enabled:  # rfc9000:12.4:4
            raise TransportError(FRAME_ENCODING_ERROR, f"unknown frame type 0x{frame_type:x}", frame_type)
