"""BBR's model of a path: how fast it delivers, how long it takes, how much it holds (draft-ietf-ccwg-bbr section 5.5).

Bandwidths are in bytes per second, volumes in bytes, times in ns; integers throughout. Names are those of the draft.
"""

from typing import Final

from stack.congestion.delivery_rate import SECOND, DeliveryRateSampler, RateSample
from stack.congestion.windowed_max import WindowedMax

INFINITE: Final = 1 << 62
BETA: Final = (7, 10)
LOSS_THRESHOLD: Final = (1, 50)  # of what was in flight: 2 %
HEADROOM: Final = (15, 100)  # of inflight_longterm, left to others
MAX_BW_CYCLES: Final = 2  # MaxBwFilterLen
EXTRA_ACKED_ROUNDS: Final = 10  # ExtraAckedFilterLen
FULL_BW_ROUNDS: Final = 3
FULL_BW_GROWTH: Final = (5, 4)
MIN_RTT_FILTER_NS: Final = 10 * SECOND
PROBE_RTT_INTERVAL_NS: Final = 5 * SECOND


class FullPipe:
    """Whether the delivery rate has stopped growing: less than a quarter more in three rounds (section 5.3.1.2)."""

    __slots__ = ("_baseline", "_count", "now", "reached")

    def __init__(self) -> None:
        self.reached = False  # ever
        self.reset(0)

    def reset(self, baseline: int) -> None:
        """Look anew, from this bandwidth."""
        self._baseline = baseline
        self._count = 0
        self.now = False  # since the last reset

    def on_round(self, rate: int) -> None:
        """A round that the application did not limit has ended with a sample of `rate`."""
        if self.now:
            return
        numerator, denominator = FULL_BW_GROWTH
        if rate * denominator >= self._baseline * numerator:
            self.reset(rate)
            return
        self._count += 1
        if self._count >= FULL_BW_ROUNDS:
            self.now = self.reached = True


class MinRtt:
    """The shortest round-trip time of the last ten seconds, and whether it is time to measure it (section 5.3.4.3)."""

    __slots__ = ("_probed_ns", "_stamp", "probe_stamp", "probing_due", "value_ns")

    def __init__(self) -> None:
        self.value_ns = INFINITE
        self._stamp = 0
        self._probed_ns = INFINITE  # the shortest of the last five seconds
        self.probe_stamp = -1  # when that was measured; -1: nothing was yet
        self.probing_due = False

    def update(self, rtt_ns: int, now: int) -> None:
        """Take in the sample of an ACK."""
        if self.probe_stamp < 0:
            self.probe_stamp = self._stamp = now
        self.probing_due = now > self.probe_stamp + PROBE_RTT_INTERVAL_NS
        if rtt_ns < self._probed_ns or self.probing_due:
            self._probed_ns = rtt_ns
            self.probe_stamp = now
        if self._probed_ns < self.value_ns or now > self._stamp + MIN_RTT_FILTER_NS:
            self.value_ns = self._probed_ns
            self._stamp = self.probe_stamp


