"""Trace hooks: what an observer may see of an endpoint's connections. None by default, and then nothing is built.

Hooks get plain values and must not change anything. `payload` is the packet's plaintext frames; whoever wants them as
objects decodes them with `stack.wire.decoded_frames.decode_frames`, so that a run nobody observes pays nothing.
"""

from typing import NamedTuple, Protocol

Address = tuple[str, int]


class PacketInfo(NamedTuple):
    """One QUIC packet that was sent or received."""

    packet_type: str  # "initial", "0RTT", "handshake", "1RTT", "retry", "version_negotiation"
    packet_number: int  # full packet number; -1 where the type has none
    version: int  # 0 for short headers
    destination_cid: bytes
    source_cid: bytes  # b"" for short headers
    token: bytes  # Initial and Retry only
    key_phase: int  # 1-RTT only
    spin: int  # 1-RTT only
    size: int  # whole protected packet, bytes
    payload: bytes  # plaintext frames; of Version Negotiation, the versions
    path: int = 0  # number of the path that it took; 0 is that of the handshake


class RecoveryMetrics(NamedTuple):
    """Loss recovery and congestion state of one path, after it changed (RFC 9002's variables)."""

    min_rtt_ns: int
    smoothed_rtt_ns: int
    latest_rtt_ns: int
    rttvar_ns: int
    pto_count: int
    congestion_window: int  # bytes
    bytes_in_flight: int  # bytes
    ssthresh: int | None  # bytes; None while infinite
    packets_in_flight: int
    pacing_rate: int | None  # bits per second; None when not pacing
    path: int = 0  # number of the path


class RecoveryParameters(NamedTuple):
    """How a connection finds losses and what they mean (RFC 9002); it has these for good."""

    packet_threshold: int  # packets
    time_threshold: float  # round-trip times
    loss_reduction: float  # what a loss leaves of the congestion window


class ConnectionObserver(Protocol):
    """Sees one connection. Every hook's first argument is the time in ns."""

    def connection_started(self, now: int, local: Address, remote: Address, scid: bytes, dcid: bytes) -> None:
        """The connection exists: its first path and connection IDs."""

    def recovery_parameters(self, now: int, parameters: RecoveryParameters) -> None:
        """How losses are found; right after `connection_started`."""

    def path_assigned(self, now: int, path: int, local: Address, remote: Address) -> None:
        """A further path belongs to the connection; `path` is its number, and 0 that of the first."""

    def path_dropped(self, now: int, path: int) -> None:
        """A path is forgotten."""

    def migration_state(self, now: int, state: str, path: int) -> None:
        """A path is validated or becomes the active one; states as in qlog ("probing_started", …)."""

    def version_selected(self, now: int, version: int) -> None:
        """The QUIC version is known."""

    def alpn_selected(self, now: int, alpn: str) -> None:
        """ALPN chose an application protocol."""

    def parameters_set(self, now: int, owner: str, parameters: dict[str, object]) -> None:
        """Transport parameters; owner is "local" or "remote", names as in RFC 9000 section 18.2."""

    def secret(self, now: int, label: str, client_random: bytes, secret: bytes) -> None:
        """A TLS secret in NSS key log terms; label such as "CLIENT_TRAFFIC_SECRET_0"."""

    def key_updated(self, now: int, key_type: str, trigger: str, key_phase: int) -> None:
        """Keys were installed; key_type as in qlog ("server_handshake_secret"), trigger "tls", "local_update", …"""

    def key_discarded(self, now: int, key_type: str) -> None:
        """Keys were thrown away; key_type as in qlog ("client_initial_secret")."""

    def connection_state(self, now: int, old: str, new: str) -> None:
        """The lifecycle moved; states as in `stack.lifecycle`."""

    def datagrams_sent(self, now: int, sizes: list[int], ecn: int) -> None:
        """UDP payload sizes in bytes of what `transmit` handed out."""

    def datagram_received(self, now: int, size: int, ecn: int) -> None:
        """A UDP payload reached this connection."""

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        """A packet was put into a datagram."""

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        """A packet was authenticated, and is about to be processed."""

    def packet_dropped(self, now: int, packet_type: str, size: int, trigger: str) -> None:
        """A packet was not processed; trigger as in qlog ("decryption_failure", "duplicate", …)."""

    def packet_buffered(self, now: int, packet_type: str, size: int) -> None:
        """A packet waits for its keys."""

    def packets_acked(self, now: int, packet_type: str, packet_numbers: list[int]) -> None:
        """Packets newly acknowledged by the peer."""

    def packet_lost(self, now: int, packet_type: str, packet_number: int, size: int, trigger: str) -> None:
        """A packet was declared lost; trigger "reordering_threshold", "time_threshold" or "pto_expired"."""

    def packets_forgotten(self, now: int, packet_type: str, packet_numbers: list[int]) -> None:
        """Packets left flight that are neither acknowledged nor lost: of a space, an attempt or a path that is over."""

    def spurious_loss(self, now: int, packet_type: str, packet_number: int, size: int) -> None:
        """A packet that was declared lost was acknowledged after all."""

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        """Recovery or congestion state changed."""

    def congestion_state(self, now: int, old: str, new: str) -> None:
        """The controller's state moved ("slow_start", "congestion_avoidance", "recovery", "application_limited")."""

    def ecn_state(self, now: int, old: str, new: str) -> None:
        """ECN validation of the active path moved ("testing", "unknown", "capable", "failed")."""

    def mtu_updated(self, now: int, old: int, new: int, done: bool) -> None:
        """The datagram size of the active path changed, in bytes of UDP payload; `done`: the search is over."""

    def loss_timer(self, now: int, event: str, timer_type: str, packet_type: str, at: int | None) -> None:
        """The loss timer was "set", "expired" or "cancelled"; timer_type "ack" (time threshold) or "pto"."""

    def stream_state(self, now: int, stream_id: int, side: str, old: str, new: str) -> None:
        """A stream moved; side "sending" or "receiving", states as in RFC 9000 section 3."""

    def data_moved(self, now: int, stream_id: int, side: str, offset: int, data: bytes, end: bool) -> None:
        """The application wrote ("sending") or read ("receiving") stream data at `offset`; `end`: up to the end."""

    def data_blocked(self, now: int, stream_id: int | None, limit: int) -> None:
        """Sending stopped at a flow control limit, the stream's or (None) the connection's."""

    def connection_closed(
        self, now: int, owner: str, code: int | None, application: bool, reason: str, trigger: str
    ) -> None:
        """The connection ended; owner "local" or "remote", trigger "error", "application", "idle_timeout", …"""


class Observer(Protocol):
    """Sees an endpoint; hands out one observer per connection, or None for those it does not care about."""

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver | None:
        """A connection starts; role is "client" or "server"."""
