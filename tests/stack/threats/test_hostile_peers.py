"""A peer with keys that lies or spins: acknowledgments, connection IDs, paths, and a connection that is closing."""

import pytest

from stack.connection import Connection
from stack.errors import CONNECTION_ID_LIMIT_ERROR, FRAME_ENCODING_ERROR
from stack.events import ConnectionEnded
from stack.limits import (
    MAX_ACK_ONLY_PACKETS,
    MAX_DATAGRAMS_PER_TRANSMIT,
    MAX_ISSUED_CONNECTION_IDS,
    MAX_NON_ELICITING_PACKETS,
    MAX_PATHS,
    MAX_REASON_LENGTH,
    RETIREMENTS_PER_CONNECTION_ID,
    SMALL_DATA,
)
from stack.wire.decoded_frames import NewConnectionIdFrame, PathChallengeFrame
from stack.wire.frames import (
    encode_ack,
    encode_connection_close,
    encode_new_connection_id,
    encode_path_challenge,
    encode_path_response,
    encode_retire_connection_id,
    encode_stream_header,
)
from stack.wire.varint import encode_varint
from tests.support.attack import acknowledgment, forged_address
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Pair
from tests.support.toll import held, lines_run

ELSEWHERE = ("10.0.3.3", 3333)
PING = b"\x01"
STEP_NS = 100_000


def code_of(connection: Connection) -> int | None:
    ended = connection.closing.ended
    return None if ended is None else ended.code


def answers(pair: Pair, payload: bytes, client: Connection, source: tuple[str, int] = CLIENT_ADDRESS) -> list[bytes]:
    """What the server sends at once when a packet with these frames comes from its client."""
    pair.server.receive(pair.craft(client, payload), source, SERVER_ADDRESS, 0, pair.now)
    pair.now += STEP_NS
    transmits = pair.server.transmit(pair.now)
    for transmit in transmits:
        if transmit.destination == CLIENT_ADDRESS:
            pair.deliver(transmit.payload, to_server=False)
    return [transmit.payload for transmit in transmits]


# Acknowledgments


@pytest.mark.parametrize("count", [64, 600, 1 << 60])
def test_the_work_for_an_ack_frame_is_bounded_by_its_bytes(count: int) -> None:
    """However many ranges it claims to have."""
    pair = Pair()
    client, server = pair.established()
    head = b"\x02" + encode_varint(4_000) + b"\0" + encode_varint(count) + b"\0"
    body = b"\0\0" * min(count, 570)
    server.spaces[2].next_packet_number = 5_000  # as if it had sent so many
    server.spaces[2].skipped = ()
    frames = head + body
    packet = pair.craft(client, frames)
    assert lines_run(lambda: pair.deliver(packet, to_server=True)) <= 400 + 20 * len(frames)
    assert code_of(server) == (None if count <= 570 else FRAME_ENCODING_ERROR)


def test_repeated_acks_cost_the_same_each_time() -> None:
    pair = Pair(server={"pacing": False})
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.path.congestion.congestion_window = 1 << 20
    assert server.write(stream_id, bytes(500_000)) == 500_000
    pair.server.transmit(pair.now)
    space = server.spaces[2]
    assert len(space.sent) > 50
    sent = [packet.packet_number for packet in space.sent]
    frames = encode_ack([(sent[-1], sent[-1]), (sent[0], sent[0])], 0)
    answers(pair, frames, client)
    first = lines_run(lambda: answers(pair, frames, client))
    for _ in range(2_000):
        answers(pair, frames, client)
    assert lines_run(lambda: answers(pair, frames, client)) <= first + 50


def test_a_peer_that_never_acknowledges_is_not_remembered_packet_by_packet() -> None:
    """Every second PING makes us send an ACK; the PINGs that ask for an ACK of them stay within the window."""
    pair = Pair(server={"ecn": False})
    client, server = pair.established()
    sent = 0
    for _ in range(8 * MAX_ACK_ONLY_PACKETS):
        sent += len(answers(pair, PING, client))
    assert sent >= 4 * MAX_ACK_ONLY_PACKETS
    pings = sent // MAX_NON_ELICITING_PACKETS
    assert len(server.spaces[2].sent) <= 2 * MAX_ACK_ONLY_PACKETS + pings
    assert server.path.bytes_in_flight <= server.path.congestion.congestion_window
    assert pair.transfer(client, server, b"still here")[1] == b"still here"


