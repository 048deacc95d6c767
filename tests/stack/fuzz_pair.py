"""What the fuzz tests share: a seeded pair of endpoints, what it says, and an attacker who has one end's keys."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.connection import Connection
from stack.crypto.packet_protection import (
    TAG_LENGTH,
    TLS_AES_128_GCM_SHA256,
    Keys,
    initial_secrets,
    make_keys,
    protect_packet,
    unprotect_header,
)
from stack.endpoint import Endpoint
from stack.tls.config import ClientTls, ServerTls
from stack.wire import header
from stack.wire.decoded_frames import CryptoFrame, decode_frames
from stack.wire.versions import VERSION_1, VERSIONS

CLIENT: Final = ("10.0.0.1", 50_000)
SERVER: Final = ("10.0.0.2", 4433)
MILLISECOND: Final = 1_000_000  # ns
STREAM_LIMIT: Final = 4  # of each type
STREAM_WINDOW: Final = 3000  # bytes
WINDOW: Final = 8000  # bytes, of a connection
DATAGRAM_LIMIT: Final = 500  # bytes, of a DATAGRAM frame
CONTENT: Final = bytes(range(256)) * 4
VERSION: Final = VERSIONS[VERSION_1]


class Pair:
    """A client and a server; datagrams are carried by hand."""

    def __init__(self) -> None:
        limits: dict[str, Any] = {
            "initial_max_data": WINDOW,
            "initial_max_stream_data_bidi_local": STREAM_WINDOW,
            "initial_max_stream_data_bidi_remote": STREAM_WINDOW,
            "initial_max_stream_data_uni": STREAM_WINDOW,
            "initial_max_streams_bidi": STREAM_LIMIT,
            "initial_max_streams_uni": STREAM_LIMIT,
            "max_datagram_frame_size": DATAGRAM_LIMIT,
            "reset_stream_at": True,
            "pacing": False,
        }
        credentials = test_certificate()
        self.client = Endpoint(Config(tls=ClientTls(trust=credentials), **limits), random.Random(1))
        self.server = Endpoint(Config(tls=ServerTls(credentials=credentials), accept=True, **limits), random.Random(2))
        self.now = 0
        self.carried: list[tuple[bool, bytes]] = []  # by whom, and what
        self.client_connection = self.client.connect(CLIENT, SERVER, 0, "localhost")

    @property
    def server_connection(self) -> Connection:
        (connection,) = self.server.connections.values()
        return connection

    def flight(self, by_client: bool) -> list[bytes]:
        """What one end sends now."""
        return [sent.payload for sent in (self.client if by_client else self.server).transmit(self.now)]

    def deliver(self, data: bytes, by_client: bool) -> None:
        """Hand a datagram to the other end."""
        if by_client:
            self.server.receive(data, CLIENT, SERVER, 0, self.now)
        else:
            self.client.receive(data, SERVER, CLIENT, 0, self.now)

    def talk(self, before: Callable[[list[tuple[bool, bytes]]], None] | None = None) -> None:
        """Carry datagrams until both are silent; `before` each is delivered, it sees all up to this one."""
        while True:
            self.now += 10 * MILLISECOND
            flights = [(True, data) for data in self.flight(True)] + [(False, data) for data in self.flight(False)]
            if not flights:
                return
            for by_client, data in flights:
                self.carried.append((by_client, data))
                if before is not None:
                    before(self.carried)
                self.deliver(data, by_client)

    def start_streams(self) -> None:
        """Open a stream of each type at both ends and write to it."""
        for connection in (self.client_connection, self.server_connection):
            for unidirectional in (False, True):
                stream_id = connection.open_stream(unidirectional)
                assert stream_id is not None
                connection.write(stream_id, CONTENT, end=True)


@cache
def recording() -> list[tuple[bool, bytes]]:
    """The datagrams of a handshake and of a transfer on four streams."""
    pair = Pair()
    pair.talk()
    pair.start_streams()
    pair.talk()
    return pair.carried


def initial_keys(destination_cid: bytes, of_client: bool) -> Keys:
    """What protects one end's Initial packets after a client's first with that Destination Connection ID."""
    client, server = initial_secrets(VERSION, destination_cid)
    return make_keys(TLS_AES_128_GCM_SHA256, client if of_client else server, VERSION)


@cache
def client_hello() -> bytes:
    """The TLS message that the pair's client begins with."""
    _, data = recording()[0]
    long_header = header.parse_long_header(data, 0)
    keys = initial_keys(long_header.destination_cid, of_client=True)
    unprotected = unprotect_header(keys.header, data, 0, long_header.packet_number_offset, long_header.end, -1)
    assert unprotected is not None
    _, number, start, authenticated = unprotected
    payload = keys.protection.open(number, authenticated, data[start : long_header.end])
    assert payload is not None
    return b"".join(frame.data for frame in decode_frames(payload) if isinstance(frame, CryptoFrame))


