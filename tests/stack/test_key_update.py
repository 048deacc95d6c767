"""Key update between two endpoints, and what breaks its rules (RFC 9001 section 6)."""

from itertools import pairwise
from typing import Any

import pytest

from stack.connection import Connection
from stack.crypto.packet_protection import Keys, PacketProtection, protect_packet
from stack.errors import KEY_UPDATE_ERROR, ConnectionClosed, KeyUpdateError
from stack.wire.decoded_frames import AckFrame, PingFrame
from stack.wire.frames import encode_ack
from stack.wire.header import KEY_PHASE_BIT
from stack.wire.versions import VERSION_2
from tests.support.pair import MS, SECOND, Pair

PING = b"\x01"

from_either_end = pytest.mark.parametrize("by_client", [True, False])


def ends(pair: Pair, by_client: bool) -> tuple[Connection, Connection]:
    """The end that begins, and the other, both with a confirmed handshake."""
    client, server = pair.established()
    return (client, server) if by_client else (server, client)


def phases(pair: Pair, connection: Connection, since: int = 0) -> list[int]:
    """The Key Phase bits of the 1-RTT packets that a connection sent."""
    sent = pair.recorder_of(connection).sent
    return [packet.key_phase for packet in sent if packet.packet_type == "1RTT" and packet.at >= since]


def code_of(connection: Connection) -> int | None:
    """The code with which a connection closed because of its peer."""
    ended = connection.closing.ended
    return None if ended is None or ended.remote else ended.code


def write_keys(connection: Connection) -> Keys:
    keys = connection.spaces[2].write_keys
    assert keys is not None
    return keys


def craft(sender: Connection, keys: Keys, phase: int, number: int, payload: bytes = PING + bytes(4)) -> bytes:
    """A packet in a key phase of the test's choice."""
    first = 0x43 | (KEY_PHASE_BIT if phase % 2 else 0)
    header = bytes((first,)) + (sender.path.remote_id.value or b"") + number.to_bytes(4)
    return protect_packet(keys, header, 4, number, payload)


def later(keys: Keys, phases: int = 1) -> Keys:
    """The keys so many phases later."""
    protection: PacketProtection = keys.protection
    for _ in range(phases):
        protection = protection.next_generation()
    return Keys(protection, keys.header)


# In order


@pytest.mark.requirement("rfc9001:6.2:1")
@pytest.mark.requirement("rfc9001:6.2:2")
@from_either_end
@pytest.mark.parametrize("version", [1, VERSION_2])
def test_the_other_end_follows_before_it_acknowledges(by_client: bool, version: int) -> None:
    pair = Pair(client={"versions": (version,)}, server={"versions": (version,)})
    first, second = ends(pair, by_client)
    start = pair.now
    first.update_keys(pair.now)
    pair.settle()
    assert set(phases(pair, first, start)) == set(phases(pair, second, start)) == {1}
    answer = next(packet for packet in pair.recorder_of(second).sent if packet.at >= start)
    assert answer.at == start + 10 * MS
    assert answer.key_phase == 1
    assert any(isinstance(frame, AckFrame) for frame in answer.frames)
    mine, theirs = ("client", "server") if by_client else ("server", "client")
    assert pair.recorder_of(first).key_updates == [
        (start, f"{mine}_1rtt_secret", "local_update", 1),
        (answer.at + 10 * MS, f"{theirs}_1rtt_secret", "local_update", 1),
    ]
    assert pair.recorder_of(second).key_updates == [
        (start + 10 * MS, f"{theirs}_1rtt_secret", "remote_update", 1),
        (start + 10 * MS, f"{mine}_1rtt_secret", "remote_update", 1),
    ]
    assert pair.transfer(first, second, bytes(100_000))[1] == bytes(100_000)
    assert first.stats.packets_dropped == second.stats.packets_dropped == 0


@pytest.mark.requirement("rfc9001:6.3:5")
@pytest.mark.requirement("rfc9001:9.5:3")
@from_either_end
def test_keys_can_be_updated_again_and_again(by_client: bool) -> None:
    pair = Pair()
    first, second = ends(pair, by_client)
    for phase in range(1, 8):
        initiator = (first, second)[phase % 2]
        initiator.update_keys(pair.now)
        assert pair.transfer(first, second, bytes(30_000))[1] == bytes(30_000)
        pair.settle()
        assert (first.key_phases.write, first.key_phases.read) == (phase, phase)
        assert (second.key_phases.write, second.key_phases.read) == (phase, phase)
        assert phases(pair, first)[-1] == phases(pair, second)[-1] == phase % 2
    assert first.stats.packets_dropped == second.stats.packets_dropped == 0