class PathModel:
    """What is known of the path, and the bounds that losses put on it."""

    __slots__ = (
        "_bw_latest",
        "_cycle",
        "_extra_acked_delivered",
        "_extra_acked_filter",
        "_extra_acked_since",
        "_inflight_latest",
        "_loss_round_delivered",
        "_max_bw_filter",
        "_next_round_delivered",
        "_sampler",
        "bw",
        "bw_shortterm",
        "full",
        "inflight_longterm",
        "inflight_shortterm",
        "loss_in_round",
        "loss_round_start",
        "max_bw",
        "min_rtt",
        "round_count",
        "round_start",
        "rounds_since_probe",
    )

    def __init__(self, sampler: DeliveryRateSampler) -> None:
        self._sampler = sampler
        self.full = FullPipe()
        self.min_rtt = MinRtt()
        self._max_bw_filter = WindowedMax()
        self._cycle = 0
        self.max_bw = self.bw = 0
        self.inflight_longterm = INFINITE
        self.round_count = self.rounds_since_probe = 0
        self.round_start = False
        self._next_round_delivered = 0
        self._extra_acked_since = 0
        self._extra_acked_delivered = 0
        self._extra_acked_filter = WindowedMax()
        self._loss_round_delivered = 0
        self.loss_round_start = self.loss_in_round = False
        self._bw_latest = self._inflight_latest = 0
        self.bw_shortterm = self.inflight_shortterm = INFINITE

    @property
    def extra_acked(self) -> int:
        """Bytes acknowledged at once beyond what the bandwidth explains, at most, of late."""
        return self._extra_acked_filter.value

    @property
    def inflight_latest(self) -> int:
        """The largest volume delivered within a round trip, of the last round."""
        return self._inflight_latest

    def inflight_with_headroom(self, datagram_size: int, least: int) -> int:
        """inflight_longterm less what is left to others, but `least` at least."""
        if self.inflight_longterm == INFINITE:
            return INFINITE
        numerator, denominator = HEADROOM
        headroom = max(datagram_size, self.inflight_longterm * numerator // denominator)
        return max(self.inflight_longterm - headroom, least)

    # Rounds and bandwidth

    def start_round(self) -> None:
        """A round ends when something sent from now on is acknowledged."""
        self._next_round_delivered = self._sampler.delivered

    def advance_cycle(self) -> None:
        """One more cycle of probing has shown what there is."""
        self._cycle += 1

    def begin_ack(self, sample: RateSample, prior_delivered: int) -> None:
        """Latest delivery signals, rounds and bandwidth, from the sample of an ACK."""
        self._bw_latest = max(self._bw_latest, sample.rate)
        self._inflight_latest = max(self._inflight_latest, sample.delivered)
        self.loss_round_start = prior_delivered >= self._loss_round_delivered
        if self.loss_round_start:
            self._loss_round_delivered = self._sampler.delivered
        self.round_start = prior_delivered >= self._next_round_delivered
        if self.round_start:
            self.start_round()
            self.round_count += 1
            self.rounds_since_probe += 1
        if sample.rate and (sample.rate >= self.max_bw or not sample.app_limited):
            self.max_bw = self._max_bw_filter.update(sample.rate, self._cycle, MAX_BW_CYCLES)

    def end_ack(self, sample: RateSample) -> None:
        """What was latest in the last round is so no more; the bandwidth to use follows from the model."""
        if self.loss_round_start:
            self._bw_latest = sample.rate
            self._inflight_latest = sample.delivered
        self.bw = min(self.max_bw, self.bw_shortterm)

    # Aggregation (section 5.5.9)

    def restart_aggregation(self, now: int) -> None:
        """The flow was idle."""
        self._extra_acked_since = now

    def update_aggregation(self, newly_acked: int, window: int, now: int) -> None:
        """How much more than expected is acknowledged at once."""
        expected = self.bw * (now - self._extra_acked_since) // SECOND
        if self._extra_acked_delivered <= expected:
            self._extra_acked_delivered = 0
            self._extra_acked_since = now
            expected = 0
        self._extra_acked_delivered += newly_acked
        extra = min(self._extra_acked_delivered - expected, window)
        rounds = EXTRA_ACKED_ROUNDS if self.full.reached else 1
        self._extra_acked_filter.update(extra, self.round_count, rounds)

    # Congestion (section 5.5.10)

    def note_loss(self) -> bool:
        """Something was lost; true if it is the first time in this round."""
        first = not self.loss_in_round
        if first:
            self._loss_round_delivered = self._sampler.delivered
        self.loss_in_round = True
        return first

    def forget_signals(self) -> None:
        """Begin to look at losses and deliveries anew."""
        self.loss_in_round = False
        self._bw_latest = self._inflight_latest = 0

    def reset_short_term(self) -> None:
        """What losses say of other traffic is over."""
        self.bw_shortterm = self.inflight_shortterm = INFINITE

    def end_loss_round(self, window: int, accelerating: bool) -> None:
        """Once per round: slow down towards what was delivered, if there were losses while not probing."""
        if not accelerating and self.loss_in_round:
            if self.bw_shortterm == INFINITE:
                self.bw_shortterm = self.max_bw
            if self.inflight_shortterm == INFINITE:
                self.inflight_shortterm = window
            numerator, denominator = BETA
            self.bw_shortterm = max(self._bw_latest, self.bw_shortterm * numerator // denominator)
            self.inflight_shortterm = max(self._inflight_latest, self.inflight_shortterm * numerator // denominator)
        self.loss_in_round = False


def is_too_high(lost: int, in_flight: int) -> bool:
    """Whether so much of what was in flight was lost that less should be."""
    numerator, denominator = LOSS_THRESHOLD
    return lost * denominator > in_flight * numerator


def inflight_at_loss(in_flight: int, lost: int, size: int) -> int:
    """What was in flight when losses crossed the threshold, within a packet of `size` bytes (section 5.5.10.2)."""
    numerator, denominator = LOSS_THRESHOLD
    before = in_flight - size
    lost_prefix = (before * numerator - (lost - size) * denominator) // (denominator - numerator)
    return before + lost_prefix