def test_a_handshake_that_is_never_confirmed_leaves_no_record_of_every_packet(patch_stack: pytest.MonkeyPatch) -> None:
    """While several packet number spaces are in use, a client keeps the times of what was acknowledged."""
    patch_stack.setattr("stack.handshake.encode_handshake_done", lambda: PING)
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    server = pair.server_connection
    assert server is not None
    for _ in range(2):  # until the windows are as large as they get
        pair.transfer(client, server, bytes(1 << 20))
    pair.settle()
    before = held(pair.client)
    pair.transfer(client, server, bytes(3 << 20))
    pair.settle()
    assert not client.handshake_confirmed
    assert held(pair.client) <= before + 8_192


def test_pings_for_acks_stop_at_a_full_window() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, bytes(50_000))
    pair.drop = lambda datagram: not datagram.to_server
    pair.run_for(15 * MS)
    full = server.path.bytes_in_flight
    for _ in range(10 * 2 * MAX_NON_ELICITING_PACKETS):
        answers(pair, PING, client)
    assert full <= server.path.bytes_in_flight <= server.path.congestion.congestion_window + 100


# Connection IDs


@pytest.mark.parametrize("acknowledged", [True, False])
def test_ids_that_retire_all_before_them_are_bounded_by_what_is_acknowledged(acknowledged: bool) -> None:
    pair = Pair(server={"active_connection_id_limit": 4})
    client, server = pair.established()
    before = held(pair.server)
    first = 1 + max(client.local_ids.by_sequence)
    count = 0
    for sequence in range(first, first + 2_000):
        frame = encode_new_connection_id(sequence, sequence, b"hostile" + sequence.to_bytes(8), bytes(16))
        if acknowledged:
            frame += acknowledgment(server)
        if not answers(pair, frame, client) and server.closed:
            break
        count += 1
        if server.closed:
            break
    if acknowledged:
        assert not server.closed
    else:
        assert code_of(server) == CONNECTION_ID_LIMIT_ERROR
        assert count <= RETIREMENTS_PER_CONNECTION_ID * 4 + 1
    assert held(pair.server) <= before + 16_384


@pytest.mark.parametrize("acknowledged", [True, False])
def test_retired_ids_are_replaced_within_the_window_and_few_at_a_time(
    acknowledged: bool, patch_stack: pytest.MonkeyPatch
) -> None:
    patch_stack.setattr("stack.recovery.loss.MAX_ACK_ONLY_PACKETS", 64)
    pair = Pair()
    client, server = pair.established()
    in_use = client.remote_ids.current
    routes = len(pair.server._by_cid)
    before = held(pair.server)
    for _ in range(1_000):
        victims = [number for number, value in server.local_ids.by_sequence.items() if value != in_use]
        told = max(frame.sequence_number for frame in issued(pair, server))
        frames = b"".join(encode_retire_connection_id(number) for number in victims if number <= told)
        if acknowledged:
            frames += acknowledgment(server)
        answers(pair, frames + PING, client)
        assert len(server.local_ids.by_sequence) == MAX_ISSUED_CONNECTION_IDS
    assert len(pair.server._by_cid) == routes
    assert held(pair.server) <= before + 131_072  # 64 ACKs, and a window full of small packets
    if not acknowledged:
        assert server.path.bytes_in_flight <= server.path.congestion.congestion_window + 1_200
    assert not server.closed


def issued(pair: Pair, server: Connection) -> list[NewConnectionIdFrame]:
    frames = pair.recorder_of(server).sent_frames(NewConnectionIdFrame)
    return [frame for frame in frames if isinstance(frame, NewConnectionIdFrame)]


# Paths


def test_a_peer_that_jumps_between_addresses_gets_one_challenge_per_validation() -> None:
    """Not one of 1,200 bytes for each small packet."""
    pair = Pair()
    client, server = pair.established()
    received = sent = 0
    for number in range(2_000):
        source = ELSEWHERE if number % 2 else CLIENT_ADDRESS
        payload = PING + acknowledgment(server)
        received += len(payload) + 30
        sent += sum(map(len, answers(pair, payload, client, source)))
    assert len(pair.recorder_of(server).sent_frames(PathChallengeFrame)) <= 8
    assert sent <= received + 8 * 1_200
    pair.run_for(5_000 * MS)
    assert pair.transfer(client, server, b"still here")[1] == b"still here"


