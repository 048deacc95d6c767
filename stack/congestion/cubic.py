"""CUBIC (RFC 9438), with HyStart++ unless it is turned off.

After a reduction the window follows C·(t − K)³ + Wmax, which is flat about the window Wmax of the last loss, or
what Reno would have where that is more. Windows are in bytes, so that C is multiplied by the datagram size. Only basic
operations on floats and integers are used, which give the same result on every machine.
"""

from typing import TYPE_CHECKING, Any, Final

from stack.congestion.controller import MINIMUM_WINDOW, CongestionOptions, register
from stack.congestion.window import WindowController

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator

C: Final = 0.4  # datagrams / s³, rfc9438:5.1:1, rfc9438:5.1:2
BETA: Final = 0.7  # rfc9438:4.6:2
ALPHA: Final = 9 / 17  # 3·(1 − β)/(1 + β), RFC 9438 section 4.3
SECOND: Final = 1_000_000_000  # ns

_CONVERGENCE: Final = 0.85  # (1 + β)/2, RFC 9438 section 4.7
_UNSET: Final = -1  # a time that is not known yet


def cube_root(value: int) -> int:
    """Return the largest integer whose cube is at most `value`, which is not negative."""
    root = 1 << (value.bit_length() + 2) // 3  # not below the result
    while root**3 > value:
        root = (2 * root + value // (root * root)) // 3  # Newton's method, from above
    return root


def cube_root_ns(cubed: float) -> int:
    """Return the cube root of `cubed` s³ in ns."""
    return cube_root(int(cubed * SECOND) * SECOND**2)


@register("cubic")
class Cubic(WindowController):
    """A window that depends on the time since the last reduction rather than on the round-trip time."""

    __slots__ = (
        "_alpha",
        "_epoch_at",
        "_fast_convergence",
        "_k_ns",
        "_limited_since",
        "_prior_window",
        "_reno_window",
        "_window",
        "_window_max",
    )

    loss_reduction = BETA
    hystart_by_default = True  # rfc9438:4.10:2

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        super().__init__(datagram_size, options)
        self._fast_convergence = options.fast_convergence
        self._window = float(self.congestion_window)  # with its fraction of a byte
        self._window_max = 0.0  # 0: unknown
        self._prior_window = 0.0  # before the last reduction
        self._epoch_at = _UNSET  # start of the current congestion avoidance stage
        self._k_ns = 0
        self._reno_window = 0.0  # W_est
        self._alpha = ALPHA
        self._limited_since = _UNSET

    def _avoid(self, acked: int, rtt: "RttEstimator", now: int) -> None:
        if self._epoch_at == _UNSET:
            self._begin_epoch(now)
        elif self._limited_since != _UNSET:
            self._epoch_at += now - self._limited_since  # rfc9438:4.2:1
        self._limited_since = _UNSET
        window = self._window
        if self._reno_window >= self._prior_window:
            self._alpha = 1.0  # rfc9438:4.3:2
        self._reno_window += self._alpha * self._datagram_size * acked / window
        elapsed_ns = now - self._epoch_at - self._k_ns
        if self._cubic(elapsed_ns) < self._reno_window:
            # rfc9438:4.3:1
            self._window = max(self._reno_window, window)
        else:
            # Concave and convex region: rfc9438:4.4:1, rfc9438:4.5:1
            target = min(max(self._cubic(elapsed_ns + rtt.smoothed_rtt_ns), window), 1.5 * window)
            self._window = window + (target - window) * acked / window
        self.congestion_window = int(self._window)

    def _begin_epoch(self, now: int) -> None:
        """The stage starts: the curve leads from here to the window of the last loss, or up from here."""
        window = self._window
        self._epoch_at = now
        self._reno_window = window  # rfc9438:4.8:1
        self._alpha = ALPHA
        if self._window_max > window:
            self._k_ns = cube_root_ns((self._window_max - window) / (C * self._datagram_size))
        else:
            self._window_max = window
            self._k_ns = 0

    def _cubic(self, elapsed_ns: int) -> float:
        """W_cubic in bytes, `elapsed_ns` after K (RFC 9438 section 4.2)."""
        seconds = elapsed_ns / SECOND
        return C * self._datagram_size * (seconds * seconds * seconds) + self._window_max

    def _reduce(self, now: int) -> None:
        """rfc9438:4.6:1."""
        window = self._prior_window = self._window
        if window < self._window_max and self._fast_convergence:
            self._window_max = window * _CONVERGENCE  # rfc9438:4.7:1
        else:
            self._window_max = window
        self.ssthresh = max(int(window * BETA), MINIMUM_WINDOW * self._datagram_size)
        self._set_window(self.ssthresh)

    def _set_window(self, window: int) -> None:
        self.congestion_window = window
        self._window = float(window)
        self._epoch_at = _UNSET

    def on_persistent_congestion(self) -> None:
        """Start over, and later rise from where slow start ends (RFC 9438 section 4.8)."""
        super().on_persistent_congestion()
        self._window_max = 0.0

    def _on_slow_start_left(self) -> None:
        """HyStart++ left slow start: the curve has its origin here (RFC 9438 section 4.10)."""
        self._prior_window = self._window
        self._window_max = 0.0

    def _on_app_limited(self, now: int) -> None:
        """Time stands still: rfc9438:4.6:3, rfc9438:4.6:4."""
        if self._limited_since == _UNSET:
            self._limited_since = now

    def _kept(self) -> tuple[Any, ...]:
        return (
            self._window,
            self._prior_window,
            self._window_max,
            self._k_ns,
            self._epoch_at,
            self._reno_window,
            self._alpha,
        )

    def _restore(self, kept: list[Any]) -> bool:
        if self._window >= self._prior_window:
            return False  # rfc9438:4.9.2:4
        (
            self._window,
            self._prior_window,
            self._window_max,
            self._k_ns,
            self._epoch_at,
            self._reno_window,
            self._alpha,
        ) = kept
        self.congestion_window = int(self._window)
        return True
