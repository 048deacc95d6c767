"""What a congestion controller is, and how to register one (RFC 9002 section 7).

A controller owns a window and decides how acknowledgments, losses and marks move it. Bytes in flight, loss detection
and the sending itself belong to the path. To add one: derive a class from `CongestionController`, override what it does
differently, and decorate it with `@register("name")`; `Config(congestion="name")` then uses it (docs/CONGESTION.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from stack.errors import ConfigError
from stack.randomness import Randomness
from stack.wire.ecn import ECT_0

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket

LOSS_REDUCTION: Final = 0.5  # kLossReductionFactor, RFC 9002 section 7.3.2
MINIMUM_WINDOW: Final = 2  # datagrams, rfc9002:7.2:4


def initial_window(datagram_size: int) -> int:
    """Ten datagrams, but at most max(14720, two datagrams) bytes (rfc9002:7.2:1)."""
    return min(10 * datagram_size, max(14_720, 2 * datagram_size))


@dataclass(frozen=True, slots=True)
class CongestionOptions:
    """What `Config` says to controllers; each heeds what concerns it."""

    initial_window: int | None = None  # bytes; None: as RFC 9002 section 7.2 recommends
    hystart: bool | None = None  # leave slow start by HyStart++ (RFC 9406); None: as the controller has it
    fast_convergence: bool = True  # CUBIC: make room for other flows; off for one that is alone (rfc9438:4.7:2)
    jump_start: bool = False  # long paths: leap in slow start to what a burst has shown to fit
    loss_tolerance: float = 0.0  # share of the bytes sent whose loss reduces no window
    paced: bool = True  # packets are spread over the round trip
    rng: Randomness | None = None  # for what is to differ between connections; None: nothing does

    def window(self, datagram_size: int) -> int:
        """Bytes of the initial window for datagrams of `datagram_size` bytes."""
        return initial_window(datagram_size) if self.initial_window is None else self.initial_window


class CongestionController(Protocol):
    """The controller of one path, and what one does that leaves a method out. Sizes in bytes, times in ns."""

    __slots__ = ()

    congestion_window: int
    ssthresh: int | None  # None: infinite, still in the first slow start
    loss_reduction: float = LOSS_REDUCTION  # what a loss leaves of the window, for observers
    burst: int | None = None  # datagrams that may leave at once while paced; None: as many as an initial window has
    codepoint: int = ECT_0  # the ECN codepoint that packets are to carry: ECT(0) or, for L4S, ECT(1)

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        """For a path that takes datagrams of `datagram_size` bytes."""

    @property
    def state(self) -> str:
        """Current state for observers; qlog names "slow_start", "congestion_avoidance" and "recovery"."""
        return "congestion_avoidance"

    @property
    def pacing_gain(self) -> tuple[int, int]:
        """What multiplies window / smoothed_rtt to make the pacing rate, as a fraction (RFC 9002 section 7.7)."""
        return 5, 4

    def pacing_rate(self, rtt: "RttEstimator") -> tuple[int, int]:
        """Bytes per ns to pace at, as a fraction (rfc9002:7.7:1)."""
        numerator, denominator = self.pacing_gain
        return numerator * self.congestion_window, max(denominator * rtt.smoothed_rtt_ns, 1)

    def set_datagram_size(self, datagram_size: int) -> None:
        """The path takes datagrams of another size from now on. The window stays, as long as it holds two of them."""

    def on_packet_sent(self, packet: "SentPacket", bytes_in_flight: int) -> None:
        """A packet in flight was sent; `bytes_in_flight` includes it."""

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Packets in flight were newly acknowledged by one ACK. `app_limited`: the window was not what held us back."""

    def on_congestion(self, sent_at: int, now: int) -> bool:
        """A packet sent at `sent_at` was lost or marked; true if that starts a new reduction."""
        return False

    def on_lost(self, packets: Sequence["SentPacket"], now: int) -> bool:
        """Packets in flight were declared lost together; true if that starts a new reduction."""
        return self.on_congestion(packets[-1].sent_at, now)

    def on_marked(self, marks: int, acked: Sequence["SentPacket"], now: int) -> bool:
        """The ACK that newly acknowledges `acked` reports `marks` new CE marks; true if that starts a new reduction."""
        return self.on_congestion(acked[-1].sent_at, now)

    def on_spurious_loss(self, packet: "SentPacket", now: int) -> bool:
        """A packet that was declared lost was acknowledged after all; true if that takes a reduction back."""
        return False

    def on_persistent_congestion(self) -> None:
        """Everything over a long time was lost (RFC 9002 section 7.6.2)."""


_Controller = TypeVar("_Controller", bound=type[CongestionController])
_REGISTRY: Final[dict[str, type[CongestionController]]] = {}


def register(name: str) -> Callable[[_Controller], _Controller]:
    """Class decorator: make a controller available as `Config(congestion=name)`."""

    def add(controller: _Controller) -> _Controller:
        _REGISTRY[name] = controller
        return controller

    return add


def registered() -> list[str]:
    """Names of all controllers, in order."""
    return sorted(_REGISTRY)


def check_registered(name: str) -> None:
    """Raise ConfigError for a name that nobody registered."""
    if name not in _REGISTRY:
        raise ConfigError(f"congestion = {name!r}: must be one of {', '.join(registered())}")


def make_controller(name: str, datagram_size: int, options: CongestionOptions | None = None) -> CongestionController:
    """Return a new controller of the registered `name` for datagrams of `datagram_size` bytes."""
    return _REGISTRY[name](datagram_size, options or CongestionOptions())
