"""What packets tell those who can't read them: how they are judged, and how large they are (RFC 9001 section 9.5)."""

import pytest

from stack.connection import Connection
from stack.crypto.packet_protection import PacketProtection, protect_packet
from stack.wire.header import KEY_PHASE_BIT
from stack.wire.packet_number import packet_number_length
from tests.support.pair import Pair

RESERVED_BITS = 0x18


class Counter:
    """Counts how often payloads are opened and sealed."""

    def __init__(self, patch_stack: pytest.MonkeyPatch) -> None:
        self.opened = self.sealed = 0
        plain_open, plain_seal = PacketProtection.open, PacketProtection.seal

        def opens(protection: PacketProtection, number: int, header: bytes, ciphertext: bytes) -> bytes | None:
            self.opened += 1
            return plain_open(protection, number, header, ciphertext)

        def seals(protection: PacketProtection, number: int, header: bytes, payload: bytes) -> bytes:
            self.sealed += 1
            return plain_seal(protection, number, header, payload)

        patch_stack.setattr(PacketProtection, "open", opens)
        patch_stack.setattr(PacketProtection, "seal", seals)


def forged(sender: Connection, number: int, length: int, bits: int) -> bytes:
    """A packet whose header is protected as it should be, and whose payload is not authentic."""
    keys = sender.spaces[2].write_keys
    assert keys is not None
    first = 0x40 | sender.spaces[2].write_phase ^ bits | length - 1
    header = bytes((first,)) + sender.remote_ids.current + (number % (1 << 8 * length)).to_bytes(length)
    packet = bytearray(protect_packet(keys, header, length, number, b"\x01" + bytes(40)))
    packet[-1] ^= 1  # in the tag, beyond the sample
    return bytes(packet)


@pytest.mark.requirement("rfc9001:9.5:1")
@pytest.mark.parametrize("updated", [False, True], ids=["", "after a key update"])
def test_what_header_protection_hides_decides_nothing_before_the_packet_is_opened(
    updated: bool, patch_stack: pytest.MonkeyPatch
) -> None:
    """Whether a forged packet's number is new, known or far away, encoded in one byte or four, in whichever key phase
    and with whatever reserved bits: as many payloads are tried, and the packet is dropped for the same reason."""
    pair = Pair()
    client, server = pair.established()
    if updated:
        client.update_keys(pair.now)
    pair.transfer(client, server, bytes(20_000))
    largest = server.spaces[2].acks.largest_received
    assert largest > 10
    counter = Counter(patch_stack)
    dropped = pair.recorder_of(server).dropped
    costs = set()
    for number in (0, largest, largest - 5, largest + 1, largest + 90):
        for length in (1, 2, 3, 4):
            for bits in (0, RESERVED_BITS, KEY_PHASE_BIT, KEY_PHASE_BIT | RESERVED_BITS):
                counter.opened = 0
                pair.deliver(forged(client, number, length, bits), to_server=True)
                costs.add(counter.opened)
                assert dropped[-1] == (pair.now, "1RTT", "decryption_failure")
    assert costs == {2 if updated else 1}
    assert len(dropped) == server.stats.packets_dropped == 80
    assert not server.closed


@pytest.mark.requirement("rfc9001:9.5:1")
def test_a_duplicate_is_opened_like_any_other_packet(patch_stack: pytest.MonkeyPatch) -> None:
    pair = Pair()
    client, server = pair.established()
    packet = pair.craft(client, b"\x01" + bytes(40))
    counter = Counter(patch_stack)
    opened = []
    for _ in range(3):
        pair.deliver(packet, to_server=True)
        opened.append(counter.opened)
    assert opened == [1, 2, 3]
    assert [trigger for _, _, trigger in pair.recorder_of(server).dropped] == ["duplicate"] * 2


@pytest.mark.requirement("rfc9001:9.5:2")
@pytest.mark.parametrize(("skip", "length"), [(0, 1), (1 << 10, 2), (1 << 18, 3), (1 << 26, 4)])
def test_neither_size_nor_work_shows_how_long_a_packet_number_is(
    skip: int, length: int, patch_stack: pytest.MonkeyPatch
) -> None:
    """Packets full of data are as large as the path takes, each sealed once, whatever the number's length."""
    pair = Pair()
    client, server = pair.established()
    space = client.spaces[2]
    space.next_packet_number += skip
    assert packet_number_length(space.next_packet_number, space.largest_acked) == length
    counter = Counter(patch_stack)
    before, sent = len(pair.sent), client.stats.packets_sent
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(20_000))
    pair.flush()
    sizes = [len(datagram.payload) for datagram in pair.sent[before:]]
    assert sizes == [1200] * len(sizes)
    assert len(sizes) == client.stats.packets_sent - sent == counter.sealed >= 9
    pair.settle()
    assert server.stats.packets_received >= len(sizes)
