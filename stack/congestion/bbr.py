"""BBR version 3 (draft-ietf-ccwg-bbr): a model of the path decides how fast to send and how much.

    STARTUP ──full──▶ DRAIN ──drained──▶ DOWN ──▶ CRUISE ──▶ REFILL ──▶ UP ──▶ DOWN …
                                       (and from each of them now and then PROBE_RTT)

`bbr_states.py` has the states and their table, `bbr_model.py` the model, `delivery_rate.py` the measurements. A CE mark
counts as a lost datagram, as the draft leaves open how else to answer it (section 3.7).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from stack.congestion.bbr_model import BETA, INFINITE, PathModel, inflight_at_loss, is_too_high
from stack.congestion.bbr_states import ACCELERATING, GAINS, PROBE_BW, TRANSITIONS, AckPhase, BbrState, BbrTrigger
from stack.congestion.controller import MINIMUM_WINDOW, CongestionController, CongestionOptions, register
from stack.congestion.delivery_rate import SECOND, DeliveryRateSampler, RateSample, Snapshot
from stack.congestion.recovery_period import RecoveryPeriod

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket

MIN_PIPE_DATAGRAMS: Final = 4  # MinPipeCwnd
PACING_MARGIN_PERCENT: Final = 1
MILLISECOND: Final = 1_000_000  # ns
MAX_QUANTUM: Final = 65_536  # bytes
STARTUP_FULL_LOSSES: Final = 6  # runs of lost packets in a round, BBRStartupFullLossCnt
DRAIN_ROUNDS: Final = 3
PROBE_RTT_NS: Final = 200 * MILLISECOND
PROBE_WAIT_NS: Final = 2 * SECOND  # between two probes for bandwidth, and up to a second more
MAX_PROBE_ROUNDS: Final = 63  # and so many round trips, if Reno would probe as often (section 5.3.3.8)


class _Undo(NamedTuple):
    """What a loss changes, as it was before."""

    bw_shortterm: int
    inflight_shortterm: int
    inflight_longterm: int


@register("bbr")
class Bbr(CongestionController):
    """One path's flow."""

    __slots__ = (
        "_ack_phase",
        "_cwnd_limited",
        "_cwnd_limited_before",
        "_cycle_stamp",
        "_datagram_size",
        "_drain_start_round",
        "_idle_restart",
        "_in_flight",
        "_initial_window",
        "_loss_runs",
        "_model",
        "_now",
        "_pacing_rate",
        "_prior_window",
        "_probe_acked",
        "_probe_acked_per_datagram",
        "_probe_precautionary",
        "_probe_rounds",
        "_probe_rtt_done_at",
        "_probe_rtt_round_done",
        "_probe_sample",
        "_probe_too_high",
        "_probe_wait_ns",
        "_recovery",
        "_rng",
        "_rtt_seen",
        "_sample",
        "_sampler",
        "_state",
        "_undo",
        "_undo_trigger",
        "congestion_window",
        "ssthresh",
    )

    loss_reduction = BETA[0] / BETA[1]
    burst = 2  # the smallest send quantum, section 5.6.3

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        self._datagram_size = datagram_size
        self._initial_window = options.window(datagram_size)
        self.congestion_window = self._initial_window
        self.ssthresh: int | None = None  # there is none
        self._rng = options.rng
        self._sampler = DeliveryRateSampler()
        self._model = PathModel(self._sampler)
        self._recovery = RecoveryPeriod()
        self._state = BbrState.STARTUP
        self._ack_phase = AckPhase.INIT
        self._rtt_seen = False
        self._pacing_rate = self._initial_rate(MILLISECOND)
        self._prior_window = 0  # the last that neither losses nor PROBE_RTT have cut
        self._idle_restart = False
        self._drain_start_round = 0
        self._loss_runs = 0  # of consecutive packet numbers lost in this round
        # Whether the window was used up in this round, and in the one before
        self._cwnd_limited = self._cwnd_limited_before = False
        # Probing for bandwidth
        self._cycle_stamp = 0
        self._probe_wait_ns = 0
        self._probe_sample = False  # samples are of packets sent while probing
        self._probe_too_high = False  # the last probe lost too much …
        self._probe_precautionary = False  # … so that this one has stopped early
        self._probe_rounds = 0
        self._probe_acked = 0
        self._probe_acked_per_datagram = INFINITE
        # Probing for the round-trip time; 0: not yet low enough
        self._probe_rtt_done_at = 0
        self._probe_rtt_round_done = False
        # What losses that were spurious give back
        self._undo: _Undo | None = None
        self._undo_trigger: BbrTrigger | None = None
        # Of the ACK that is being processed
        self._sample = RateSample()
        self._in_flight = 0
        self._now = 0

    @property
    def state(self) -> str:
        """The state by its name in the draft: "startup", "drain", "probe_bw_down", …"""
        return self._state.value

    def pacing_rate(self, rtt: "RttEstimator") -> tuple[int, int]:
        """Bytes per ns as a fraction."""
        return self._pacing_rate, SECOND

    def set_datagram_size(self, datagram_size: int) -> None:
        """Count in datagrams of this size from now on."""
        self._datagram_size = datagram_size
        self.congestion_window = max(self.congestion_window, MINIMUM_WINDOW * datagram_size)

    # Events

    def on_packet_sent(self, packet: "SentPacket", bytes_in_flight: int) -> None:
        """Let the packet measure the delivery rate; note that the flow was idle."""
        sampler = self._sampler
        if packet.path.app_limited:
            sampler.on_app_limited(bytes_in_flight - packet.size)
        if bytes_in_flight == packet.size and sampler.app_limited_until:
            self._restart_from_idle(packet.sent_at)
        sampler.on_sent(packet, bytes_in_flight)
        if bytes_in_flight + self._datagram_size > self.congestion_window:
            self._cwnd_limited = True

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Update the model, move on, and set rate and window (section 5.2.3)."""
        sampler = self._sampler
        self._in_flight = packets[-1].path.bytes_in_flight
        self._now = now
        if app_limited:
            sampler.on_app_limited(self._in_flight + sum([packet.size for packet in packets]))
        sample = self._sample = sampler.on_acked(packets, rtt.min_rtt_ns, now)
        if not self._rtt_seen and rtt.first_sample_at is not None:
            self._rtt_seen = True
            self._pacing_rate = self._initial_rate(rtt.smoothed_rtt_ns)
        if sample.snapshot is None:
            return
        if self._recovery.active and packets[-1].sent_at > self._recovery.started_at:
            self._recovery.active = False
            self.congestion_window = max(self.congestion_window, self._prior_window)
        self._update_model(sample, sample.snapshot)
        self._set_pacing_rate(GAINS[self._state].pacing)
        self._set_window(sample.newly_acked)

    def on_lost(self, packets: Sequence["SentPacket"], now: int) -> bool:
        """Each loss may be the one that shows that too much was in flight (section 5.5.10)."""
        began = self._begin_recovery(packets[-1].sent_at, now)
        self._recovery.count(packets)
        expected = -1
        for packet in packets:
            if packet.packet_number != expected:
                self._loss_runs += 1
            expected = packet.packet_number + 1
            self._sampler.lost += packet.size
            self._note_loss(packet.size, self._sampler.snapshot_of(packet))
        return began

    def on_marked(self, marks: int, acked: Sequence["SentPacket"], now: int) -> bool:
        """A mark counts as a lost datagram."""
        began = self._begin_recovery(acked[-1].sent_at, now)
        size = marks * self._datagram_size
        self._loss_runs += marks
        self._sampler.lost += size
        self._note_loss(size, self._sampler.snapshot_of(acked[-1]))
        self._undo = None
        return began

    def on_spurious_loss(self, packet: "SentPacket", now: int) -> bool:
        """Restore what the losses have changed once all were spurious (section 5.5.11)."""
        if not self._recovery.is_explained(packet) or self._undo is None:
            return False
        self._now = now
        model, undo, trigger = self._model, self._undo, self._undo_trigger
        self._undo = self._undo_trigger = None
        self._recovery.undo()
        self.congestion_window = max(self.congestion_window, self._prior_window)
        model.loss_in_round = False
        model.full.reset(0)
        model.bw_shortterm = max(model.bw_shortterm, undo.bw_shortterm)
        model.inflight_shortterm = max(model.inflight_shortterm, undo.inflight_shortterm)
        model.inflight_longterm = max(model.inflight_longterm, undo.inflight_longterm)
        if trigger is BbrTrigger.SPURIOUS_FULL and self._state is not BbrState.STARTUP:
            model.full.reached = False
            if self._state is not BbrState.PROBE_RTT:
                self._move(trigger)
        elif trigger is BbrTrigger.SPURIOUS_ENOUGH and self._state in PROBE_BW and self._state is not BbrState.UP:
            self._start_refill(trigger)
        return True

    def on_persistent_congestion(self) -> None:
        """Down to the minimum window (rfc9002:7.6.2:5), which acknowledgments open again."""
        self._save_window()
        self.congestion_window = MINIMUM_WINDOW * self._datagram_size

    # The model and the states

    def _move(self, trigger: BbrTrigger) -> None:
        self._state = TRANSITIONS[self._state][trigger]

    def _update_model(self, sample: RateSample, snapshot: Snapshot) -> None:
        model = self._model
        model.begin_ack(sample, snapshot.delivered)
        if model.round_start:
            self._cwnd_limited_before, self._cwnd_limited = self._cwnd_limited, False
        if model.loss_round_start:
            model.end_loss_round(self.congestion_window, self._state in ACCELERATING)
        model.update_aggregation(sample.newly_acked, self.congestion_window, self._now)
        if model.round_start and not sample.app_limited:
            model.full.on_round(sample.rate)
        self._check_startup_done(snapshot)
        self._check_drain_done()
        self._update_probe_bw(sample, snapshot)
        model.min_rtt.update(sample.rtt_ns, self._now)
        self._check_probe_rtt(sample)
        model.end_ack(sample)

    def _check_startup_done(self, snapshot: Snapshot) -> None:
        """Section 5.3.1."""
        model = self._model
        if not model.full.reached and model.loss_round_start:
            lost = self._sampler.lost - snapshot.lost
            if (
                self._recovery.active
                and self._loss_runs >= STARTUP_FULL_LOSSES
                and is_too_high(lost, snapshot.in_flight)
            ):
                self._undo_trigger = BbrTrigger.SPURIOUS_FULL
                model.full.reached = True
                model.inflight_longterm = max(self._bdp(100), model.inflight_latest)
        if model.loss_round_start:
            self._loss_runs = 0
        if self._state is BbrState.STARTUP and model.full.reached:
            self._move(BbrTrigger.FULL)
            self._drain_start_round = model.round_count

    def _check_drain_done(self) -> None:
        """Section 5.3.2."""
        if self._state is BbrState.DRAIN and (
            self._in_flight <= self._inflight(self._model.bw, 100)
            or self._model.round_count > self._drain_start_round + DRAIN_ROUNDS
        ):
            self._start_down(BbrTrigger.DRAINED)

    def _update_probe_bw(self, sample: RateSample, snapshot: Snapshot) -> None:
        """Section 5.3.3.9."""
        if not self._model.full.reached or self._adapt_long_term_model(sample, snapshot):
            return
        if self._state is BbrState.DOWN:
            if not self._probe_if_due() and self._is_time_to_cruise():
                self._move(BbrTrigger.HEADROOM)
        elif self._state is BbrState.CRUISE:
            self._probe_if_due()
        elif self._state is BbrState.REFILL:
            if self._model.round_start:
                self._probe_sample = True
                self._start_up(sample)
        elif self._state is BbrState.UP and self._is_time_to_go_down(sample):
            self._probe_too_high = False
            self._start_down(BbrTrigger.ENOUGH)

    def _start_down(self, trigger: BbrTrigger | None) -> None:
        """Slow down; None: only for the books, since probing for the round-trip time has emptied the path."""
        model = self._model
        model.forget_signals()
        self._probe_acked_per_datagram = INFINITE
        rng = self._rng
        model.rounds_since_probe = 0 if rng is None else rng.getrandbits(1)
        more_ns = SECOND // 2 if rng is None else rng.getrandbits(30) * SECOND >> 30
        self._probe_wait_ns = PROBE_WAIT_NS + more_ns
        self._cycle_stamp = self._now
        self._ack_phase = AckPhase.STOPPING
        model.start_round()
        if trigger is not None:
            self._move(trigger)

    def _start_refill(self, trigger: BbrTrigger) -> None:
        self._model.reset_short_term()
        self._probe_rounds = self._probe_acked = 0
        self._probe_precautionary = False
        self._ack_phase = AckPhase.REFILLING
        self._model.start_round()
        self._move(trigger)

    def _start_up(self, sample: RateSample) -> None:
        self._ack_phase = AckPhase.STARTING
        self._model.start_round()
        self._model.full.reset(sample.rate)
        self._move(BbrTrigger.REFILLED)
        self._raise_long_term_slope()

    def _probe_if_due(self) -> bool:
        """Refill when the wait is over, or when Reno would have grown by as much (section 5.3.3.8)."""
        rounds = min(min(self._bdp(100), self.congestion_window) // self._datagram_size, MAX_PROBE_ROUNDS)
        due = self._now > self._cycle_stamp + self._probe_wait_ns or self._model.rounds_since_probe >= rounds
        if due:
            self._start_refill(BbrTrigger.PROBE)
        return due

    def _is_time_to_cruise(self) -> bool:
        return self._in_flight <= min(self._with_headroom(), self._inflight(self._model.max_bw, 100))

    def _is_time_to_go_down(self, sample: RateSample) -> bool:
        model = self._model
        if self._probe_too_high and self._in_flight >= model.inflight_longterm:
            self._probe_precautionary = True
            return True
        if self._is_cwnd_limited() and self.congestion_window >= model.inflight_longterm:
            model.full.reset(sample.rate)  # the bandwidth can't show within that bound
            return False
        return model.full.now

    def _is_cwnd_limited(self) -> bool:
        return self._cwnd_limited or self._cwnd_limited_before

    def _adapt_long_term_model(self, sample: RateSample, snapshot: Snapshot) -> bool:
        """Advance what acknowledgments mean; raise inflight_longterm if losses allow. True if the state was moved."""
        model = self._model
        probing = self._state in PROBE_BW
        if model.round_start and self._ack_phase is AckPhase.STARTING:
            self._ack_phase = AckPhase.FEEDBACK
        if model.round_start and self._ack_phase is AckPhase.STOPPING:
            self._probe_sample = False
            self._ack_phase = AckPhase.INIT
            if probing and not sample.app_limited:
                model.advance_cycle()
            if probing and self._probe_precautionary and not self._probe_too_high:
                self._start_refill(BbrTrigger.PROBE)
                return True
        too_high = is_too_high(self._sampler.lost - snapshot.lost, snapshot.in_flight)
        if not too_high and model.inflight_longterm != INFINITE:
            model.inflight_longterm = max(model.inflight_longterm, snapshot.in_flight)
            if self._state is BbrState.UP:
                self._probe_long_term_upward(sample)
        return False

    def _raise_long_term_slope(self) -> None:
        """Each round of probing adds twice as much as the one before."""
        self._probe_acked_per_datagram = max(self.congestion_window >> self._probe_rounds, self._datagram_size)
        self._probe_rounds = min(self._probe_rounds + 1, 30)

    def _probe_long_term_upward(self, sample: RateSample) -> None:
        model = self._model
        if not self._is_cwnd_limited() or self.congestion_window < model.inflight_longterm:
            return
        self._probe_acked += sample.newly_acked
        datagrams, self._probe_acked = divmod(self._probe_acked, self._probe_acked_per_datagram)
        model.inflight_longterm += datagrams * self._datagram_size
        if model.round_start:
            self._raise_long_term_slope()

    # Probing for the round-trip time (section 5.3.4) and idle times (5.4)

    def _check_probe_rtt(self, sample: RateSample) -> None:
        model = self._model
        if self._state is not BbrState.PROBE_RTT and model.min_rtt.probing_due and not self._idle_restart:
            self._save_window()
            self._move(BbrTrigger.MIN_RTT_DUE)
            self._probe_rtt_done_at = 0
            self._ack_phase = AckPhase.STOPPING
            model.start_round()
        if self._state is BbrState.PROBE_RTT:
            self._sampler.on_app_limited(self._in_flight)  # low rates are not the path's
            if self._probe_rtt_done_at == 0:
                if self._in_flight <= self._probe_rtt_window():
                    self._probe_rtt_done_at = self._now + PROBE_RTT_NS
                    self._probe_rtt_round_done = False
                    model.start_round()
            else:
                self._probe_rtt_round_done = self._probe_rtt_round_done or model.round_start
                if self._probe_rtt_round_done:
                    self._check_probe_rtt_done()
        if sample.delivered > 0:
            self._idle_restart = False

    def _check_probe_rtt_done(self) -> None:
        if self._probe_rtt_done_at == 0 or self._now <= self._probe_rtt_done_at:
            return
        model = self._model
        model.min_rtt.probe_stamp = self._now
        self.congestion_window = max(self.congestion_window, self._prior_window)
        model.reset_short_term()
        if model.full.reached:
            self._start_down(None)
            self._move(BbrTrigger.MIN_RTT_KNOWN)
        else:
            self._move(BbrTrigger.MIN_RTT_EARLY)

    def _restart_from_idle(self, now: int) -> None:
        """The first packet after everything was acknowledged."""
        self._idle_restart = True
        self._now = now
        self._model.restart_aggregation(now)
        if self._state in PROBE_BW:
            self._set_pacing_rate(100)
        elif self._state is BbrState.PROBE_RTT:
            self._check_probe_rtt_done()

    # Losses

    def _begin_recovery(self, sent_at: int, now: int) -> bool:
        self._now = now
        if self._recovery.covers(sent_at):
            return False
        self._save_window()
        self._save_state()
        self._recovery.begin(now)
        return True

    def _note_loss(self, size: int, snapshot: Snapshot | None) -> None:
        if self._model.note_loss() and self._undo is None:
            self._save_state()
        if not self._probe_sample or snapshot is None:
            return
        lost = self._sampler.lost - snapshot.lost
        if is_too_high(lost, snapshot.in_flight):
            self._on_inflight_too_high(inflight_at_loss(snapshot.in_flight, lost, size), snapshot.app_limited)

    def _on_inflight_too_high(self, in_flight: int, app_limited: bool) -> None:
        self._probe_too_high = True
        self._probe_sample = False  # one reaction per probe
        if not app_limited:
            numerator, denominator = BETA
            target = min(self._bdp(100), self.congestion_window)
            self._model.inflight_longterm = max(in_flight, target * numerator // denominator)
        if self._state is BbrState.UP:
            self._undo_trigger = BbrTrigger.SPURIOUS_ENOUGH
            self._start_down(BbrTrigger.ENOUGH)

    def _save_state(self) -> None:
        model = self._model
        self._undo = _Undo(model.bw_shortterm, model.inflight_shortterm, model.inflight_longterm)
        self._undo_trigger = None

    def _save_window(self) -> None:
        if self._recovery.active or self._state is BbrState.PROBE_RTT:
            self._prior_window = max(self._prior_window, self.congestion_window)
        else:
            self._prior_window = self.congestion_window

    # Control (section 5.6)

    def _initial_rate(self, rtt_ns: int) -> int:
        return GAINS[BbrState.STARTUP].pacing * self._initial_window * SECOND // (100 * max(rtt_ns, 1))

    def _set_pacing_rate(self, gain: int) -> None:
        rate = self._model.bw * gain * (100 - PACING_MARGIN_PERCENT) // 10_000
        if self._model.full.reached or rate > self._pacing_rate:
            self._pacing_rate = max(rate, 1)  # as a rate, it is not 0

    def _bdp(self, gain: int, bw: int | None = None) -> int:
        """`gain` percent of the bandwidth-delay product."""
        model = self._model
        if model.min_rtt.value_ns == INFINITE:
            return self._initial_window
        return (model.bw if bw is None else bw) * model.min_rtt.value_ns * gain // (100 * SECOND)

    def _with_budget(self, volume: int) -> int:
        """`volume`, but enough for what one burst sends and to keep acknowledgments coming."""
        quantum = min(max(self._pacing_rate * MILLISECOND // SECOND, 2 * self._datagram_size), MAX_QUANTUM)
        volume = max(volume, quantum, MIN_PIPE_DATAGRAMS * self._datagram_size)
        return volume + 2 * self._datagram_size if self._state is BbrState.UP else volume

    def _inflight(self, bw: int, gain: int) -> int:
        return self._with_budget(self._bdp(gain, bw))

    def _with_headroom(self) -> int:
        size = self._datagram_size
        return self._model.inflight_with_headroom(size, MIN_PIPE_DATAGRAMS * size)

    def _probe_rtt_window(self) -> int:
        return max(self._bdp(GAINS[BbrState.PROBE_RTT].window), MIN_PIPE_DATAGRAMS * self._datagram_size)

    def _set_window(self, newly_acked: int) -> None:
        model, least = self._model, MIN_PIPE_DATAGRAMS * self._datagram_size
        max_inflight = self._with_budget(self._bdp(GAINS[self._state].window) + model.extra_acked)
        window = self.congestion_window
        if model.full.reached:
            window = min(window + newly_acked, max_inflight)
        elif window < max_inflight or self._sampler.delivered < self._initial_window:
            window += newly_acked
        window = max(window, least)
        cap = INFINITE
        if self._state is BbrState.PROBE_RTT:
            window = min(window, self._probe_rtt_window())
        if self._state in (BbrState.PROBE_RTT, BbrState.CRUISE):
            cap = self._with_headroom()
        elif self._state in PROBE_BW:
            cap = model.inflight_longterm
        cap = max(min(cap, model.inflight_shortterm), least)
        self.congestion_window = min(window, cap)
