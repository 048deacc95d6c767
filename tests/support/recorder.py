"""An observer that keeps what tests ask about: packets with their frames, losses, states."""

from typing import NamedTuple

from quicsim.observers import Silent
from stack.observer import PacketInfo
from stack.wire.decoded_frames import Frame, decode_frames


class Packet(NamedTuple):
    """One packet that a connection sent or received."""

    at: int
    packet_type: str
    number: int
    size: int
    frames: tuple[Frame, ...]
    path: int = 0
    key_phase: int = 0  # of short headers
    spin: int = 0


class ConnectionRecorder(Silent):
    """What is noted of one connection."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.sent: list[Packet] = []
        self.received: list[Packet] = []
        self.lost: list[tuple[int, str, int, str]] = []  # time, packet type, number, trigger
        self.dropped: list[tuple[int, str, str]] = []  # time, packet type, trigger
        self.buffered: list[tuple[int, str]] = []
        self.states: list[str] = []
        self.discarded_keys: list[str] = []
        self.key_updates: list[tuple[int, str, str, int]] = []  # time, key, trigger, phase; without those of TLS
        self.remote_parameters: dict[str, object] = {}
        self.ecn_states: list[tuple[int, str]] = []
        self.sizes: list[tuple[int, int, bool]] = []  # time, datagram size, whether the search is over
        self.migration: list[tuple[int, str, int]] = []  # time, state, number of the path
        self.secrets: set[tuple[str, bytes, bytes]] = set()  # as key logs have them: label, client random, secret

    def sent_frames(self, kind: type, since: int = 0) -> list[Frame]:
        """Frames of type `kind` in packets sent at or after `since`, in order."""
        return [frame for packet in self.sent if packet.at >= since for frame in packet.frames if type(frame) is kind]

    def _packet(self, now: int, packet: PacketInfo) -> Packet:
        frames = tuple(decode_frames(packet.payload)) if packet.payload else ()
        number, key_phase, spin = packet.packet_number, packet.key_phase, packet.spin
        return Packet(now, packet.packet_type, number, packet.size, frames, packet.path, key_phase, spin)

    def packet_sent(self, now: int, packet: PacketInfo) -> None:
        self.sent.append(self._packet(now, packet))

    def packet_received(self, now: int, packet: PacketInfo) -> None:
        try:
            self.received.append(self._packet(now, packet))
        except Exception:  # tests send malformed frames on purpose
            self.received.append(Packet(now, packet.packet_type, packet.packet_number, packet.size, ()))

    def packet_lost(self, now: int, packet_type: str, packet_number: int, size: int, trigger: str) -> None:
        self.lost.append((now, packet_type, packet_number, trigger))

    def packet_dropped(self, now: int, packet_type: str, size: int, trigger: str) -> None:
        self.dropped.append((now, packet_type, trigger))

    def packet_buffered(self, now: int, packet_type: str, size: int) -> None:
        self.buffered.append((now, packet_type))

    def connection_state(self, now: int, old: str, new: str) -> None:
        self.states.append(new)

    def key_discarded(self, now: int, key_type: str) -> None:
        self.discarded_keys.append(key_type)

    def key_updated(self, now: int, key_type: str, trigger: str, key_phase: int) -> None:
        if trigger != "tls":
            self.key_updates.append((now, key_type, trigger, key_phase))

    def parameters_set(self, now: int, owner: str, parameters: dict[str, object]) -> None:
        if owner == "remote":
            self.remote_parameters = parameters

    def secret(self, now: int, label: str, client_random: bytes, secret: bytes) -> None:
        self.secrets.add((label, client_random, secret))

    def ecn_state(self, now: int, old: str, new: str) -> None:
        self.ecn_states.append((now, new))

    def mtu_updated(self, now: int, old: int, new: int, done: bool) -> None:
        self.sizes.append((now, new, done))

    def migration_state(self, now: int, state: str, path: int) -> None:
        self.migration.append((now, state, path))


class Recorder:
    """Observer of an endpoint; `connections` in the order in which they began."""

    def __init__(self) -> None:
        self.connections: list[ConnectionRecorder] = []

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionRecorder:
        self.connections.append(ConnectionRecorder(role))
        return self.connections[-1]
