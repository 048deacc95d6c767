"""What was seen on the wire at one host: datagrams, and the packets in them as the test cases' checks read them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from links import Datagram
from quicsim.host import RECEIVED, SENT
from quicsim.observers import Silent
from quicsim.pcapng import decryption_secrets, enhanced_packet, interface_description, ip_packet, section_header
from stack.observer import Address, ConnectionObserver, Observer
from stack.tls.hello import ClientHello
from stack.wire.decoded_frames import Frame
from stack.wire.parameters import TransportParameters

F = TypeVar("F", bound=tuple[Any, ...])


class Sighting(NamedTuple):
    """A UDP datagram that passed a host's interface."""

    at: int  # ns
    direction: str  # SENT or RECEIVED
    source: Address
    destination: Address
    ecn: int
    payload: bytes


class Packet(NamedTuple):
    """One QUIC packet. What is encrypted is only there if the trace has the secrets."""

    at: int  # ns
    from_client: bool
    source: Address
    destination: Address
    ecn: int
    datagram: int  # number of its datagram in the trace
    datagram_size: int  # bytes of UDP payload
    packet_type: int  # as in stack.wire.header
    version: int  # 0 for short headers
    destination_cid: bytes
    source_cid: bytes
    token: bytes  # Initial and Retry only
    payload_size: int  # bytes as they were protected, without the header
    packet_number: int = -1
    key_phase: int = 0  # 1-RTT only
    frames: tuple[Frame, ...] | None = None  # None: not decrypted

    @property
    def path(self) -> tuple[Address, Address]:
        """The client's and the server's address."""
        return (self.source, self.destination) if self.from_client else (self.destination, self.source)

    def having(self, kind: type[F]) -> Iterator[F]:
        """Its frames of one kind."""
        return (frame for frame in self.frames or () if isinstance(frame, kind))


@dataclass(slots=True)
class Handshake:
    """What a trace tells of one connection's TLS handshake."""

    hello: ClientHello
    suite: int | None = None  # that the server chose
    server_parameters: TransportParameters | None = None
    server_messages: set[int] = field(default_factory=set)  # types of those in its Handshake packets


class Trace(NamedTuple):
    """All packets at one host, in order, and the handshakes in the order of their ClientHellos."""

    packets: tuple[Packet, ...]
    handshakes: tuple[Handshake, ...]

    def select(self, packet_type: int, from_client: bool) -> list[Packet]:
        """The packets of one type from one end."""
        return [
            packet for packet in self.packets if packet.packet_type == packet_type and packet.from_client == from_client
        ]


class Recording(Observer):
    """Records what passes a host: an observer for the secrets of its connections, and a tap for its datagrams."""

    def __init__(self, host: str) -> None:
        self.host: Final = host
        self.sightings: Final[list[Sighting]] = []
        self._secrets: Final[dict[str, None]] = {}  # lines, in order

    @property
    def key_log(self) -> str:
        """All secrets as lines of an NSS key log."""
        return "".join(f"{line}\n" for line in self._secrets)

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver:
        """Collect the secrets of a connection."""
        return _Secrets(self._secrets)

    def add_secrets(self, key_log: Iterable[str]) -> None:
        """Take lines of a key log that somebody else has written."""
        self._secrets.update(dict.fromkeys(line.strip() for line in key_log if line.strip()))

    def datagram(self, _: str, now: int, direction: str, datagram: Datagram) -> None:
        """Take a datagram that passes the host, SENT or RECEIVED at `now`; fits `Simulation.tap`."""
        self.sightings.append(
            Sighting(now, direction, datagram.source, datagram.destination, datagram.ecn, datagram.payload)
        )

    def save(self, write: Callable[[bytes], object]) -> None:
        """Write a pcapng file with everything and the secrets."""
        write(section_header() + interface_description(self.host))
        if self._secrets:
            write(decryption_secrets(self.key_log.encode()))
        for seen in self.sightings:
            packet = ip_packet(seen.source, seen.destination, seen.payload, seen.ecn)
            write(enhanced_packet(seen.at, packet, seen.direction))


class _Secrets(Silent):
    def __init__(self, secrets: dict[str, None]) -> None:
        self._secrets = secrets

    def secret(self, _: int, label: str, client_random: bytes, secret: bytes) -> None:
        self._secrets[f"{label} {client_random.hex()} {secret.hex()}"] = None


def sent_by_client(seen: Sighting, at_client: bool) -> bool:
    """Whether a datagram, seen at the client's or the server's host, comes from the client."""
    return seen.direction == (SENT if at_client else RECEIVED)
