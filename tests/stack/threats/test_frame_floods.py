"""Floods of frames by a peer that holds the keys: what it makes us hold and do stays bounded, and others are served."""

from collections.abc import Callable

import pytest

from stack.connection import Connection
from stack.wire.frames import (
    encode_ack_frequency,
    encode_crypto_header,
    encode_data_blocked,
    encode_datagram_header,
    encode_handshake_done,
    encode_immediate_ack,
    encode_max_data,
    encode_max_stream_data,
    encode_max_streams,
    encode_new_token,
    encode_path_challenge,
    encode_path_response,
    encode_reset_stream,
    encode_retire_connection_id,
    encode_stop_sending,
    encode_stream_data_blocked,
    encode_stream_header,
    encode_streams_blocked,
)
from tests.support.attack import acknowledgment
from tests.support.pair import Pair
from tests.support.toll import held, lines_run

PACKETS = 2_000
WARM = 600  # packets after which every table that fills up is full
INTERVAL_NS = 100_000
SLACK = 8_192  # bytes: lists grow in steps, integers get longer
ACK_ONLY = 128  # packets remembered although nobody acknowledges them
SENT_PACKET = 300  # bytes that each takes, with some to spare

Flood = Callable[[int], bytes]  # the frames of packet number i


def id_of(number: int) -> bytes:
    return number.to_bytes(8)


FLOODS: dict[str, Flood] = {
    "padding": lambda i: bytes(20),
    "ping": lambda i: b"\x01" * 20,
    "empty stream frames": lambda i: encode_stream_header(0, 0, 0, False) * 20,
    "one byte again and again": lambda i: (encode_stream_header(0, 0, 1, False) + b"x") * 20,
    "one byte at a time": lambda i: encode_stream_header(0, i, 1, False) + b"x",
    "reset again and again": lambda i: encode_reset_stream(0, 7, 0) * 20,
    "stop sending": lambda i: encode_stop_sending(0, 7) * 20,
    "empty crypto frames ahead": lambda i: encode_crypto_header(100 + i, 0) * 20,
    "max data": lambda i: encode_max_data(1 << 30 | i) * 20,
    "max stream data": lambda i: encode_max_stream_data(0, 1 << 30 | i) * 20,
    "max streams": lambda i: encode_max_streams(1_000 + i, bool(i & 1)) * 20,
    "data blocked": lambda i: encode_data_blocked(i) * 20,
    "stream data blocked": lambda i: encode_stream_data_blocked(0, i) * 20,
    "streams blocked": lambda i: encode_streams_blocked(i, bool(i & 1)) * 20,
    "path challenge": lambda i: encode_path_challenge(id_of(i)),
    "path response": lambda i: encode_path_response(id_of(i)) * 20,
    "retire unused": lambda i: encode_retire_connection_id(1) * 20,
    "immediate ack": lambda i: encode_immediate_ack() * 20,
    "ack frequency": lambda i: encode_ack_frequency(i, i % 9, 1_000 + i, i % 7) * 20,
    "datagrams nobody reads": lambda i: encode_datagram_header(8) + id_of(i),
}
TO_CLIENT: dict[str, Flood] = {
    "new token": lambda i: encode_new_token(b"token" + id_of(i)) * 20,
    "handshake done": lambda i: encode_handshake_done() * 20,
    "session tickets": lambda i: encode_crypto_header(100 * i, 100) + (TICKET + id_of(i)).ljust(100, b"\0"),
}


# NewSessionTicket of 100 bytes: lifetime, age_add, no nonce, a ticket of 83 bytes, no extensions
TICKET = b"\x04\0\0\x60" + bytes(3) + b"\x3c" + bytes(4) + b"\0" + b"\0\x53"


class Attack:
    """A flood of packets from one end of a pair to the other, whose answers get lost."""

    def __init__(self, pair: Pair, attacker: Connection, victim: Connection, acknowledged: bool) -> None:
        self.pair, self.attacker, self.victim = pair, attacker, victim
        self.acknowledged = acknowledged
        self.endpoint = pair.client if victim.is_client else pair.server
        self.received_bytes = self.sent = self.sent_bytes = 0

    def send(self, frames: bytes) -> None:
        """One packet, and what the victim answers at once."""
        if self.acknowledged:
            frames += acknowledgment(self.victim)
        packet = self.pair.craft(self.attacker, frames)
        self.received_bytes += len(packet)
        self.pair.deliver(packet, to_server=self.attacker.is_client)
        answers = self.endpoint.transmit(self.pair.now)
        self.sent += len(answers)
        for answer in answers:
            self.sent_bytes += len(answer.payload)
            if self.acknowledged:
                self.pair.deliver(answer.payload, to_server=self.victim.is_client)
        self.pair.now += INTERVAL_NS
        deadline = self.endpoint.deadline()
        if deadline is not None and deadline <= self.pair.now:
            self.endpoint.timeout(self.pair.now)
            self.sent += len(self.endpoint.transmit(self.pair.now))

    def run(self, flood: Flood, first: int, last: int) -> int:
        """Packets `first` to `last` without the last; return the lines of Python that the last twenty took."""
        for i in range(first, last - 20):
            self.send(flood(i))
        return lines_run(lambda: [self.send(flood(i)) for i in range(last - 20, last)].clear())


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("name", [*FLOODS, *TO_CLIENT])
def test_a_flood_of_frames_costs_no_more_the_longer_it_lasts(
    name: str, acknowledged: bool, patch_stack: pytest.MonkeyPatch
) -> None:
    """Whether the attacker acknowledges our answers or not."""
    patch_stack.setattr("stack.recovery.loss.MAX_ACK_ONLY_PACKETS", ACK_ONLY)  # so that it is reached
    fields = {"max_datagram_frame_size": 100, "ack_frequency": True}
    pair = Pair(server=fields, client=fields)
    client, server = pair.established()
    attacker, victim = (server, client) if name in TO_CLIENT else (client, server)
    stream_id = client.open_stream()
    assert stream_id == 0
    attack = Attack(pair, attacker, victim, acknowledged)
    flood = FLOODS.get(name) or TO_CLIENT[name]
    events = pair.events_of(victim)
    before = len(events)

    work = attack.run(flood, 0, WARM)
    memory = held(attack.endpoint)
    assert attack.run(flood, WARM, PACKETS) <= 1.5 * work
    slack = SLACK if acknowledged else SLACK + 2 * ACK_ONLY * SENT_PACKET
    assert held(attack.endpoint) <= memory + slack

    assert not victim.closed
    assert attack.sent <= 2 * PACKETS  # PATH_RESPONSE, and an ACK
    assert len(events) - before <= 20 * PACKETS
    if acknowledged:  # without ACKs, the window for answers is soon full
        assert attack.sent_bytes <= 1_300 * PACKETS
    elif name != "path challenge":
        assert attack.sent_bytes <= attack.received_bytes
    else:
        assert attack.sent_bytes <= 40 * PACKETS  # all but a window of it are ACKs
    assert pair.transfer(client, server, b"still here")[1] == b"still here"
