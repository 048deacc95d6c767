"""Path validation: PATH_CHALLENGE and PATH_RESPONSE, their sizes, times and paths (RFC 9000 section 8.2)."""

import itertools
from collections.abc import Callable

import pytest

from stack.connection import Connection
from stack.errors import NO_VIABLE_PATH
from stack.events import ConnectionEnded, PathFailed, PathValidated
from stack.limits import MAX_PATH_RESPONSES, MAX_PATHS
from stack.wire.decoded_frames import ConnectionCloseFrame, PathChallengeFrame, PathResponseFrame, PingFrame
from stack.wire.frames import encode_path_challenge, encode_path_response
from tests.support.pair import CLIENT_ADDRESS, MS, SERVER_ADDRESS, Datagram, Pair, say
from tests.support.recorder import Packet

ELSEWHERE = ("10.0.3.3", 3333)
SECOND_ADDRESS = ("10.0.1.1", 1111)  # of the client


def carrying(pair: Pair, connection: Connection, kind: type) -> list[tuple[Datagram, Packet]]:
    """The datagrams of a connection that carry a frame of type `kind`, with the packet that has it."""
    return [
        (datagram, packet)
        for datagram, packets in pair.datagrams_of(connection)
        for packet in packets
        if any(type(frame) is kind for frame in packet.frames)
    ]


def only_from(*sources: tuple[str, int]) -> Callable[[Datagram], bool]:
    """Lose what comes from, or goes to, any other client address."""
    return lambda datagram: (datagram.source if datagram.to_server else datagram.destination) not in sources


@pytest.mark.requirement("rfc9000:8.2.1:2")
@pytest.mark.requirement("rfc9000:8.2.1:4")
@pytest.mark.requirement("rfc9000:8.2.1:5")
@pytest.mark.requirement("rfc9000:8.2.2:1")
@pytest.mark.requirement("rfc9000:8.2.2:2")
@pytest.mark.requirement("rfc9000:8.2.2:3")
@pytest.mark.requirement("rfc9000:8.2.2:5")
@pytest.mark.requirement("rfc9000:19.17:1")
def test_a_challenge_fills_a_datagram_and_its_echo_comes_back_at_once_on_the_same_path() -> None:
    pair = Pair()
    client, server = pair.established()
    started = pair.now
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.run_for(30 * MS)
    challenges = carrying(pair, client, PathChallengeFrame) + carrying(pair, server, PathChallengeFrame)
    datas = [frame.data for _, packet in challenges for frame in packet.frames if isinstance(frame, PathChallengeFrame)]
    assert len(challenges) == len(datas) == len(set(datas)) == 3
    (first, packet), *_ = carrying(pair, client, PathChallengeFrame)
    assert (first.at, first.source, len(first.payload)) == (started, SECOND_ADDRESS, 1200)
    (answer, reply), *_ = carrying(pair, server, PathResponseFrame)
    assert (answer.at, answer.destination, len(answer.payload)) == (started + 10 * MS, SECOND_ADDRESS, 1200)
    echoes = [frame.data for frame in reply.frames if isinstance(frame, PathResponseFrame)]
    assert echoes == [frame.data for frame in packet.frames if isinstance(frame, PathChallengeFrame)]
    assert PathValidated(SECOND_ADDRESS, SERVER_ADDRESS) in pair.client_events


