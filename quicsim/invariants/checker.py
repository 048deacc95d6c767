"""The observers and taps that feed the books, and what they say when something does not hold."""

from typing import TYPE_CHECKING, Final, NoReturn

from quicsim.decoded import decoded_frames
from quicsim.host import SENT
from quicsim.invariants.amplification import Amplification
from quicsim.invariants.delivery import Delivery
from quicsim.invariants.flow import FlowLimits
from quicsim.invariants.sending import Sending
from quicsim.invariants.violation import InvariantViolation
from quicsim.observers import Silent
from stack.errors import TransportError
from stack.observer import Address, ConnectionObserver, Observer, PacketInfo, RecoveryMetrics
from stack.wire.decoded_frames import AckFrame, Frame, PathChallengeFrame, PathResponseFrame

if TYPE_CHECKING:
    from links import Datagram

_WITHOUT_NUMBER: Final = -1


class Checker:
    """Watches every connection of a simulation. `violation` is the first one, which is also raised where it happens.

    Give `observer(host name)` to the host's endpoints, and `datagram` to its taps. Held in all runs:

    - Packet numbers are never reused; acknowledged is only what was sent, at either end.
    - bytes_in_flight is the sum of what is in flight. Nothing is sent above the congestion window but probes after a
      PTO, path challenges, and a packet when nothing in flight asks for an ACK. The window never falls below two
      datagrams.
    - Neither end exceeds the other's flow control: of the connection, of a stream, and in the number of streams.
    - What applications read of a stream is what was written, every byte once and in order, and it ends where it ended.
    - An address gets at most three times what came from it, until it is validated.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed: Final = seed
        self.violation: InvariantViolation | None = None
        self._hosts: Final[dict[str, HostChecker]] = {}
        self._deliveries: Final[dict[bytes, Delivery]] = {}  # by the connection's original destination ID

    def observer(self, host: str) -> "HostChecker":
        """Return what observes the endpoints of a host."""
        if host not in self._hosts:
            self._hosts[host] = HostChecker(self, host)
        return self._hosts[host]

    def datagram(self, host: str, now: int, direction: str, datagram: "Datagram") -> None:
        """A tap: a datagram at a host's interface."""
        self.observer(host).datagram(now, direction, datagram)

    def delivery(self, connection: bytes) -> Delivery:
        """The books of a connection's stream data, which both ends share."""
        return self._deliveries.setdefault(connection, Delivery())

    def begin_again(self, connection: bytes, renamed: bytes) -> None:
        """A client begins its connection anew, so that the server knows it by another ID."""
        self._deliveries[renamed] = self.delivery(connection)

    def fail(self, now: int, who: str, what: str) -> NoReturn:
        """Raise InvariantViolation."""
        seed = self.seed
        violation = InvariantViolation(
            f"at {now} ns, {who}: {what} (replay it with Simulation(seed={seed}, check=True))"
        )
        self.violation = self.violation or violation
        raise violation


class HostChecker(Observer):
    """Watches the endpoints of one host."""

    def __init__(self, checker: Checker, host: str) -> None:
        self.checker: Final = checker
        self.host: Final = host
        self.amplification: Final = Amplification(lambda what: checker.fail(self._now, f"host {host}", what))
        self._now = 0

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver:
        """Start to watch a connection."""
        return ConnectionChecker(self, role, original_destination_cid)

    def datagram(self, now: int, direction: str, datagram: "Datagram") -> None:
        """A datagram at the host's interface."""
        self._now = now
        (self.amplification.on_sent if direction == SENT else self.amplification.on_received)(datagram)