def test_both_ends_may_begin_at_the_same_time() -> None:
    pair = Pair()
    client, server = pair.established()
    client.update_keys(pair.now)
    server.update_keys(pair.now)
    assert pair.transfer(client, server, bytes(30_000))[1] == bytes(30_000)
    for end in (client, server):
        assert (end.key_phases.write, end.key_phases.read) == (1, 1)
        assert {trigger for _, _, trigger, _ in pair.recorder_of(end).key_updates} == {"local_update"}
    assert client.stats.packets_dropped == server.stats.packets_dropped == 0


@from_either_end
@pytest.mark.parametrize("seed", range(5))
def test_updates_survive_loss(by_client: bool, seed: int) -> None:
    pair = Pair(seed=seed)
    first, second = ends(pair, by_client)
    lost = iter(range(10**6))
    pair.drop = lambda datagram: (next(lost) * 7 + seed) % 5 == 0
    data = bytes(range(256)) * 400
    for phase in range(1, 6):
        first.update_keys(pair.now)
        assert pair.transfer(first, second, data)[1] == data
        pair.settle(5 * SECOND)
        assert (first.key_phases.write, second.key_phases.write) == (phase, phase)
    assert not first.closed
    assert not second.closed


def test_header_protection_keys_stay() -> None:
    pair = Pair()
    client, _ = pair.established()
    before = write_keys(client)
    client.update_keys(pair.now)
    pair.settle()
    after = write_keys(client)
    assert after.header is before.header
    assert after.protection is not before.protection


def test_a_ping_tells_the_new_phase_when_there_is_nothing_else_to_send() -> None:
    pair = Pair()
    client, _ = pair.established()
    client.update_keys(pair.now)
    pair.flush()
    assert PingFrame() in pair.recorder_of(client).sent[-1].frames


# When an update may begin


@pytest.mark.requirement("rfc9001:6.1:1")
def test_no_update_begins_before_the_handshake_is_confirmed() -> None:
    pair = Pair()
    client = pair.connect()
    with pytest.raises(KeyUpdateError, match="confirmed"):
        client.update_keys(pair.now)
    pair.run(lambda: client.handshake_complete)
    assert not client.handshake_confirmed
    with pytest.raises(KeyUpdateError, match="confirmed"):
        client.update_keys(pair.now)
    pair.run(lambda: client.handshake_confirmed)
    client.update_keys(pair.now)
    pair.settle()
    assert client.key_phases.read == 1


@pytest.mark.requirement("rfc9001:6.1:2")
@pytest.mark.requirement("rfc9001:6.5:3")
@from_either_end
@pytest.mark.parametrize("began", [True, False])
def test_the_next_update_waits_for_an_ack_of_the_phase_and_three_ptos(by_client: bool, began: bool) -> None:
    pair = Pair()
    first, second = ends(pair, by_client)
    first.update_keys(pair.now)
    waiting = first if began else second
    pair.drop = lambda datagram: datagram.to_server == waiting.is_client and waiting.key_phases.write == 1
    pair.run_for(2 * SECOND)
    if began:
        assert second.key_phases.write == 0
    with pytest.raises(KeyUpdateError, match="acknowledged a packet of key phase 1"):
        waiting.update_keys(pair.now)
    pair.drop = None

    def acknowledged() -> bool:
        try:
            waiting.update_keys(pair.now)
        except KeyUpdateError as error:
            return "three PTOs" in str(error)
        raise AssertionError("too early")

    pair.run(acknowledged)
    acknowledged_at = pair.now
    newest = pair.recorder_of(waiting).received[-1]
    assert newest.at == acknowledged_at
    assert any(isinstance(frame, AckFrame) for frame in newest.frames)
    pto = waiting.recovery.timer.pto_ns()
    pair.run_until(acknowledged_at + 3 * pto - 1)
    with pytest.raises(KeyUpdateError, match="three PTOs"):
        waiting.update_keys(pair.now)
    pair.run_until(acknowledged_at + 3 * pto)
    waiting.update_keys(pair.now)
    pair.settle()
    assert (first.key_phases.write, second.key_phases.write) == (2, 2)