@dataclass
class Attacker:
    """Sends `endpoint` authentic packets of one type, in the place of its peer."""

    endpoint: Endpoint
    to_server: bool
    packet_type: int
    keys: Keys
    destination_cid: bytes
    source_cid: bytes
    number: int  # of the next packet
    now: int

    def connection(self) -> Connection:
        """The connection under attack, which a server has after the first packet."""
        (connection,) = self.endpoint.connections.values()
        return connection

    def send(self, payload: bytes, number_length: int, reserved: bool = False) -> None:
        """Send a packet, with a reserved bit set in its header or not."""
        if self.packet_type == header.ONE_RTT:
            truncated = (self.number & (1 << 8 * number_length) - 1).to_bytes(number_length)
            start = bytes((0x40 | number_length - 1,)) + self.destination_cid + truncated
        else:
            start = header.encode_long_header(
                VERSION,
                self.packet_type,
                self.destination_cid,
                self.source_cid,
                b"",
                len(payload) + TAG_LENGTH,
                self.number,
                number_length,
            )
        if reserved:
            start = bytes((start[0] | 0x08,)) + start[1:]
        data = protect_packet(self.keys, start, number_length, self.number, payload)
        self.number += 1
        if self.packet_type == header.INITIAL:
            data = data.ljust(header.SMALLEST_INITIAL_DATAGRAM, b"\0")
        source, destination = (CLIENT, SERVER) if self.to_server else (SERVER, CLIENT)
        self.endpoint.receive(data, source, destination, 0, self.now)


def attack_initial(to_server: bool) -> Attacker:
    """An attacker on an endpoint that has received nothing yet."""
    pair = Pair()
    destination_cid, source_cid = b"original", b"attacker"
    if not to_server:
        hello = header.parse_long_header(pair.flight(True)[0], 0)
        destination_cid = hello.source_cid
    keys = initial_keys(destination_cid if to_server else hello.destination_cid, of_client=to_server)
    endpoint = pair.server if to_server else pair.client
    return Attacker(endpoint, to_server, header.INITIAL, keys, destination_cid, source_cid, 0, pair.now)


def attack_handshake(to_server: bool) -> Attacker:
    """An attacker on an endpoint that has Handshake keys and not yet the peer's Finished."""
    pair = Pair()
    for data in pair.flight(True):
        pair.deliver(data, by_client=True)
    answer = pair.flight(False)
    for data in answer if to_server else answer[:1]:
        pair.deliver(data, by_client=False)
    return _attacker(pair, to_server, header.HANDSHAKE, 1)


def attack_1rtt(to_server: bool) -> Attacker:
    """An attacker on an endpoint of a confirmed connection with data in flight both ways."""
    pair = Pair()
    pair.talk()
    pair.start_streams()
    for by_client in (True, False):
        for data in pair.flight(by_client)[:2]:
            pair.deliver(data, by_client)
    return _attacker(pair, to_server, header.ONE_RTT, 2)


def _attacker(pair: Pair, to_server: bool, packet_type: int, space: int) -> Attacker:
    peer = pair.client_connection if to_server else pair.server_connection
    keys = peer.spaces[space].write_keys
    assert keys is not None
    return Attacker(
        pair.server if to_server else pair.client,
        to_server,
        packet_type,
        keys,
        peer.remote_ids.current,
        peer.local_ids.first,
        peer.spaces[space].next_packet_number,
        pair.now,
    )
