"""The one timer of loss recovery: when a packet is lost by time, or else when to probe (RFC 9002 section 6.2, A.8)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stack.observer import ConnectionObserver
from stack.recovery.acknowledgments import NEVER
from stack.recovery.space import PacketNumberSpace
from stack.wire.header import PACKET_TYPE_NAMES

if TYPE_CHECKING:
    from stack.path.path import Path

MAX_BACKOFF_DOUBLINGS: Final = 20  # of the PTO: days, long after any idle timeout, and far from overflowing a time
LOSS: Final = "ack"  # the types, as qlog names them
PROBE: Final = "pto"


class LossTimer:
    """`at` is when it expires, ns or NEVER; `arm` sets it, whenever something has changed that it depends on."""

    __slots__ = (
        "_armed",
        "_current_path",
        "_live",
        "_spaces",
        "_trace",
        "at",
        "handshake_confirmed",
        "max_ack_delay_ns",
        "peer_validated_address",
        "pto_count",
    )

    def __init__(
        self,
        is_client: bool,
        spaces: list[PacketNumberSpace],
        live: list[PacketNumberSpace],
        current_path: Callable[[], "Path"],
        trace: ConnectionObserver | None,
    ) -> None:
        """`live` are those of `spaces` that are not discarded, `current_path` gives the path whose RTT counts."""
        self._spaces = spaces
        self._live = live
        self._current_path = current_path
        self._trace = trace
        self._armed: tuple[str, int, int] | None = None
        self.at = NEVER
        self.pto_count = 0  # probe timeouts since an ACK came
        self.max_ack_delay_ns = 0  # the peer's, once its transport parameters are known
        self.handshake_confirmed = False
        # Whether the peer is known to have validated our address (always true seen from a server)
        self.peer_validated_address = not is_client

    def pto_ns(self) -> int:
        """The current PTO without backoff, with the peer's max_ack_delay."""
        return self._current_path().rtt.pto_ns(self.max_ack_delay_ns)

    def arm(self, now: int) -> None:
        """Set the timer (RFC 9002 appendix A.8)."""
        timer_type, level, at = self._next(now)
        self.at = at
        if self._trace is not None:
            armed = None if at == NEVER else (timer_type, level, at)
            if armed != self._armed:
                self._armed = armed
                name = PACKET_TYPE_NAMES[self._spaces[level].packet_type]
                event = "set" if armed else "cancelled"
                self._trace.loss_timer(now, event, timer_type, name, at if armed else None)

    def expire(self, now: int) -> tuple[str, PacketNumberSpace]:
        """It has expired: return for what, LOSS or PROBE, and in which space."""
        timer_type, index, _ = self._next(now)
        space = self._spaces[index]
        if self._trace is not None:
            self._armed = None
            self._trace.loss_timer(now, "expired", timer_type, PACKET_TYPE_NAMES[space.packet_type], None)
        return timer_type, space

    def _next(self, now: int) -> tuple[str, int, int]:
        """Return what comes next, the index of its space, and the time or NEVER."""
        loss_index, loss_at = 0, NEVER
        eliciting = 0
        for space in self._live:
            if space.index != 2 or self.handshake_confirmed:  # nothing of the others tells of lost 0-RTT packets
                eliciting += space.eliciting_in_flight
            if space.loss_at < loss_at:
                loss_index, loss_at = space.index, space.loss_at
        if loss_at != NEVER:  # rfc9002:6.2.1:6
            return LOSS, loss_index, loss_at
        path = self._current_path()
        # rfc9002:6.2.2.1:1 nothing to time while the peer's amplification limit is ours to wait for
        if path.amplification_blocked() or (eliciting == 0 and self.peer_validated_address):
            return PROBE, 0, NEVER
        rtt = path.rtt
        backoff = 1 << min(self.pto_count, MAX_BACKOFF_DOUBLINGS)  # rfc9002:6.2.1:5
        if eliciting == 0:
            # A client keeps the handshake alive with nothing in flight (rfc9002:6.2.2.1:2).
            index = 1 if self._spaces[1].write_keys is not None else 0  # rfc9002:6.2.2.1:3
            return PROBE, index, now + rtt.pto_ns(0) * backoff
        best_index, best_at = 0, NEVER
        for space in self._live:
            if not space.eliciting_in_flight:
                continue
            max_ack_delay_ns = 0
            if space.index == 2:
                # rfc9002:6.2.1:3
                if not self.handshake_confirmed:
                    continue
                max_ack_delay_ns = self.max_ack_delay_ns
            at = space.last_eliciting_sent_at + rtt.pto_ns(max_ack_delay_ns) * backoff
            if at < best_at:  # rfc9002:6.2.1:2
                best_index, best_at = space.index, at
        return PROBE, best_index, best_at