def test_an_answer_that_is_repeated_calls_for_nothing_more() -> None:
    """A small challenge is followed by one of full size, once."""
    pair = Pair()
    client, server = pair.established()
    started = pair.now
    answers(pair, PING, client, ELSEWHERE)
    data = [getattr(frame, "data", b"") for frame in pair.recorder_of(server).sent_frames(PathChallengeFrame, started)]
    assert len(data) == 2, "one to the new address, one to the old"
    for number in range(1_000):
        answers(pair, encode_path_response(data[number % 2]), client, ELSEWHERE)
    challenges = pair.recorder_of(server).sent_frames(PathChallengeFrame, started)
    assert len(challenges) == 3, "and one of full size"


def test_challenges_from_many_addresses_leave_few_paths_and_small_answers(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.recovery.loss.MAX_ACK_ONLY_PACKETS", 64)
    pair = Pair()
    client, server = pair.established()
    memory = 0
    received = sent = 0
    for number in range(2_000):
        source = forged_address(number)
        packet = pair.craft(client, encode_path_challenge(number.to_bytes(8)))
        pair.server.receive(packet, source, SERVER_ADDRESS, 0, pair.now)
        pair.now += STEP_NS
        received += len(packet)
        sent += sum(len(answer.payload) for answer in pair.server.transmit(pair.now) if answer.destination == source)
        assert len(server.paths.all) <= MAX_PATHS
        if number == 500:
            memory = held(pair.server)
    assert held(pair.server) <= memory + 65_536
    assert sent <= 3 * received
    assert server.path.remote == CLIENT_ADDRESS


# Sending, and the end


def test_one_connection_sends_few_datagrams_at_a_time() -> None:
    pair = Pair(server={"pacing": False})
    _, server = pair.established()
    server.path.congestion.congestion_window = 1 << 30
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, bytes(900_000))
    sizes = []
    while batch := pair.server.transmit(pair.now):
        sizes.append(len(batch))
        deadline = pair.server.deadline()
        assert deadline is not None
        if deadline > pair.now:
            break
        pair.server.timeout(pair.now)
    assert max(sizes) == MAX_DATAGRAMS_PER_TRANSMIT
    assert len(sizes) > 5


def test_a_stream_of_single_bytes_takes_little_more_than_its_bytes() -> None:
    """While the application does not read."""
    pair = Pair()
    client, server = pair.established()
    before = held(pair.server)
    count = 3_000
    for offset in range(0, 10 * count, 10):
        pair.inject(client, encode_stream_header(0, offset, 10, False) + offset.to_bytes(10))
        pair.server.transmit(pair.now)
    assert SMALL_DATA > 10
    assert held(pair.server) - before <= 10 * count + 8_192 + 300 * MAX_ACK_ONLY_PACKETS * 2
    data, _ = server.read(0)
    assert len(data) == 10 * count


@pytest.mark.parametrize("frames", [PING, b"", b"\x1f", bytes(1_000), encode_ack([(0, 1 << 40)], 0)])
def test_a_closing_connection_answers_a_flood_ever_more_rarely(frames: bytes) -> None:
    """Whatever is in the packets: nothing of it is processed but CONNECTION_CLOSE."""
    pair = Pair()
    client, server = pair.established()
    server.close(pair.now, 7, "x" * 10_000)
    (close,) = pair.server.transmit(pair.now)
    assert MAX_REASON_LENGTH < len(close.payload) < MAX_REASON_LENGTH + 100
    before = held(pair.server)
    sent = 0
    for _ in range(4_095):
        pair.inject(client, frames)
        sent += len(pair.server.transmit(pair.now))
    assert sent == 12
    assert held(pair.server) <= before + 8_192
    assert len([event for event in pair.server_events if isinstance(event, ConnectionEnded)]) == 1


def test_the_longest_reason_of_a_peer_is_a_packet_long_and_told_once() -> None:
    pair = Pair()
    client, _ = pair.established()
    for _ in range(1_000):
        pair.inject(client, encode_connection_close(7, None, b"y" * 1_100) + PING)
    (ended,) = [event for event in pair.server_events if isinstance(event, ConnectionEnded)]
    assert ended.reason == "y" * 1_100
    assert pair.server.transmit(pair.now) == []
    pair.run_for(4_000 * MS)
    assert pair.server.connections == {}
