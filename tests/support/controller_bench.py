"""A controller by itself: packets acknowledged and lost by hand."""

from stack.congestion import CongestionOptions, make_controller
from stack.recovery.rtt import RttEstimator
from stack.recovery.sent import SentPacket
from tests.support.paths import make_path

MS = 1_000_000
SIZE = 1200
PATH = make_path()


class ControllerBench:
    """A controller whose window is acknowledged evenly over each round trip of `rtt_ms`."""

    def __init__(self, name: str, rtt_ms: int = 100, **options: object) -> None:
        """`options` are fields of CongestionOptions."""
        self.controller = make_controller(name, SIZE, CongestionOptions(**options))  # type: ignore[arg-type]
        self.rtt = RttEstimator(rtt_ms * MS)
        self.rtt.update(rtt_ms * MS, 0, 0)
        self.rtt_ns = rtt_ms * MS
        self.now = 1_000 * MS
        self._number = 0

    @property
    def datagrams(self) -> float:
        """The window in datagrams."""
        return self.controller.congestion_window / SIZE

    def packet(self, sent_at: int, size: int = SIZE) -> SentPacket:
        """A packet in flight."""
        self._number += 1
        return SentPacket(self._number, sent_at, size, True, True, [], PATH)

    def ack(self, count: int = 1, *, sent_at: int | None = None, app_limited: bool = False) -> None:
        """One ACK of `count` datagrams, sent a round trip ago unless `sent_at` says otherwise."""
        at = self.now - self.rtt_ns if sent_at is None else sent_at
        self.controller.on_acked([self.packet(at) for _ in range(count)], self.rtt, app_limited, self.now)

    def round(self, *, app_limited: bool = False) -> None:
        """A round trip in which all of the window is acknowledged, one datagram at a time."""
        count = self.controller.congestion_window // SIZE
        started_at = self.now
        for index in range(count):
            self.now = started_at + self.rtt_ns * (index + 1) // count
            self.ack(app_limited=app_limited)

    def lose(self, count: int = 1, *, sent_at: int | None = None) -> list[SentPacket]:
        """Datagrams, sent just before now, are lost; the round trip after it brings nothing that counts."""
        packets = [self.packet(self.now - 1 if sent_at is None else sent_at) for _ in range(count)]
        self.controller.on_lost(packets, self.now)
        return packets

    def recover(self) -> None:
        """The rest of the recovery period: packets sent in it are acknowledged from now on."""
        self.now += self.rtt_ns + 1
