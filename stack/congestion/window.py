"""What the controllers have in common that open a window by acknowledgments: slow start, recovery, and undoing.

NewReno, CUBIC and Prague differ in how the window grows after slow start, and in how far congestion reduces it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stack.congestion.controller import MINIMUM_WINDOW, CongestionController, CongestionOptions
from stack.congestion.hystart import HyStart, SlowStart
from stack.congestion.loss_tolerance import LossTolerance
from stack.congestion.packet_train import PacketTrain
from stack.congestion.recovery_period import RecoveryPeriod

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket


class WindowController(CongestionController):
    """Slow start (rfc9438:4.10:1), one reduction per round trip, and what a subclass adds.

    A subclass has `_avoid`, which opens the window after slow start, and `_reduce`, which closes it; `_kept` and
    `_restore` give and take back what a spurious loss undoes.
    """

    __slots__ = (
        "_datagram_size",
        "_hystart",
        "_kept_state",
        "_recovery",
        "_tolerance",
        "_train",
        "congestion_window",
        "ssthresh",
    )

    hystart_by_default = False  # of the class

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        self._datagram_size = datagram_size
        self.congestion_window = options.window(datagram_size)
        self.ssthresh: int | None = None
        hystart = self.hystart_by_default if options.hystart is None else options.hystart
        self._hystart = HyStart(options.paced) if hystart else None
        self._train = PacketTrain() if options.jump_start else None
        self._tolerance = LossTolerance(options.loss_tolerance) if options.loss_tolerance else None
        self._recovery = RecoveryPeriod()
        self._kept_state: tuple[Any, ...] | None = None  # before the last reduction; None: it can't be undone

    @property
    def state(self) -> str:
        """The state as qlog names it."""
        if self._recovery.active:
            return "recovery"
        if self.ssthresh is None or self.congestion_window < self.ssthresh:
            return "slow_start"
        return "congestion_avoidance"

    @property
    def pacing_gain(self) -> tuple[int, int]:
        """Twice the window per round trip while it doubles, 5/4 after (RFC 9002 section 7.7)."""
        return (2, 1) if self.ssthresh is None or self.congestion_window < self.ssthresh else (5, 4)

    def set_datagram_size(self, datagram_size: int) -> None:
        """Grow by datagrams of this size from now on (RFC 8899 section 3: the window in bytes stays)."""
        self._datagram_size = datagram_size
        self._set_window(max(self.congestion_window, MINIMUM_WINDOW * datagram_size))

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Grow the window by what was sent after the last reduction (RFC 9002 appendix B.5)."""
        acked = 0
        recovery = self._recovery
        started_at = recovery.started_at
        for packet in packets:
            if packet.sent_at > started_at:
                acked += packet.size
        if acked == 0:
            return
        # RFC 9002 section 7.3.2: recovery ends when a packet sent during it is acknowledged
        recovery.active = False
        if self._tolerance is not None:
            self._tolerance.on_acked(acked)
        hystart = self._hystart
        if hystart is not None:
            hystart.on_acked(packets[-1].sent_at, rtt.latest_rtt_ns, now)
            if hystart.phase is SlowStart.OVER:
                self._hystart = None
                self.ssthresh = self.congestion_window
                self._on_slow_start_left()
        if app_limited:  # rfc9002:7.8:1
            self._on_app_limited(now)
        elif self.ssthresh is None or self.congestion_window < self.ssthresh:
            growth = acked if self._hystart is None else self._hystart.growth(acked, self._datagram_size)
            window = self.congestion_window + growth
            if self._train is not None and self.ssthresh is None:
                window = max(window, self._train.window(packets, rtt.min_rtt_ns, now))
            self._set_window(window)
        else:
            self._avoid(acked, rtt, now)

    def on_congestion(self, sent_at: int, now: int) -> bool:
        """Reduce the window, at most once per recovery period (RFC 9002 section 7.3.2)."""
        if self._recovery.covers(sent_at):
            return False
        self._recovery.begin(now)
        self._leave_hystart()  # and slow start, since ssthresh is set: rfc9002:7.3.1:1
        self._kept_state = None
        self._reduce(now)
        return True

    def on_lost(self, packets: Sequence["SentPacket"], now: int) -> bool:
        """Reduce, and keep what undoes it in case that the packets only came late."""
        if self._tolerance is not None:
            return self._on_lost_beyond(self._tolerance, packets, now)
        kept = (*self._kept(), self.ssthresh)
        reduced = self.on_congestion(packets[-1].sent_at, now)
        if reduced:
            self._kept_state = kept
        self._recovery.count(packets)
        return reduced

    def _on_lost_beyond(self, tolerance: LossTolerance, packets: Sequence["SentPacket"], now: int) -> bool:
        """Reduce if more is lost than is borne. That is not undone: any of the packets lost until then may turn up."""
        lost = sum([packet.size for packet in packets if not self._recovery.covers(packet.sent_at)])
        return not tolerance.bears(lost) and self.on_congestion(packets[-1].sent_at, now)

    def on_spurious_loss(self, packet: "SentPacket", now: int) -> bool:
        """Take the reduction back once all the packets that have led to it turned up (RFC 9438 section 4.9.2)."""
        if not self._recovery.is_explained(packet) or self._kept_state is None:
            return False
        *kept, ssthresh = self._kept_state
        self._kept_state = None
        if not self._restore(kept):
            return False
        self.ssthresh = ssthresh
        self._recovery.undo()
        return True

    def on_persistent_congestion(self) -> None:
        """Start over from the minimum window, two datagrams (rfc9002:7.6.2:5)."""
        self._set_window(MINIMUM_WINDOW * self._datagram_size)
        self._recovery.forget()
        self._kept_state = None

    def _leave_hystart(self) -> None:
        if self._hystart is not None:
            self._hystart.on_congestion()
            self._hystart = None

    # What a subclass does

    def _set_window(self, window: int) -> None:
        """Go on from this window."""
        self.congestion_window = window

    def _avoid(self, acked: int, rtt: "RttEstimator", now: int) -> None:
        """Congestion avoidance: `acked` bytes were acknowledged."""
        raise NotImplementedError

    def _reduce(self, now: int) -> None:
        """A new recovery period begins: set `ssthresh` and the window."""
        raise NotImplementedError

    def _kept(self) -> tuple[Any, ...]:
        """What `_restore` needs."""
        return (self.congestion_window,)

    def _restore(self, kept: list[Any]) -> bool:
        """Go on as `_kept` found it, unless things have become better since; true if so."""
        (window,) = kept
        if self.congestion_window >= window:
            return False
        self._set_window(window)
        return True

    def _on_slow_start_left(self) -> None:
        """Slow start ended without congestion."""

    def _on_app_limited(self, now: int) -> None:
        """An ACK came that must not open the window."""