def test_a_closed_connection_has_no_keys_to_update() -> None:
    pair = Pair()
    client, _ = pair.established()
    client.close(pair.now)
    with pytest.raises(ConnectionClosed):
        client.update_keys(pair.now)


# Old keys


@pytest.mark.requirement("rfc9001:6.1:3")
@from_either_end
def test_old_read_keys_stay_until_the_other_end_has_followed(by_client: bool) -> None:
    pair = Pair()
    first, second = ends(pair, by_client)
    first.update_keys(pair.now)
    pair.drop = lambda datagram: datagram.to_server == by_client
    pair.run_for(5 * SECOND)  # the other end knows nothing of it
    stream_id = second.open_stream()
    assert stream_id is not None
    second.write(stream_id, b"in the old phase", True)
    pair.run_for(20 * MS)
    assert first.read(stream_id) == (b"in the old phase", True)
    assert first.stats.packets_dropped == 0


@pytest.mark.requirement("rfc9001:6.1:4")
@pytest.mark.requirement("rfc9001:6.5:4")
@pytest.mark.requirement("rfc9001:6.5:5")
@from_either_end
def test_old_read_keys_serve_late_packets_for_three_ptos(by_client: bool) -> None:
    pair = Pair()
    sender, receiver = ends(pair, by_client)
    old = write_keys(sender)
    number = sender.spaces[2].next_packet_number
    late = [craft(sender, old, 0, number + index) for index in range(2)]
    sender.spaces[2].next_packet_number = number + 2
    sender.update_keys(pair.now)
    pair.run(lambda: receiver.key_phases.read == 1)
    updated_at, pto = pair.now, receiver.recovery.timer.pto_ns()
    assert receiver.key_phases.discard_at == updated_at + 3 * pto
    pair.run_until(updated_at + 3 * pto - 1)
    received = receiver.stats.packets_received
    pair.deliver(late[0], to_server=by_client)
    assert receiver.stats.packets_received == received + 1
    pair.run_until(updated_at + 3 * pto)
    pair.deliver(late[1], to_server=by_client)
    assert receiver.stats.packets_received == received + 1
    assert pair.recorder_of(receiver).dropped == [(pair.now, "1RTT", "decryption_failure")]
    assert not receiver.closed


def test_a_late_packet_that_comes_twice_counts_once() -> None:
    pair = Pair()
    client, server = pair.established()
    number = client.spaces[2].next_packet_number
    late = craft(client, write_keys(client), 0, number)
    client.spaces[2].next_packet_number += 1
    client.update_keys(pair.now)
    pair.run(lambda: server.key_phases.read == 1)
    for _ in range(2):
        pair.deliver(late, to_server=True)
    assert [trigger for _, _, trigger in pair.recorder_of(server).dropped] == ["duplicate"]


# Attacks and errors


@pytest.mark.requirement("rfc9001:6.4:1")
def test_keys_never_get_older_as_packet_numbers_grow() -> None:
    pair = Pair()
    client, server = pair.established()
    for _ in range(4):
        client.update_keys(pair.now)
        pair.transfer(client, server, bytes(50_000))
        pair.settle()
    for end in (client, server):
        changes = phases(pair, end)
        assert sum(1 for one, two in pairwise(changes) if one != two) == 4


@pytest.mark.requirement("rfc9001:6.4:2")
@from_either_end
@pytest.mark.parametrize("bit_lies", [False, True])
def test_old_keys_on_a_later_packet_are_an_error(by_client: bool, bit_lies: bool) -> None:
    pair = Pair()
    sender, receiver = ends(pair, by_client)
    old = write_keys(sender)
    sender.update_keys(pair.now)
    pair.run(lambda: receiver.key_phases.read == 1)
    phase = 1 if bit_lies else 0
    pair.deliver(craft(sender, old, phase, sender.spaces[2].next_packet_number), to_server=by_client)
    assert code_of(receiver) == KEY_UPDATE_ERROR


