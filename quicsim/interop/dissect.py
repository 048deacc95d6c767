"""Reads recorded datagrams as somebody does who only listens: finds the connections, and decrypts what secrets allow.

Keys of Initial packets come from the packets themselves, all others from a key log. What can't be decrypted, be it for
want of a secret or because it was corrupted on the way, is a packet without frames.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from quicsim.interop.trace import Handshake, Packet, Recording, Sighting, Trace, sent_by_client
from stack.crypto.packet_protection import (
    TLS_AES_128_GCM_SHA256,
    Keys,
    PacketProtection,
    initial_secrets,
    make_keys,
    unprotect_header,
)
from stack.errors import QuicError
from stack.limits import MAX_CRYPTO_BUFFER
from stack.observer import Address
from stack.streams.crypto import CryptoStream
from stack.tls.extensions import CLIENT_HELLO, ENCRYPTED_EXTENSIONS, SERVER_HELLO
from stack.tls.hello import ServerHello, parse_client_hello, parse_server_hello
from stack.tls.messages import parse_encrypted_extensions
from stack.wire import header as wire
from stack.wire.decoded_frames import CryptoFrame, Frame, NewConnectionIdFrame, decode_frames
from stack.wire.parameters import decode_transport_parameters
from stack.wire.versions import VERSION_1, VERSIONS

_LONG_FORM: Final = 0x80
_FIXED_BIT: Final = 0x40
_ANY_EXTENSION: Final = range(1 << 16)

_SPACES: Final = {wire.INITIAL: 0, wire.HANDSHAKE: 1, wire.ZERO_RTT: 2, wire.ONE_RTT: 2}
_LABELS: Final = {
    (wire.ZERO_RTT, True): "CLIENT_EARLY_TRAFFIC_SECRET",
    (wire.HANDSHAKE, True): "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    (wire.HANDSHAKE, False): "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    (wire.ONE_RTT, True): "CLIENT_TRAFFIC_SECRET_0",
    (wire.ONE_RTT, False): "SERVER_TRAFFIC_SECRET_0",
}


def dissect(recording: Recording, at_client: bool) -> Trace:
    """Return the packets of a recording that was made at the client's, or else at the server's host."""
    return _Dissector(recording, at_client).trace()


class _Bounds(NamedTuple):
    """Where a packet lies in its datagram."""

    start: int
    number_offset: int
    end: int


class _Opened(NamedTuple):
    number: int
    key_phase: int
    frames: tuple[Frame, ...]


class _Dissector:
    def __init__(self, recording: Recording, at_client: bool) -> None:
        self._sightings = recording.sightings
        self._at_client = at_client
        self._secrets: dict[tuple[str, str], bytes] = {}  # by label and client random
        for line in recording.key_log.splitlines():
            with suppress(ValueError):
                label, client_random, secret = line.split()
                self._secrets[label, client_random.lower()] = bytes.fromhex(secret)
        self._connections: list[_Connection] = []
        # By who sends to it and connection ID; and the newest of each client's address, for those with empty IDs
        self._by_id: dict[tuple[bool, bytes], _Connection] = {}
        self._by_address: dict[Address, _Connection] = {}
        self._packets: list[Packet] = []
        self._late: list[tuple[int, _Connection, Sighting, _Bounds]] = []  # packets seen before their keys

    def trace(self) -> Trace:
        for number, seen in enumerate(self._sightings):
            self._packets += self._datagram(number, seen)
        for index, connection, seen, bounds in self._late:
            packet = self._packets[index]
            opened = connection.open(packet.packet_type, packet.from_client, packet.version, seen.payload, bounds)
            if opened is not None:
                self._packets[index] = _with(packet, opened)
        handshakes = tuple(each.handshake for each in self._connections if each.handshake is not None)
        return Trace(tuple(self._packets), handshakes)

    def _datagram(self, number: int, seen: Sighting) -> Iterator[Packet]:
        data, start = seen.payload, 0
        from_client = sent_by_client(seen, self._at_client)
        client = seen.source if from_client else seen.destination
        count = len(self._packets)
        while start < len(data):
            if not data[start] & (_LONG_FORM | _FIXED_BIT) and not any(data[start:]):
                return  # padding behind the last packet
            if data[start] & _LONG_FORM:
                packet, bounds, connection = self._long(number, seen, from_client, client, start)
            else:
                packet, bounds, connection = self._short(number, seen, from_client, client, start)
            if connection is not None and packet.packet_type in _SPACES:
                opened = connection.open(packet.packet_type, from_client, packet.version, data, bounds)
                if opened is None:
                    self._late.append((count, connection, seen, bounds))
                else:
                    packet = _with(packet, opened)
                    self._learn(connection, packet, client)
            yield packet
            count += 1
            start = bounds.end

    def _long(
        self, number: int, seen: Sighting, from_client: bool, client: Address, start: int
    ) -> "tuple[Packet, _Bounds, _Connection | None]":
        data = seen.payload
        try:
            header = wire.parse_long_header(data, start, greased=True)
        except wire.HeaderError:
            bounds = _Bounds(start, start, len(data))
            return _packet(number, seen, from_client, wire.UNKNOWN_VERSION, bounds), bounds, None
        kind, version, destination, source, token, offset, end = header
        bounds = _Bounds(start, offset, end)
        packet = _packet(number, seen, from_client, kind, bounds, version, destination, source, token)
        connection = self._by_id.get((from_client, destination)) or self._by_id.get((not from_client, source))
        if connection is None and not (source if from_client else destination):
            connection = self._by_address.get(client)
        if kind == wire.INITIAL and from_client:
            connection = self._of_initial(connection, version, destination, data, bounds)
        elif kind == wire.RETRY and connection is not None:
            connection.add_original(source)
        return packet, bounds, connection

    def _of_initial(
        self, known: "_Connection | None", version: int, destination: bytes, data: bytes, bounds: _Bounds
    ) -> "_Connection | None":
        """Return the connection of a client's Initial packet, which may be a new one."""
        if known is not None and known.opens_initial(version, data, bounds):
            return known
        new = _Connection(destination, self._secrets)
        return new if new.opens_initial(version, data, bounds) else known

    def _short(
        self, number: int, seen: Sighting, from_client: bool, client: Address, start: int
    ) -> "tuple[Packet, _Bounds, _Connection | None]":
        data = seen.payload
        for length in range(wire.MAX_CID_LENGTH, 0, -1):
            connection = self._by_id.get((from_client, data[start + 1 : start + 1 + length]))
            if connection is not None:
                break
        else:
            length, connection = 0, self._by_address.get(client)
        bounds = _Bounds(start, start + 1 + length, len(data))
        destination = data[start + 1 : start + 1 + length]
        return _packet(number, seen, from_client, wire.ONE_RTT, bounds, 0, destination), bounds, connection

    def _learn(self, connection: "_Connection", packet: Packet, client: Address) -> None:
        """Take from a decrypted packet what helps to find and decrypt others."""
        from_client = packet.from_client
        self._by_address[client] = connection
        if packet.packet_type == wire.INITIAL and connection not in self._connections:
            self._connections.append(connection)
            self._by_id[True, packet.destination_cid] = connection
        if packet.packet_type != wire.ONE_RTT:
            self._name(connection, not from_client, packet.source_cid)
        for frame in packet.frames or ():
            if isinstance(frame, NewConnectionIdFrame):
                self._name(connection, not from_client, frame.connection_id)
            elif isinstance(frame, CryptoFrame) and packet.packet_type != wire.ONE_RTT:
                connection.crypto(packet, frame)
        parameters = None if connection.handshake is None else connection.handshake.server_parameters
        if parameters is not None and parameters.preferred_address is not None:
            self._name(connection, True, parameters.preferred_address.connection_id)

    def _name(self, connection: "_Connection", to_server: bool, connection_id: bytes) -> None:
        if connection_id:
            self._by_id[to_server, connection_id] = connection


