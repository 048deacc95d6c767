"""BBR's states, what they send at, and how they follow each other (draft-ietf-ccwg-bbr sections 5.1 and 5.6.1)."""

from enum import Enum
from typing import Final, NamedTuple


class BbrState(Enum):
    """What a flow is doing; the values are what observers see."""

    STARTUP = "startup"
    DRAIN = "drain"
    DOWN = "probe_bw_down"
    CRUISE = "probe_bw_cruise"
    REFILL = "probe_bw_refill"
    UP = "probe_bw_up"
    PROBE_RTT = "probe_rtt"


class BbrTrigger(Enum):
    """What moves a flow on."""

    FULL = "full"  # the delivery rate grows no more, or too much is lost
    DRAINED = "drained"  # no more in flight than the path holds, or it was tried for long enough
    HEADROOM = "headroom"  # there is room for others, too
    PROBE = "probe"  # time to look for more bandwidth
    REFILLED = "refilled"  # a round trip has passed
    ENOUGH = "enough"  # the path is full, or loses too much
    MIN_RTT_DUE = "min_rtt_due"  # the shortest round trip was measured long ago
    MIN_RTT_KNOWN = "min_rtt_known"  # it was measured anew
    MIN_RTT_EARLY = "min_rtt_early"  # the same, before the path was ever full
    SPURIOUS_FULL = "spurious_full"  # startup ended because of losses that were none
    SPURIOUS_ENOUGH = "spurious_enough"  # and so did probing


_PROBING_OVER: Final = {BbrTrigger.MIN_RTT_DUE: BbrState.PROBE_RTT, BbrTrigger.SPURIOUS_FULL: BbrState.STARTUP}

TRANSITIONS: Final[dict[BbrState, dict[BbrTrigger, BbrState]]] = {
    BbrState.STARTUP: {BbrTrigger.FULL: BbrState.DRAIN, BbrTrigger.MIN_RTT_DUE: BbrState.PROBE_RTT},
    BbrState.DRAIN: _PROBING_OVER | {BbrTrigger.DRAINED: BbrState.DOWN},
    BbrState.DOWN: _PROBING_OVER
    | {
        BbrTrigger.HEADROOM: BbrState.CRUISE,
        BbrTrigger.PROBE: BbrState.REFILL,
        BbrTrigger.SPURIOUS_ENOUGH: BbrState.REFILL,
    },
    BbrState.CRUISE: _PROBING_OVER | {BbrTrigger.PROBE: BbrState.REFILL, BbrTrigger.SPURIOUS_ENOUGH: BbrState.REFILL},
    BbrState.REFILL: _PROBING_OVER
    | {
        BbrTrigger.REFILLED: BbrState.UP,
        BbrTrigger.PROBE: BbrState.REFILL,
        BbrTrigger.SPURIOUS_ENOUGH: BbrState.REFILL,
    },
    BbrState.UP: _PROBING_OVER | {BbrTrigger.ENOUGH: BbrState.DOWN, BbrTrigger.PROBE: BbrState.REFILL},
    BbrState.PROBE_RTT: {
        BbrTrigger.MIN_RTT_KNOWN: BbrState.CRUISE,
        BbrTrigger.MIN_RTT_EARLY: BbrState.STARTUP,
    },
}


class Gains(NamedTuple):
    """In percent: the pacing rate of the bandwidth, the window of the bandwidth-delay product."""

    pacing: int
    window: int


GAINS: Final[dict[BbrState, Gains]] = {
    BbrState.STARTUP: Gains(277, 200),  # 4·ln 2
    BbrState.DRAIN: Gains(50, 200),
    BbrState.DOWN: Gains(90, 200),
    BbrState.CRUISE: Gains(100, 200),
    BbrState.REFILL: Gains(100, 200),
    BbrState.UP: Gains(125, 225),
    BbrState.PROBE_RTT: Gains(100, 50),
}

PROBE_BW: Final = frozenset({BbrState.DOWN, BbrState.CRUISE, BbrState.REFILL, BbrState.UP})
ACCELERATING: Final = frozenset({BbrState.STARTUP, BbrState.REFILL, BbrState.UP})


class AckPhase(Enum):
    """What acknowledgments say of probing for bandwidth (section 2.14)."""

    INIT = "init"  # not probing
    REFILLING = "refilling"  # what is acknowledged filled the pipe only
    STARTING = "starting"  # probing, and acknowledgments are of what was sent before
    FEEDBACK = "feedback"  # acknowledgments of what was sent while probing
    STOPPING = "stopping"  # not probing any more, and still such acknowledgments
