"""What a congestion controller is, and how to register one (RFC 9002 section 7).

A controller owns a window and decides how acknowledgments, losses and marks move it. Bytes in flight, loss detection
and pacing belong to the path. To add one: write a class with these attributes and methods and decorate it with
`@register("name")`; `Config(congestion="name")` then uses it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from stack.errors import ConfigError

if TYPE_CHECKING:
    from stack.recovery.rtt import RttEstimator
    from stack.recovery.sent import SentPacket

LOSS_REDUCTION: Final = (1, 2)  # kLossReductionFactor, RFC 9002 section 7.3.2


def initial_window(datagram_size: int) -> int:
    """Ten datagrams, but at most max(14720, two datagrams) bytes (rfc9002:7.2:1)."""
    return min(10 * datagram_size, max(14_720, 2 * datagram_size))


class CongestionController(Protocol):
    """The controller of one path. Sizes in bytes, times in ns."""

    congestion_window: int
    ssthresh: int | None  # None: infinite, still in the first slow start

    def __init__(self, datagram_size: int) -> None: ...

    @property
    def state(self) -> str:
        """Current state as qlog names it: "slow_start", "congestion_avoidance" or "recovery"."""
        ...

    @property
    def pacing_gain(self) -> tuple[int, int]:
        """Pacing rate as a fraction of window / smoothed_rtt (RFC 9002 section 7.7)."""
        ...

    def set_datagram_size(self, datagram_size: int) -> None:
        """The path takes datagrams of another size from now on. The window stays, as long as it holds two of them."""

    def on_packet_sent(self, size: int, bytes_in_flight: int, now: int) -> None:
        """A packet in flight was sent; `bytes_in_flight` includes it."""

    def on_acked(self, packets: Sequence["SentPacket"], rtt: "RttEstimator", app_limited: bool, now: int) -> None:
        """Packets in flight were newly acknowledged by one ACK. `app_limited`: the window was not what held us back."""

    def on_congestion(self, sent_at: int, now: int) -> bool:
        """A packet sent at `sent_at` was lost or marked; true if that starts a new reduction."""
        ...

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


def check_registered(name: str) -> None:
    """Raise ConfigError for a name that nobody registered."""
    if name not in _REGISTRY:
        raise ConfigError(f"congestion = {name!r}: must be one of {', '.join(sorted(_REGISTRY))}")


def make_controller(name: str, datagram_size: int) -> CongestionController:
    """Return a new controller of the registered `name` for datagrams of `datagram_size` bytes."""
    return _REGISTRY[name](datagram_size)
