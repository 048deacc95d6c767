"""Packet captures with the TLS secrets inside, so that readers decrypt them (pcapng: draft-ietf-opsawg-pcapng).

Datagrams of the simulated network get the IP and UDP headers they would have had. Time zero is 1 January 1970.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, ip_address
from struct import Struct
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from links.datagram import HOP_LIMIT, Address, Datagram
from quicsim.host import RECEIVED, SENT
from quicsim.observers import Silent
from stack.observer import ConnectionObserver, Observer

LINKTYPE_RAW: Final = 101  # a packet starts with its IP header
NANOSECONDS: Final = 9  # if_tsresol: timestamps count 10^-9 s
TLS_KEY_LOG: Final = 0x544C534B
UDP: Final = 17

_SPOOL_MEMORY: Final = 1 << 24  # bytes of a capture kept in memory before it goes to a temporary file
_CHUNK: Final = 1 << 16
_END_OF_OPTIONS: Final = b"\0\0\0\0"

_KEY_LOG_LINE: Final = re.compile(r"[A-Z][A-Z0-9_]* [0-9a-f]+ [0-9a-f]+", re.IGNORECASE)

_U16x2: Final = Struct("<HH")
_BLOCK: Final = Struct("<II")
_PACKET: Final = Struct("<IIIIIII")
_PACKET_OPTIONS: Final = {
    direction: _U16x2.pack(2, 4) + flag.to_bytes(4, "little") + _END_OF_OPTIONS
    for direction, flag in ((RECEIVED, 1), (SENT, 2))
}
_IPV4: Final = Struct(">BBHHHBBH")
_IPV6: Final = Struct(">IHBB")
_UDP: Final = Struct(">HHHH")


def section_header() -> bytes:
    """Return the block that begins a file (section 4.1)."""
    body = (0x1A2B3C4D).to_bytes(4, "little") + _U16x2.pack(1, 0) + b"\xff" * 8
    return _block(0x0A0D0D0A, body + _option(4, b"quicsim") + _END_OF_OPTIONS)


def interface_description(name: str) -> bytes:
    """Return the block of an interface that carries IP packets, timed in ns (section 4.2)."""
    body = _U16x2.pack(LINKTYPE_RAW, 0) + bytes(4)  # no limit on packet sizes
    options = _option(2, name.encode()) + _option(9, bytes((NANOSECONDS,))) + _END_OF_OPTIONS
    return _block(1, body + options)


def decryption_secrets(key_log: bytes) -> bytes:
    """Return the block with secrets as lines of an NSS key log (section 4.7)."""
    return _block(10, _BLOCK.pack(TLS_KEY_LOG, len(key_log)) + _padded(key_log))


def enhanced_packet(now: int, packet: bytes, direction: str) -> bytes:
    """Return the block of an IP packet seen at `now` (ns), RECEIVED or SENT (section 4.3)."""
    size = len(packet)
    options = _PACKET_OPTIONS[direction]
    padding = -size % 4
    total = 32 + size + padding + len(options)
    start = _PACKET.pack(6, total, 0, now >> 32, now & 0xFFFFFFFF, size, size)
    return b"".join((start, packet, bytes(padding), options, total.to_bytes(4, "little")))


def ip_packet(source: Address, destination: Address, payload: bytes, ecn: int = 0, hop_limit: int = HOP_LIMIT) -> bytes:
    """Return a UDP datagram with its IPv4 or IPv6 header; `ecn` is the codepoint 0 to 3.

    Raises ValueError when an address is not one, or the two are of different families.
    """
    size = len(payload) + 8
    host, peer, is_ipv4, addresses_sum = _addresses(source[0], destination[0])
    # One's complement sums of 16-bit words are remainders by 65535.
    total = addresses_sum + UDP + 2 * size + source[1] + destination[1]
    padded = payload if size % 2 == 0 else payload + b"\0"
    checksum = -(total + int.from_bytes(padded)) % 0xFFFF or 0xFFFF  # 0 would mean none
    udp = _UDP.pack(source[1], destination[1], size, checksum) + payload
    if not is_ipv4:
        return _IPV6.pack(6 << 28 | ecn << 20, size, UDP, hop_limit) + host + peer + udp
    # Don't fragment, and so no identification.
    header = _IPV4.pack(0x45, ecn, size + 20, 0, 0x4000, hop_limit, UDP, 0) + host + peer
    checksum = -int.from_bytes(header) % 0xFFFF
    return header[:10] + checksum.to_bytes(2) + header[12:] + udp


@lru_cache(maxsize=256)
def _addresses(source: str, destination: str) -> tuple[bytes, bytes, bool, int]:
    """Return both addresses as bytes, whether they are IPv4, and their part of the UDP checksum."""
    host, peer = ip_address(source), ip_address(destination)
    if host.version != peer.version:
        raise ValueError(f"{source} and {destination}: must be of the same IP version")
    return host.packed, peer.packed, isinstance(host, IPv4Address), int.from_bytes(host.packed + peer.packed)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return _U16x2.pack(code, len(value)) + _padded(value)


def _block(block_type: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return _BLOCK.pack(block_type, total) + body + total.to_bytes(4, "little")


class HostCapture(Observer):
    """Everything a host sends and receives, and the TLS secrets of its connections.

    Give `datagram` what passes the host, and the endpoint the capture as its observer. The file is put together by
    `save`, with all secrets in front: readers go through it once, and a packet may overtake those that its keys
    come from.
    """

    def __init__(self, host: str) -> None:
        self._host: Final = host
        self._secrets: Final[dict[str, None]] = {}  # lines of the key log, in order
        self._packets: IO[bytes] | None = None  # their blocks; there from the first packet until `save`
        self.count = 0

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> ConnectionObserver:
        """Collect the secrets of a connection."""
        return _Secrets(self._secrets)

    def add_key_log(self, text: str) -> None:
        """Add secrets that others have logged, as lines of an NSS key log; what is no such line is left out."""
        for line in text.splitlines():
            if _KEY_LOG_LINE.fullmatch(line):
                self._secrets[f"{line}\n"] = None

    def datagram(self, _: str, now: int, direction: str, datagram: Datagram) -> None:
        """Take a datagram that passes the host, SENT or RECEIVED at `now`; fits `Simulation.tap`."""
        self.count += 1
        if self._packets is None:
            self._packets = SpooledTemporaryFile(_SPOOL_MEMORY)  # noqa: SIM115 - closed by `save`
        packet = ip_packet(datagram.source, datagram.destination, datagram.payload, datagram.ecn)
        self._packets.write(enhanced_packet(now, packet, direction))

    def save(self, write: Callable[[bytes], object]) -> None:
        """Write the whole capture file so far; the capture is over then."""
        write(section_header() + interface_description(self._host))
        if self._secrets:
            write(decryption_secrets("".join(self._secrets).encode()))
        if self._packets is not None:
            self._packets.seek(0)
            while chunk := self._packets.read(_CHUNK):
                write(chunk)
            self._packets.close()
            self._packets = None


class _Secrets(Silent):
    def __init__(self, secrets: dict[str, None]) -> None:
        self._secrets = secrets

    def secret(self, _: int, label: str, client_random: bytes, secret: bytes) -> None:
        self._secrets[f"{label} {client_random.hex()} {secret.hex()}\n"] = None