@pytest.mark.requirement("rfc9001:6.4:2")
@pytest.mark.parametrize("old_first", [True, False])
def test_old_keys_on_a_later_packet_are_an_error_whichever_comes_first(old_first: bool) -> None:
    """Packet n has new keys and n+1 old ones; n+2 has come before both, with new keys."""
    pair = Pair()
    client, server = pair.established()
    old = write_keys(client)
    number = client.spaces[2].next_packet_number
    newer = craft(client, later(old), 1, number)
    older = craft(client, old, 0, number + 1)
    pair.deliver(craft(client, later(old), 1, number + 2), to_server=True)
    for packet in (older, newer) if old_first else (newer, older):
        assert code_of(server) is None
        pair.deliver(packet, to_server=True)
    assert code_of(server) == KEY_UPDATE_ERROR


@pytest.mark.requirement("rfc9001:5.5:1")
@pytest.mark.requirement("rfc9001:6.4:2")
def test_new_keys_on_an_earlier_packet_are_an_error() -> None:
    pair = Pair()
    client, server = pair.established()
    number = client.spaces[2].next_packet_number
    pair.deliver(craft(client, write_keys(client), 0, number + 1), to_server=True)
    pair.deliver(craft(client, later(write_keys(client)), 1, number), to_server=True)
    assert code_of(server) == KEY_UPDATE_ERROR


@from_either_end
def test_two_updates_in_a_row_without_an_ack_are_an_error(by_client: bool) -> None:
    """RFC 9001 section 6.2; a peer can't make us derive keys as fast as it can send packets."""
    pair = Pair()
    sender, receiver = ends(pair, by_client)
    keys, number = write_keys(sender), sender.spaces[2].next_packet_number
    pair.deliver(craft(sender, later(keys), 1, number), to_server=by_client)
    assert not receiver.closed
    pair.deliver(craft(sender, later(keys, 2), 2, number + 1), to_server=by_client)
    assert code_of(receiver) == KEY_UPDATE_ERROR
    assert receiver.key_phases.read == 1


@pytest.mark.requirement("rfc9001:5.5:1")
@pytest.mark.requirement("rfc9001:5.5:2")
@pytest.mark.requirement("rfc9001:6.3:4")
@from_either_end
def test_a_forged_update_changes_nothing(by_client: bool) -> None:
    pair = Pair()
    sender, receiver = ends(pair, by_client)
    keys, number = write_keys(sender), sender.spaces[2].next_packet_number
    genuine = craft(sender, later(keys), 1, number)
    # A wrong Key Phase bit, keys two phases ahead, and a damaged packet of the next phase
    forged = [
        craft(sender, keys, 1, number),
        craft(sender, later(keys, 2), 1, number),
        craft(sender, later(keys, 2), 0, number),
        genuine[:-1] + bytes((genuine[-1] ^ 1,)),
    ]
    for packet in forged:
        pair.deliver(packet, to_server=by_client)
    assert receiver.stats.packets_dropped == receiver.stats.packets_unauthentic == 4
    assert (receiver.key_phases.read, receiver.key_phases.write) == (0, 0)
    assert not receiver.closed
    pair.deliver(genuine, to_server=by_client)
    assert (receiver.key_phases.read, receiver.key_phases.write) == (1, 1)


@pytest.mark.requirement("rfc9001:6.3:1")
@pytest.mark.parametrize("updated", [False, True])
def test_refusing_a_packet_takes_the_same_work_whatever_its_phase(updated: bool, patch_stack: Any) -> None:
    pair = Pair()
    client, server = pair.established()
    if updated:
        client.update_keys(pair.now)
        pair.run(lambda: server.key_phases.read == 1)
    number = client.spaces[2].next_packet_number
    forged = [craft(client, later(write_keys(client), 5), phase, number) for phase in (0, 1)]
    calls: list[str] = []
    for name in ("open", "next_generation"):
        patch_stack.setattr(PacketProtection, name, _noting(name, getattr(PacketProtection, name), calls))
    for packet in forged:
        calls.clear()
        pair.deliver(packet, to_server=True)
        assert calls == ["open"] * (2 if updated else 1)


def _noting(name: str, method: Any, calls: list[str]) -> Any:
    def noted(*args: Any) -> Any:
        calls.append(name)
        return method(*args)

    return noted


def test_an_ack_of_the_phase_before_does_not_confirm_the_phase() -> None:
    pair = Pair()
    client, server = pair.established()
    client.update_keys(pair.now)
    pair.inject(server, encode_ack([(0, 0)], 0))
    pair.drop = lambda datagram: True
    pair.run_for(5 * SECOND)
    with pytest.raises(KeyUpdateError, match="acknowledged"):
        client.update_keys(pair.now)
