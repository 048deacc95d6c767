"""A network path: addresses, validation, and its congestion, RTT and pacing state (RFC 9000 section 9).

A connection has at least one path; each new one starts with fresh estimates (rfc9000:9.4:2).
"""

from typing import Final

from stack.congestion import CongestionOptions, make_controller
from stack.observer import Address, ConnectionObserver
from stack.path.connection_ids import RemoteId
from stack.path.ecn import EcnValidation
from stack.path.mtu import MtuDiscovery, MtuState
from stack.path.validation import PathValidation
from stack.recovery.acknowledgments import NEVER
from stack.recovery.pacing import Pacer
from stack.recovery.rtt import RttEstimator

AMPLIFICATION_FACTOR: Final = 3  # rfc9000:8.1:2
SMALLEST_USEFUL_DATAGRAM: Final = 128  # bytes; less credit than this can't carry a handshake packet worth sending


class Path:
    """One pair of addresses and what is known about the way between them."""

    __slots__ = (
        "_congestion_options",
        "_congestion_state",
        "_controller",
        "_ecn_state",
        "_mtu_told",
        "_pacing",
        "app_limited",
        "bytes_in_flight",
        "bytes_received",
        "bytes_sent",
        "congestion",
        "destination_cid",
        "drop_at",
        "ecn",
        "limited",
        "local",
        "mtu",
        "number",
        "pacer",
        "remote",
        "remote_id",
        "responses",
        "rtt",
        "validated",
        "validation",
    )

    def __init__(
        self,
        local: Address,
        remote: Address,
        remote_id: RemoteId,
        *,
        datagram_size: int,
        congestion: str,
        initial_rtt_ns: int,
        pacing: bool,
        validated: bool,
        limited: bool,
        ecn: bool,
        number: int = 0,
        congestion_options: CongestionOptions | None = None,
    ) -> None:
        """`remote_id` is where packets on this path go to; `datagram_size` in bytes of UDP payload.

        `validated`: the peer is known to receive at `remote`; until then, anti-amplification holds if `limited`, that
        is for a server (RFC 9000 sections 8.1 and 8.2). `ecn`: whether packets may be marked. `number` is
        for observers: 0 is the path of the handshake.
        """
        self.local = local
        self.remote = remote
        self.remote_id = remote_id
        self.destination_cid = b""  # of ours, in the last packet that came on this path
        self.validation = PathValidation()
        self.responses: list[bytes] = []  # data of challenges received here and not answered yet
        self.drop_at = NEVER  # when a path that is not used any more is forgotten
        self._controller = congestion
        self._congestion_options = congestion_options
        self._pacing = pacing
        self.set_datagram_size(datagram_size)
        self.rtt = RttEstimator(initial_rtt_ns)
        self.validated = validated
        self.limited = limited
        self.number = number
        self.bytes_in_flight = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.app_limited = False  # whether the last sending stopped for want of data
        self.ecn = EcnValidation(ecn, self.congestion.codepoint)
        # As the observer was last told
        self._congestion_state = self.congestion.state
        self._ecn_state = self.ecn.state
        self._mtu_told = (datagram_size, False)

    def set_datagram_size(self, datagram_size: int) -> None:
        """Send datagrams of this size from now on, with the initial window and bursts that go with it.

        For the start of a path, when the peer's limit becomes known (rfc9002:7.2:2, rfc9002:7.2:3).
        """
        self.mtu = MtuDiscovery(datagram_size, self._adapt)
        self.congestion = make_controller(self._controller, datagram_size, self._congestion_options)
        self.pacer = Pacer(datagram_size, self.congestion.burst) if self._pacing else None

    @property
    def datagram_size(self) -> int:
        """UDP payload bytes of a full datagram (rfc9000:14.2:6 each path has its own)."""
        return self.mtu.size

    def _adapt(self, datagram_size: int) -> None:
        """The datagram size has changed under way: windows and round-trip times stay as they are."""
        self.congestion.set_datagram_size(datagram_size)
        if self.pacer is not None:
            self.pacer.set_datagram_size(datagram_size)

    def take_over(self, other: "Path") -> None:
        """Go on with the estimates of `other`, whose peer has only changed its port (rfc9000:9.4:3).

        In return it gets the fresh ones of this path: what is lost there, where perhaps nobody is any more, says
        nothing here.
        """
        self.congestion, other.congestion = other.congestion, self.congestion
        self.pacer, other.pacer = other.pacer, self.pacer
        self.rtt, other.rtt = other.rtt, self.rtt
        self.ecn, other.ecn = other.ecn, self.ecn
        self.mtu, other.mtu = other.mtu, self.mtu
        self.mtu.resize, other.mtu.resize = self._adapt, other._adapt
        self._congestion_state, other._congestion_state = other._congestion_state, self._congestion_state
        self._ecn_state, other._ecn_state = other._ecn_state, self._ecn_state
        self._mtu_told, other._mtu_told = other._mtu_told, self._mtu_told
        self.bytes_in_flight += other.bytes_in_flight
        other.bytes_in_flight = 0

    def amplification_credit(self) -> int:
        """Bytes that may still be sent before the address is validated; without bound once it is."""
        if self.validated or not self.limited:
            return 1 << 62
        return AMPLIFICATION_FACTOR * self.bytes_received - self.bytes_sent

    def amplification_blocked(self) -> bool:
        """Whether nothing useful may be sent until the peer sends more (RFC 9000 section 8.1)."""
        return self.amplification_credit() < SMALLEST_USEFUL_DATAGRAM

    def pacing_rate(self) -> tuple[int, int] | None:
        """Bytes per nanosecond as a fraction, or None when nothing is paced (RFC 9002 section 7.7)."""
        if self.pacer is None:
            return None
        return self.congestion.pacing_rate(self.rtt)

    def window_available(self) -> int:
        """Bytes that congestion control allows to be put in flight; zero or less when none."""
        return self.congestion.congestion_window - self.bytes_in_flight

    def send_quota(self, now: int) -> int:
        """Bytes that both congestion control and pacing allow to be put in flight now."""
        window = self.window_available()
        rate = self.pacing_rate()
        if self.pacer is None or rate is None:
            return window
        return min(window, self.pacer.available(rate, now))

    def paced_until(self) -> int | None:
        """When pacing lets the next full datagram go; None if it is the congestion window that has no room for it."""
        rate = self.pacing_rate()
        if self.pacer is None or rate is None or self.window_available() < self.datagram_size:
            return None
        return self.pacer.ready_at(self.datagram_size, rate)

    def trace_states(self, now: int, trace: ConnectionObserver) -> None:
        """Tell the observer what state moved since it was last told."""
        state = self.congestion.state
        if state != self._congestion_state:
            trace.congestion_state(now, self._congestion_state, state)
            self._congestion_state = state
        if self.ecn.state is not self._ecn_state:
            trace.ecn_state(now, self._ecn_state.value, self.ecn.state.value)
            self._ecn_state = self.ecn.state
        before, now_known = self._mtu_told, (self.mtu.size, self.mtu.state is MtuState.COMPLETE)
        if now_known != before:
            trace.mtu_updated(now, before[0], *now_known)
            self._mtu_told = now_known