def _packet(
    number: int,
    seen: Sighting,
    from_client: bool,
    kind: int,
    bounds: _Bounds,
    version: int = 0,
    destination: bytes = b"",
    source: bytes = b"",
    token: bytes = b"",
) -> Packet:
    return Packet(
        seen.at,
        from_client,
        seen.source,
        seen.destination,
        seen.ecn,
        number,
        len(seen.payload),
        kind,
        version,
        destination,
        source,
        token,
        bounds.end - bounds.number_offset,
    )


def _with(packet: Packet, opened: _Opened) -> Packet:
    return packet._replace(packet_number=opened.number, key_phase=opened.key_phase, frames=opened.frames)


class _Connection:
    """One connection's keys, and what its handshake says."""

    def __init__(self, original: bytes, secrets: dict[tuple[str, str], bytes]) -> None:
        """`original` is the destination of the client's first Initial packet."""
        self.handshake: Handshake | None = None
        self._originals = [original]
        self._secrets = secrets
        self._version = VERSION_1
        self._initial: dict[tuple[bytes, int], tuple[Keys, Keys]] = {}  # the client's and the server's
        self._keys: dict[tuple[int, bool, int], Keys] = {}
        self._phases: dict[bool, _Phases] = {}
        self._largest: dict[tuple[int, bool], int] = {}
        self._crypto: dict[tuple[int, bool], _Messages] = {}

    def add_original(self, connection_id: bytes) -> None:
        """A Retry makes the client go on with keys from another connection ID."""
        self._originals.insert(0, connection_id)

    def opens_initial(self, version: int, data: bytes, bounds: _Bounds) -> bool:
        """Whether this is a client's Initial packet of the connection."""
        return self._open_initial(True, version, data, bounds) is not None

    def open(self, kind: int, from_client: bool, version: int, data: bytes, bounds: _Bounds) -> _Opened | None:
        """Decrypt a packet; None where that is not possible, or what it has are no frames."""
        if kind == wire.INITIAL:
            found = self._open_initial(from_client, version, data, bounds)
        elif kind == wire.ONE_RTT:
            found = self._open_short(from_client, data, bounds)
        else:
            keys = self._keys_of(kind, from_client, version)
            found = None if keys is None else self._open_with(keys, kind, from_client, data, bounds)
        if found is None:
            return None
        number, phase, payload = found
        space = (_SPACES[kind], from_client)
        self._largest[space] = max(number, self._largest.get(space, -1))
        if kind != wire.ONE_RTT and not from_client:
            self._version = version
        try:
            return _Opened(number, phase, tuple(decode_frames(payload)))
        except QuicError:
            return None

    def _open_initial(
        self, from_client: bool, version: int, data: bytes, bounds: _Bounds
    ) -> tuple[int, int, bytes] | None:
        for original in self._originals:
            both = self._initial.get((original, version))
            if both is None:
                row = VERSIONS[version]
                client, server = initial_secrets(row, original)
                suite = TLS_AES_128_GCM_SHA256
                both = self._initial[original, version] = make_keys(suite, client, row), make_keys(suite, server, row)
            opened = self._open_with(both[0 if from_client else 1], wire.INITIAL, from_client, data, bounds)
            if opened is not None:
                return opened
        return None

    def _open_with(
        self, keys: Keys, kind: int, from_client: bool, data: bytes, bounds: _Bounds
    ) -> tuple[int, int, bytes] | None:
        largest = self._largest.get((_SPACES[kind], from_client), -1)
        unprotected = unprotect_header(keys.header, data, *bounds, largest)
        if unprotected is None:
            return None
        _, number, payload_start, header = unprotected
        payload = keys.protection.open(number, header, data[payload_start : bounds.end])
        return None if payload is None else (number, 0, payload)

    def _keys_of(self, kind: int, from_client: bool, version: int) -> Keys | None:
        key = (kind, from_client, version)
        keys = self._keys.get(key)
        handshake = self.handshake
        if keys is None and handshake is not None and handshake.suite is not None and key[:2] in _LABELS:
            secret = self._secrets.get((_LABELS[key[:2]], handshake.hello.random.hex()))
            if secret is not None:
                keys = self._keys[key] = make_keys(handshake.suite, secret, VERSIONS[version])
        return keys

    def _open_short(self, from_client: bool, data: bytes, bounds: _Bounds) -> tuple[int, int, bytes] | None:
        phases = self._phases.get(from_client)
        if phases is None:
            keys = self._keys_of(wire.ONE_RTT, from_client, self._version)
            if keys is None:
                return None
            phases = self._phases[from_client] = _Phases(keys)
        largest = self._largest.get((_SPACES[wire.ONE_RTT], from_client), -1)
        unprotected = unprotect_header(phases.keys.header, data, *bounds, largest)
        if unprotected is None:
            return None
        first, number, payload_start, header = unprotected
        phase = 1 if first & wire.KEY_PHASE_BIT else 0
        payload = phases.open(phase, number, header, data[payload_start : bounds.end])
        return None if payload is None else (number, phase, payload)

    def crypto(self, packet: Packet, frame: CryptoFrame) -> None:
        """Read the TLS messages that a packet completes; what is no proper message tells nothing."""
        key = (packet.packet_type, packet.from_client)
        messages = self._crypto.setdefault(key, _Messages())
        for kind, body in messages.receive(frame):
            with suppress(QuicError):
                self._message(key, kind, body)

    def _message(self, key: tuple[int, bool], kind: int, body: bytes) -> None:
        handshake = self.handshake
        if key == (wire.INITIAL, True) and kind == CLIENT_HELLO and handshake is None:
            self.handshake = Handshake(parse_client_hello(body))
        elif handshake is None:
            return
        elif key == (wire.INITIAL, False) and kind == SERVER_HELLO:
            hello = parse_server_hello(body, _ANY_EXTENSION)
            if isinstance(hello, ServerHello):
                handshake.suite = hello.suite
        elif key == (wire.HANDSHAKE, False):
            handshake.server_messages.add(kind)
            if kind == ENCRYPTED_EXTENSIONS:
                parameters = parse_encrypted_extensions(body, _ANY_EXTENSION).transport_parameters
                if parameters is not None:
                    handshake.server_parameters = decode_transport_parameters(parameters, from_client=False)


class _Phases:
    """The keys of one direction's 1-RTT packets, from key phase to key phase."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._phase = 0
        self._current = keys.protection
        self._others: list[PacketProtection] = [keys.protection.next_generation()]  # the next one, the one before

    def open(self, phase: int, number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        if phase == self._phase & 1:
            return self._current.open(number, header, ciphertext)
        for index, protection in enumerate(self._others):
            payload = protection.open(number, header, ciphertext)
            if payload is not None:
                if index == 0:
                    self._phase += 1
                    self._others = [protection.next_generation(), self._current]
                    self._current = protection
                return payload
        return None


class _Messages:
    """Puts the CRYPTO frames of one level together and cuts TLS messages from them."""

    def __init__(self) -> None:
        self._stream = CryptoStream()
        self._left = b""

    def receive(self, frame: CryptoFrame) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the body of each message that is complete now."""
        with suppress(QuicError):  # more than anybody sends
            self._left += self._stream.receive(frame.offset, frame.data, MAX_CRYPTO_BUFFER)
        while len(self._left) >= 4 and len(self._left) >= (end := 4 + int.from_bytes(self._left[1:4])):
            message, self._left = self._left[:end], self._left[end:]
            yield message[0], message[4:]