class ConnectionChecker(Silent):
    """Watches one end of a connection: reads the frames of its packets and tells the books."""

    def __init__(self, host: HostChecker, role: str, connection: bytes) -> None:
        self._host: Final = host
        self._connection: Final = connection
        self._is_client: Final = role == "client"
        self._who: Final = f"{role} of connection {connection.hex()} on host {host.host}"
        self._now = 0
        self._sending: Final = Sending(self._fail)
        self._outgoing: Final = FlowLimits(self._is_client, self._fail)
        self._incoming: Final = FlowLimits(not self._is_client, self._fail_by_peer)
        self._delivery: Final = host.checker.delivery(connection)
        self._addresses: Final[dict[int, tuple[Address, Address]]] = {}  # by path
        self._challenges: Final[dict[bytes, int]] = {}  # data of challenges that were sent, to their path
        self._path = 0  # the active one

    def _fail(self, what: str) -> NoReturn:
        self._host.checker.fail(self._now, self._who, what)

    def _fail_by_peer(self, what: str) -> NoReturn:
        self._fail(f"the peer exceeds what was announced to it: {what}")

    # Packets

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self._now = now
        frames = decoded_frames(packet.payload)
        if self._sending.on_sent(packet, frames):
            self._host.checker.begin_again(self._connection, packet.destination_cid)
        for frame in frames:
            if isinstance(frame, AckFrame):
                self._sending.on_ack_sent(packet.packet_type, frame)
            elif isinstance(frame, PathChallengeFrame):
                self._challenges[frame.data] = packet.path
            else:
                self._outgoing.on_used(frame)
                self._incoming.on_raised(frame)

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        self._now = now
        if packet.packet_number == _WITHOUT_NUMBER:
            return
        self._sending.on_received(packet)
        if packet.packet_type == "handshake":
            self._validated(packet.path)
        try:
            frames = decoded_frames(packet.payload)
        except TransportError:
            return  # the connection closes because of it
        for frame in frames:
            self._frame_received(packet.packet_type, frame)

    def _frame_received(self, packet_type: str, frame: Frame) -> None:
        if isinstance(frame, AckFrame):
            self._sending.on_ack_received(packet_type, frame)
        elif isinstance(frame, PathResponseFrame):
            if frame.data in self._challenges:
                self._validated(self._challenges[frame.data])
        else:
            self._incoming.on_used(frame)
            self._outgoing.on_raised(frame)

    def packets_acked(self, now: int, packet_type: str, packet_numbers: list[int]) -> None:
        self._sending.on_gone(packet_type, packet_numbers)

    def packet_lost(self, now: int, packet_type: str, packet_number: int, size: int, trigger: str) -> None:
        self._sending.on_gone(packet_type, (packet_number,))

    def packets_forgotten(self, now: int, packet_type: str, packet_numbers: list[int]) -> None:
        self._sending.on_gone(packet_type, packet_numbers)

    def loss_timer(self, now: int, event: str, timer_type: str, packet_type: str, at: int | None) -> None:
        if event == "expired" and timer_type == "pto":
            self._sending.on_probe_timeout()

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        self._now = now
        self._sending.on_metrics(metrics)

    # Limits and data

    def parameters_set(self, now: int, owner: str, parameters: dict[str, object]) -> None:
        (self._incoming if owner == "local" else self._outgoing).on_parameters(parameters)

    def data_moved(self, now: int, stream_id: int, side: str, offset: int, data: bytes, end: bool) -> None:
        self._now = now
        if side == "sending":
            self._delivery.on_written(self._is_client, stream_id, data, end)
        else:
            self._delivery.on_read(not self._is_client, stream_id, offset, data, end, self._fail)

    # Paths

    def connection_started(self, now: int, local: Address, remote: Address, scid: bytes, dcid: bytes) -> None:
        self._addresses[0] = (local, remote)

    def path_assigned(self, now: int, path: int, local: Address, remote: Address) -> None:
        self._addresses[path] = (local, remote)

    def migration_state(self, now: int, state: str, path: int) -> None:
        if state == "migration_started":
            (local, remote), (old_local, old_remote) = self._addresses[path], self._addresses[self._path]
            self._sending.on_path_used(path, self._path, local == old_local and remote[0] == old_remote[0])
            self._path = path

    def mtu_updated(self, now: int, old: int, new: int, done: bool) -> None:
        self._sending.on_datagram_size(self._path, new)

    def _validated(self, path: int) -> None:
        self._host.amplification.on_validated(*self._addresses[path])
