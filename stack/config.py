"""What an endpoint announces and how it behaves. Validated once, when made."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from stack.congestion import check_registered
from stack.errors import ConfigError
from stack.observer import Address
from stack.tls.engine import EngineFactory
from stack.wire.parameters import MAX_STREAMS
from stack.wire.varint import MAX_VARINT
from stack.wire.versions import VERSION_1, VERSION_2, VERSIONS

MILLISECOND = 1_000_000  # ns

# UDP payload bytes that 1500 bytes leave beside the IP and UDP headers
ETHERNET_IPV4 = 1472
ETHERNET_IPV6 = 1452

# What to do with a datagram when too many wait: give up the oldest of the least urgent, or take no more
DROP_OLDEST = "drop_oldest"
REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of an `Endpoint`; every connection of it shares the object.

    Names are those of RFC 9000 section 18.2 for what is announced to the peer. Durations carry their unit.

    Raises ConfigError naming the field, its value and what would be right.
    """

    tls: EngineFactory
    accept: bool = False  # whether Initial packets of new clients make connections (a server)
    # What is spoken, in order of preference. A server accepts all of them; a client starts with `original_version`, or
    # the first, and takes another when the server does not speak that one.
    versions: tuple[int, ...] = (VERSION_1, VERSION_2)
    original_version: int | None = None
    # Client: offer `versions` to which the first packets can be converted. Server: move a client to the first of our
    # `versions` that it offers (RFC 9368 section 2.3).
    compatible_upgrade: bool = True

    # Server: when a client must prove its address with a Retry first ("never", "always", or "load": while many
    # handshakes are under way, RFC 9000 section 8.1.2), and whether it gets a token for its next connection
    # (section 8.1.3).
    retry: str = "load"
    new_token: bool = False
    stateless_reset: bool = True  # whether packets of unknown connections are answered (RFC 9000 section 10.3)

    # Announced to the peer
    max_idle_timeout_ms: int = 30_000  # 0 disables
    max_udp_payload_size: int = 65_527  # bytes we are willing to receive
    initial_max_data: int = 2 << 20  # bytes
    initial_max_stream_data_bidi_local: int = 1 << 20
    initial_max_stream_data_bidi_remote: int = 1 << 20
    initial_max_stream_data_uni: int = 1 << 20
    initial_max_streams_bidi: int = 100
    initial_max_streams_uni: int = 100
    ack_delay_exponent: int = 3
    max_ack_delay_ms: int = 25
    timer_delay_ms: int = 0  # how late timers may fire; announced on top of max_ack_delay_ms (rfc9000:18.2:2)
    active_connection_id_limit: int = 7
    # Ask clients to stay with their address (a NAT may still move them), and where they should better go after the
    # handshake (RFC 9000 section 9.6)
    disable_active_migration: bool = False
    preferred_address_v4: Address | None = None
    preferred_address_v6: Address | None = None
    reset_stream_at: bool = False  # take streams that end early but reliably (draft-ietf-quic-reliable-stream-reset)
    grease_quic_bit: bool = True  # take packets with any fixed bit, and send such to a peer that does too (RFC 9287)

    # Largest DATAGRAM frame that we take, in bytes with type and length; 65535 takes whatever fits a packet, 0 none at
    # all (RFC 9221 section 3). What we may send depends on the peer's value alone.
    max_datagram_frame_size: int = 0

    ack_frequency: bool = False  # let the peer say how often we acknowledge (draft-ietf-quic-ack-frequency)

    # DANGER, for measurements on networks of one's own only: if the peer announces it too, 1-RTT packets are neither
    # encrypted nor authenticated, and everybody on the way can read, change and forge what the application sends
    # (draft-banks-quic-disable-encryption). The handshake and 0-RTT are protected as ever.
    disable_1rtt_encryption: bool = False

    # Behaviour
    connection_id_length: int = 8  # of the IDs we issue, 0 to 20 bytes: short ones run out, resets need 8 or more
    datagram_size: int = 1200  # UDP payload bytes of a full datagram that we send
    # Find out by probes whether a path takes larger datagrams (RFC 8899, RFC 9000 section 14.3), of `max_datagram_size`
    # bytes at most, by default what 1500 bytes hold beside the headers. Off, so that sizes are as configured.
    path_mtu_discovery: bool = False
    max_datagram_size: int | None = None
    # What the windows of flow control grow to while a fast reader is held back by them; at most the initial ones turns
    # that off.
    max_data_window: int = 24 << 20  # bytes
    max_stream_data_window: int = 16 << 20
    # Bytes per stream that a write may leave unacknowledged: at first, and at most while the congestion window is large
    send_buffer: int = 1 << 20
    max_send_buffer: int = 16 << 20
    datagram_send_buffer: int = 1 << 16  # bytes of datagrams that may wait to be sent, if they are more than one
    datagram_overflow: str = DROP_OLDEST  # when they are more: "drop_oldest", or "refuse" the new one
    initial_rtt_ms: float = 333.0  # RFC 9002 section 6.2.2
    # How losses are found (RFC 9002 section 6.1), and whether a reduction of the window is taken back when what led to
    # it arrives after all (RFC 9438 section 4.9)
    packet_threshold: int = 3  # a packet is lost once one sent so many packets later is acknowledged
    time_threshold: float = 1.125  # and after so many round-trip times
    undo_spurious_losses: bool = True
    # A registered controller (docs/CONGESTION.md), and what those that come with the stack heed
    congestion: str = "new_reno"
    initial_window: int | None = None  # bytes; None: ten datagrams or little less, as RFC 9002 section 7.2 recommends
    hystart: bool | None = None  # leave slow start by HyStart++ (RFC 9406); None: with "cubic" only
    # On paths longer than 100 ms, raise the window in slow start to half of what the spacing of one burst's ACKs says
    # that the path holds. No RFC has it; for experiments on satellite links.
    jump_start: bool = False
    # Window-based controllers: losses that make up no more than this share of what was sent reduce no window. Departs
    # from RFC 9002 section 7.3.2; for paths that lose packets without congestion.
    loss_tolerance: float = 0.0
    fast_convergence: bool = True  # "cubic": leave room for other flows (RFC 9438 section 4.7)
    pacing: bool = True
    ecn: bool = True  # mark packets ECT(0) on paths that carry marks (RFC 9000 section 13.4); marks are always reported
    use_preferred_address: bool = True  # client: move to the server's preferred address, if it has announced one
    keep_alive_ms: int = 0  # send a PING when nothing has happened for so long; 0 never does
    grease_transport_parameters: bool = True  # announce a reserved one with random contents (RFC 9000 section 18.1)
    spin_bit: bool = True  # show observers on the way the round-trip time, on most connections (RFC 9000 section 17.4)
    skip_packet_numbers: bool = True  # now and then, to catch a peer that acknowledges what it does not have
    # How many packets one key may protect, and how many forged packets a connection bears. None: what RFC 9001 section
    # 6.6 says of the cipher suite; a larger number has no effect. Keys are updated at half of the first.
    confidentiality_limit: int | None = None
    integrity_limit: int | None = None

    def __post_init__(self) -> None:
        bounds = {
            "max_udp_payload_size": (1200, 65_527),
            "ack_delay_exponent": (0, 20),
            "max_ack_delay_ms": (0, (1 << 14) - 1 - self.timer_delay_ms),
            "timer_delay_ms": (0, 1000),
            "active_connection_id_limit": (2, MAX_VARINT),
            "initial_max_streams_bidi": (0, MAX_STREAMS),
            "initial_max_streams_uni": (0, MAX_STREAMS),
            "connection_id_length": (0, 20),
            "datagram_size": (1200, 65_527),
            "send_buffer": (1, 1 << 40),
            "max_send_buffer": (0, 1 << 40),
            "max_data_window": (0, MAX_VARINT),
            "max_stream_data_window": (0, MAX_VARINT),
            "max_datagram_frame_size": (0, 65_535),
            "datagram_send_buffer": (1, 1 << 40),
            "initial_max_data": (0, MAX_VARINT),
            "initial_max_stream_data_bidi_local": (0, MAX_VARINT),
            "initial_max_stream_data_bidi_remote": (0, MAX_VARINT),
            "initial_max_stream_data_uni": (0, MAX_VARINT),
            "max_idle_timeout_ms": (0, MAX_VARINT),
            "keep_alive_ms": (0, MAX_VARINT),
            "packet_threshold": (1, 1 << 30),
            "time_threshold": (1, 16),
            "loss_tolerance": (0, 0.5),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value!r}: must be from {low} to {high}")
        if self.max_datagram_size is not None and not self.datagram_size <= self.max_datagram_size <= 65_527:
            given, smallest = self.max_datagram_size, self.datagram_size
            raise ConfigError(f"max_datagram_size = {given!r}: must be from {smallest} (datagram_size) to 65527")
        self._check_preferred_addresses()
        for name, low in (("confidentiality_limit", 128), ("integrity_limit", 1)):
            value = getattr(self, name)
            if value is not None and not low <= value <= MAX_VARINT:
                raise ConfigError(f"{name} = {value!r}: must be None, or from {low} to {MAX_VARINT}")
        if not 1 <= self.initial_rtt_ms <= 60_000:
            raise ConfigError(f"initial_rtt_ms = {self.initial_rtt_ms!r}: must be from 1 to 60000")
        if self.retry not in ("never", "always", "load"):
            raise ConfigError(f'retry = {self.retry!r}: must be "never", "always" or "load"')
        if self.datagram_overflow not in (DROP_OLDEST, REFUSE):
            raise ConfigError(f'datagram_overflow = {self.datagram_overflow!r}: must be "{DROP_OLDEST}" or "{REFUSE}"')
        if self.ack_frequency and self.max_ack_delay_ms == 0:
            raise ConfigError(
                "max_ack_delay_ms = 0: must be at least 1 with ack_frequency, which announces 1 ms as least"
            )
        if self.initial_window is not None and not 2 * self.datagram_size <= self.initial_window <= 1 << 40:
            smallest = 2 * self.datagram_size
            raise ConfigError(
                f"initial_window = {self.initial_window!r}: must be from {smallest} (two datagrams) to {1 << 40}"
            )
        check_registered(self.congestion)
        unknown = [f"0x{version:x}" for version in self.versions if version not in VERSIONS]
        if unknown or not self.versions:
            known = ", ".join(f"0x{number:x}" for number in VERSIONS)
            raise ConfigError(f"versions = {unknown or '()'}: must be one or more of {known}")
        if self.original_version is not None and self.original_version not in self.versions:
            raise ConfigError(f"original_version = 0x{self.original_version:x}: must be one of versions")

    def largest_datagram(self, remote: Address) -> int:
        """UDP payload bytes of the largest datagram to try on a path to `remote`."""
        if self.max_datagram_size is not None:
            return self.max_datagram_size
        return max(self.datagram_size, ETHERNET_IPV6 if ":" in remote[0] else ETHERNET_IPV4)

    def _check_preferred_addresses(self) -> None:
        for name, kind in (("preferred_address_v4", IPv4Address), ("preferred_address_v6", IPv6Address)):
            value: Address | None = getattr(self, name)
            if value is None:
                continue
            if self.connection_id_length == 0:
                # rfc9000:18.2:5
                raise ConfigError(f"{name} = {value!r}: needs connection IDs, so connection_id_length must not be 0")
            try:
                host, port = value
                kind(host)
            except ValueError:
                host, port = "", 0
            if not host or not 1 <= port <= 65_535:
                raise ConfigError(f"{name} = {value!r}: must be an {kind.__name__} and a port from 1 to 65535")