@pytest.mark.requirement("rfc9000:8.2.1:3")
@pytest.mark.requirement("rfc9000:8.2.4:1")
@pytest.mark.requirement("rfc9000:8.2.4:2")
@pytest.mark.requirement("rfc9000:9.4:4")
def test_challenges_repeat_like_initial_packets_until_three_timeouts_have_passed() -> None:
    pair = Pair()
    client, _ = pair.established()
    pair.drop = only_from(CLIENT_ADDRESS)
    started = pair.now
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.run(lambda: PathFailed(SECOND_ADDRESS, SERVER_ADDRESS) in pair.client_events)
    assert [(datagram.at - started) // MS for datagram, _ in carrying(pair, client, PathChallengeFrame)] == [0, 999]
    assert pair.now - started == 3 * 999 * MS
    assert client.path.local == CLIENT_ADDRESS
    assert pair.transfer(client, pair.server_connection or client, b"still here")[1] == b"still here"


@pytest.mark.requirement("rfc9000:8.2.1:6")
@pytest.mark.requirement("rfc9000:8.2.1:7")
@pytest.mark.requirement("rfc9000:8.2.3:1")
def test_a_challenge_that_had_to_be_small_is_followed_by_one_of_full_size() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.rebind(ELSEWHERE)
    say(client)
    pair.run_for(100 * MS)
    sizes = [
        len(datagram.payload)
        for datagram, _ in carrying(pair, server, PathChallengeFrame)
        if datagram.destination == ELSEWHERE
    ]
    assert sizes[0] < 150, "three times what the client's small packet had"
    assert sizes[1:] == [1200]
    assert server.path.validated
    assert not server.path.validation.under_way


@pytest.mark.requirement("rfc9000:8.2.2:4")
@pytest.mark.requirement("rfc9002:6.2.2:3")
def test_an_answer_counts_on_whatever_path_it_comes() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.drop = lambda datagram: not datagram.to_server and datagram.destination == SECOND_ADDRESS
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.run_for(30 * MS)
    assert client.path.local == CLIENT_ADDRESS
    _, packet = carrying(pair, client, PathChallengeFrame)[0]
    data = next(frame.data for frame in packet.frames if isinstance(frame, PathChallengeFrame))
    pair.inject(server, encode_path_response(data))
    assert client.path.local == SECOND_ADDRESS
    assert client.path.rtt.first_sample_at is None, "the time until the answer is no sample"


@pytest.mark.requirement("rfc9000:8.2.2:6")
@pytest.mark.requirement("rfc9000:8:1")
def test_an_answer_to_a_small_challenge_from_a_new_address_stays_within_the_amplification_limit() -> None:
    pair = Pair()
    client, server = pair.established()
    probe = pair.craft(client, encode_path_challenge(b"01234567"))
    pair.server.receive(probe, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    pair.flush()
    answers = [datagram for datagram in pair.sent if datagram.destination == ELSEWHERE]
    assert answers
    assert sum(len(datagram.payload) for datagram in answers) <= 3 * len(probe)
    (answer, packet), *_ = carrying(pair, server, PathResponseFrame)
    assert answer.destination == ELSEWHERE
    assert PathResponseFrame(b"01234567") in packet.frames


@pytest.mark.requirement("rfc9000:8.2.2:7")
def test_a_lost_answer_is_not_repeated() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.drop = lambda datagram: not datagram.to_server
    pair.inject(client, encode_path_challenge(b"01234567"))
    pair.run_for(500 * MS)
    assert len(carrying(pair, server, PathResponseFrame)) == 1
    assert pair.recorder_of(server).sent[-1].at > pair.now - 400 * MS, "probes did go out meanwhile"


@pytest.mark.requirement("rfc9000:19.18:1")
def test_an_answer_to_nothing_is_ignored() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, encode_path_response(b"01234567"))
    pair.settle()
    assert not server.closed


@pytest.mark.requirement("rfc9000:9.3.3:2")
def test_a_challenge_on_the_active_path_is_answered_by_more_than_a_probe() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, encode_path_challenge(b"01234567"))
    pair.flush()
    (_, packet), *_ = carrying(pair, server, PathResponseFrame)
    assert PingFrame() in packet.frames


def test_a_flood_of_challenges_in_one_packet_is_answered_in_part() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, b"".join(encode_path_challenge(number.to_bytes(8)) for number in range(100)))
    assert len(server.path.responses) == MAX_PATH_RESPONSES
    pair.flush()
    answered = pair.recorder_of(server).sent_frames(PathResponseFrame)
    assert len(answered) == MAX_PATH_RESPONSES
    pair.inject(client, encode_path_challenge(b"01234567"))
    pair.flush()
    assert PathResponseFrame(b"01234567") in pair.recorder_of(server).sent_frames(PathResponseFrame)


def test_probes_from_many_addresses_leave_few_paths_and_the_connection_where_it_was() -> None:
    pair = Pair()
    client, server = pair.established()
    for port in range(1000, 1200):
        probe = pair.craft(client, encode_path_challenge(b"01234567"))
        pair.server.receive(probe, ("10.6.6.6", port), SERVER_ADDRESS, 0, pair.now)
        pair.flush()
        assert len(server.paths.all) <= MAX_PATHS
    assert server.path.remote == CLIENT_ADDRESS
    assert pair.transfer(client, server, bytes(10_000))[1] == bytes(10_000)
    pair.settle(4_000 * MS)
    assert len(server.paths.all) == 1


def test_without_any_path_for_full_datagrams_the_connection_ends_with_no_viable_path() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.rebind(ELSEWHERE)
    pair.drop = lambda datagram: not datagram.to_server and len(datagram.payload) >= 1200
    say(client)
    pair.run(lambda: server.closed)
    ended = next(event for event in pair.server_events if isinstance(event, ConnectionEnded))
    assert (ended.code, ended.remote) == (NO_VIABLE_PATH, False)
    pair.flush()
    assert carrying(pair, server, ConnectionCloseFrame)


@pytest.mark.requirement("rfc9000:9.3.2:2")
def test_without_any_path_the_connection_ends_silently() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.rebind(ELSEWHERE)
    pair.drop = lambda datagram: not datagram.to_server
    say(client)
    pair.run(lambda: server.closed)
    pair.run_for(100 * MS)
    assert not carrying(pair, server, ConnectionCloseFrame)
    assert not pair.server.connections, "all state is discarded"


@pytest.mark.requirement("rfc9000:8.2.1:3")
def test_a_challenge_is_repeated_sooner_once_the_round_trip_time_of_the_path_is_known() -> None:
    pair = Pair()
    client, server = pair.established()
    # the answers get lost, but packets in both directions show how long the path is
    pair.drop = lambda datagram: datagram.to_server and len(datagram.payload) >= 1200
    pair.rebind(ELSEWHERE)
    say(client)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, bytes(20))
    moved_at = pair.now + pair.delay_ns
    pair.run_for(1000 * MS)
    times = [
        datagram.at - moved_at
        for datagram, _ in carrying(pair, server, PathChallengeFrame)
        if datagram.destination == ELSEWHERE
    ]
    assert server.path.rtt.first_sample_at is not None
    assert len(times) >= 4
    assert times[1] < 100 * MS
    assert all(later - earlier >= 40 * MS for earlier, later in itertools.pairwise(times))
