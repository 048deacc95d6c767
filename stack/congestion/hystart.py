"""HyStart++: leaving slow start when delay grows, before the queue overflows (RFC 9406).

    STANDARD ──delay──▶ CONSERVATIVE ──enough rounds──▶ OVER
        ▲                     │
        └───delay was gone────┘

and from both by `congestion` to OVER, where it ends: it serves the first slow start only (rfc9406:4.3:6).
"""

from enum import Enum
from typing import Final

MIN_RTT_THRESH_NS: Final = 4_000_000  # rfc9406:4.3:1 and so are those that follow
MAX_RTT_THRESH_NS: Final = 16_000_000
MIN_RTT_DIVISOR: Final = 8
RTT_SAMPLES: Final = 8  # N_RTT_SAMPLE, rfc9406:4.3:3
CSS_GROWTH_DIVISOR: Final = 4  # rfc9406:4.3:4
CSS_ROUNDS: Final = 5
UNPACED_LIMIT: Final = 8  # L, datagrams that one ACK adds at most; without bound when packets are paced (rfc9406:4.3:5)

_INFINITE: Final = 1 << 62  # ns


class SlowStart(Enum):
    """The phases of slow start."""

    STANDARD = "standard"
    CONSERVATIVE = "conservative"
    OVER = "over"


class SlowStartTrigger(Enum):
    """What moves slow start to another phase."""

    DELAY = "delay"  # a round's shortest round trip is longer than the last one's by the threshold
    DELAY_GONE = "delay_gone"  # round trips are shorter again: something else had delayed them
    ROUNDS = "rounds"  # the delay has stayed for CSS_ROUNDS rounds
    CONGESTION = "congestion"  # a loss or a mark


TRANSITIONS: Final[dict[SlowStart, dict[SlowStartTrigger, SlowStart]]] = {
    SlowStart.STANDARD: {
        SlowStartTrigger.DELAY: SlowStart.CONSERVATIVE,
        SlowStartTrigger.CONGESTION: SlowStart.OVER,
    },
    SlowStart.CONSERVATIVE: {
        SlowStartTrigger.DELAY_GONE: SlowStart.STANDARD,
        SlowStartTrigger.ROUNDS: SlowStart.OVER,
        SlowStartTrigger.CONGESTION: SlowStart.OVER,
    },
    SlowStart.OVER: {},
}


class HyStart:
    """Slow start of one path. Rounds are told apart by send times: what is sent in one is acknowledged in the next."""

    __slots__ = (
        "_baseline_ns",
        "_css_rounds",
        "_last_round_ns",
        "_limit",
        "_round_ns",
        "_round_started_at",
        "_samples",
        "phase",
    )

    def __init__(self, paced: bool) -> None:
        """`paced`: bursts are spread by pacing, so that an ACK may add any amount."""
        self.phase = SlowStart.STANDARD
        self._limit = 0 if paced else UNPACED_LIMIT
        self._round_started_at = 0
        self._last_round_ns = self._round_ns = _INFINITE  # the shortest round trips of the last and of this round
        self._samples = 0  # of this round
        self._baseline_ns = _INFINITE  # the shortest round trip of the round that showed the delay
        self._css_rounds = 0

    def on_acked(self, sent_at: int, rtt_ns: int, now: int) -> None:
        """An ACK arrived; the newest packet that it acknowledges went at `sent_at`, `rtt_ns` is the latest sample."""
        if sent_at >= self._round_started_at:
            self._start_round(now)
            if self.phase is SlowStart.OVER:
                return
        self._samples += 1
        if rtt_ns < self._round_ns:
            self._round_ns = rtt_ns
        if self._samples < RTT_SAMPLES:
            return
        if self.phase is SlowStart.CONSERVATIVE:
            if self._round_ns < self._baseline_ns:
                self._baseline_ns = _INFINITE
                self._move(SlowStartTrigger.DELAY_GONE)
        elif self._last_round_ns != _INFINITE:
            threshold = max(MIN_RTT_THRESH_NS, min(self._last_round_ns // MIN_RTT_DIVISOR, MAX_RTT_THRESH_NS))
            if self._round_ns >= self._last_round_ns + threshold:
                self._baseline_ns = self._round_ns
                self._css_rounds = 0
                self._move(SlowStartTrigger.DELAY)

    def growth(self, acked: int, datagram_size: int) -> int:
        """Bytes by which `acked` newly acknowledged ones open the window in this phase."""
        if self._limit:
            acked = min(acked, self._limit * datagram_size)
        return acked // CSS_GROWTH_DIVISOR if self.phase is SlowStart.CONSERVATIVE else acked

    def on_congestion(self) -> None:
        """A loss or a mark: slow start is over."""
        self._move(SlowStartTrigger.CONGESTION)

    def _start_round(self, now: int) -> None:
        if self.phase is SlowStart.CONSERVATIVE:
            self._css_rounds += 1  # the one in which it began counts (RFC 9406 section 4.2)
            if self._css_rounds == CSS_ROUNDS:
                self._move(SlowStartTrigger.ROUNDS)
        self._round_started_at = now
        self._last_round_ns, self._round_ns = self._round_ns, _INFINITE
        self._samples = 0

    def _move(self, trigger: SlowStartTrigger) -> None:
        self.phase = TRANSITIONS[self.phase][trigger]
