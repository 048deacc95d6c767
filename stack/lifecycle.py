"""Connection states and how they follow one another (RFC 9000 sections 7 and 10).

    HANDSHAKING ──complete──▶ ESTABLISHED ──confirm──▶ CONFIRMED
         │                         │                       │
         └──────────┬──────────────┴───────────┬───────────┘
                  close                      drain
                    ▼                          ▼
                 CLOSING ───────drain──────▶ DRAINING ──expire──▶ CLOSED
                    └──────────────expire────────────────────────▶┘

Idle timeout and a failed attempt to connect go straight to CLOSED by `expire`.
"""

from enum import Enum
from typing import Final


class State(Enum):
    """Where a connection is in its life."""

    HANDSHAKING = "handshaking"
    ESTABLISHED = "established"
    CONFIRMED = "confirmed"
    CLOSING = "closing"
    DRAINING = "draining"
    CLOSED = "closed"


class Trigger(Enum):
    """What moves a connection to another state."""

    COMPLETE = "complete"  # TLS is complete
    CONFIRM = "confirm"  # RFC 9001 section 4.1.2
    CLOSE = "close"  # we send CONNECTION_CLOSE
    DRAIN = "drain"  # the peer sent CONNECTION_CLOSE
    EXPIRE = "expire"  # three PTOs after the end, or idle


TRANSITIONS: Final[dict[State, dict[Trigger, State]]] = {
    State.HANDSHAKING: {
        Trigger.COMPLETE: State.ESTABLISHED,
        Trigger.CLOSE: State.CLOSING,
        Trigger.DRAIN: State.DRAINING,
        Trigger.EXPIRE: State.CLOSED,
    },
    State.ESTABLISHED: {
        Trigger.CONFIRM: State.CONFIRMED,
        Trigger.CLOSE: State.CLOSING,
        Trigger.DRAIN: State.DRAINING,
        Trigger.EXPIRE: State.CLOSED,
    },
    State.CONFIRMED: {
        Trigger.CLOSE: State.CLOSING,
        Trigger.DRAIN: State.DRAINING,
        Trigger.EXPIRE: State.CLOSED,
    },
    State.CLOSING: {Trigger.DRAIN: State.DRAINING, Trigger.EXPIRE: State.CLOSED},
    State.DRAINING: {Trigger.EXPIRE: State.CLOSED},
    State.CLOSED: {},
}

ENDED: Final = (State.CLOSING, State.DRAINING, State.CLOSED)
