"""Validating a path: PATH_CHALLENGE until the peer echoes one, or time runs out (RFC 9000 section 8.2)."""

from typing import Final

from stack.randomness import Randomness
from stack.recovery.acknowledgments import NEVER
from stack.recovery.rtt import RttEstimator
from stack.wire.frames import PATH_DATA_LENGTH
from stack.wire.header import SMALLEST_INITIAL_DATAGRAM

SMALLEST_PATH_MTU: Final = SMALLEST_INITIAL_DATAGRAM  # bytes of UDP payload that every path must carry
TIMEOUT_PTOS: Final = 3  # rfc9000:8.2.4:2
INITIAL_RTT_NS: Final = 333_000_000  # kInitialRtt, RFC 9002 section 6.2.2


class PathValidation:
    """The challenges sent on one path and what became of them.

    `owed` tells that a PATH_CHALLENGE should go now; `resend_at` when the next one is due, `fails_at` when the
    validation is given up. Both are NEVER while none is under way.
    """

    __slots__ = ("_challenges", "_count", "_sent_at", "fails_at", "owed", "resend_at")

    def __init__(self) -> None:
        self._challenges: dict[bytes, bool] = {}  # by data: whether its datagram had the size that a path must carry
        self._count = 0  # since the last (re)start
        self._sent_at = 0  # the last of them
        self.owed = False
        self.resend_at = NEVER
        self.fails_at = NEVER

    @property
    def under_way(self) -> bool:
        """Whether the answer is still open."""
        return self.fails_at != NEVER

    def start(self, pto_ns: int, now: int) -> None:
        """Begin, or go on: `pto_ns` is the connection's current PTO."""
        self._count = 0
        self.owed = True
        self.resend_at = NEVER
        if not self.under_way:
            initial_pto_ns = RttEstimator(INITIAL_RTT_NS).pto_ns(0)
            self.fails_at = now + TIMEOUT_PTOS * max(pto_ns, initial_pto_ns)  # rfc9000:8.2.4:1, rfc9000:8.2.4:2

    def challenge(self, rng: Randomness) -> bytes:
        """Return the data of the next PATH_CHALLENGE, different for each one (rfc9000:8.2.1:4)."""
        return rng.randbytes(PATH_DATA_LENGTH)

    def on_sent(self, data: bytes, datagram_size: int, rtt: RttEstimator, now: int) -> None:
        """A challenge left in a datagram of this size; `rtt` is the path's own."""
        self._challenges[data] = datagram_size >= SMALLEST_PATH_MTU
        self.owed = False
        self._sent_at = now
        self._count += 1
        self.resend_at = self._next_at(rtt)

    def _next_at(self, rtt: RttEstimator) -> int:
        """When the next challenge is due: later and later, like Initial packets (rfc9000:8.2.1:3)."""
        return self._sent_at + (rtt.pto_ns(0) << self._count - 1)

    def adapt(self, rtt: RttEstimator, now: int) -> None:
        """The round-trip time of the path may be known by now, and be shorter than what was assumed."""
        if self.resend_at != NEVER:
            self.resend_at = max(min(self.resend_at, self._next_at(rtt)), now)

    def on_due(self) -> None:
        """`resend_at` has come: the last challenge, or its answer, may have been lost."""
        self.owed = True
        self.resend_at = NEVER

    def on_response(self, data: bytes) -> bool | None:
        """Take a PATH_RESPONSE: whether its challenge had full size, or None when it answers none of ours.

        Each challenge is answered once: repeated answers to a small one must not call for a full one each.
        """
        return self._challenges.pop(data, None)

    def stop(self) -> None:
        """The outcome is known."""
        self._challenges.clear()
        self.owed = False
        self.resend_at = self.fails_at = NEVER
