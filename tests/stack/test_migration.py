"""Connection migration: NAT rebinding, moves of the client, and the defences of RFC 9000 section 9."""

import pytest

from stack.connection import Connection
from stack.errors import MigrationError
from stack.events import NewToken, PathChanged, PathFailed, PathValidated
from stack.wire.decoded_frames import PathChallengeFrame, PathResponseFrame, RetireConnectionIdFrame, StreamFrame
from stack.wire.frames import encode_path_challenge, encode_path_response
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, SERVER_ADDRESS, Datagram, Pair, say

OTHER_PORT = ("10.0.0.1", 50_001)
ELSEWHERE = ("10.0.3.3", 3333)
SECOND_ADDRESS = ("10.0.1.1", 1111)  # of the client
DATA = bytes(range(256)) * 2_000


def to_and_from(address: tuple[str, int], datagram: Datagram) -> bool:
    return address in (datagram.source, datagram.destination)


def destination_cids(pair: Pair, connection: Connection) -> dict[tuple[str, int], set[bytes]]:
    """The IDs of the 1-RTT packets that a side sent, by the client's address."""
    found: dict[tuple[str, int], set[bytes]] = {}
    for datagram in pair.sent:
        if datagram.to_server == connection.is_client and not datagram.payload[0] & 0x80:
            address = datagram.source if datagram.to_server else datagram.destination
            found.setdefault(address, set()).add(datagram.payload[1:9])
    return found


# The network moves the client


@pytest.mark.parametrize("address", [OTHER_PORT, ELSEWHERE])
@pytest.mark.requirement("rfc9000:9:4")
@pytest.mark.requirement("rfc9000:9.3:1")
def test_a_transfer_goes_on_through_a_rebinding(address: tuple[str, int]) -> None:
    pair = Pair()
    client, server = pair.established()
    pair.rebind(address)
    rebound_at = pair.now
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert server.path.remote == address
    assert server.path.validated
    # the first datagram to the new address challenges it, and nothing goes to the old one but a challenge
    later = [(datagram, packets) for datagram, packets in pair.datagrams_of(server) if datagram.at > rebound_at]
    first = next(packets for datagram, packets in later if datagram.destination == address)
    assert any(isinstance(frame, PathChallengeFrame) for packet in first for frame in packet.frames)
    old = [packets for datagram, packets in later if datagram.destination == CLIENT_ADDRESS]
    assert old
    assert all(any(isinstance(frame, PathChallengeFrame) for frame in packets[0].frames) for packets in old)


def test_a_download_goes_on_through_a_rebinding() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    written = server.write(stream_id, DATA, True)
    assert written == len(DATA)
    pair.run_for(25 * MS)
    pair.rebind(ELSEWHERE)
    # Only ACKs come from the client; they are no probes
    assert pair.read_all(client, stream_id) == DATA
    assert server.path.remote == ELSEWHERE


def test_a_rebinding_every_200_ms_is_survived() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    for number in range(8):
        client.write(stream_id, DATA[number::8])
        pair.rebind(("10.0.0.1", 51_000 + number))
        pair.run_for(200 * MS)
        assert server.path.remote == ("10.0.0.1", 51_000 + number)
    client.write(stream_id, b"", True)
    pair.settle()
    assert server.read(stream_id) == (b"".join(DATA[number::8] for number in range(8)), True)


@pytest.mark.requirement("rfc9000:9:3")
def test_a_client_that_was_asked_to_stay_may_still_be_moved_by_its_nat() -> None:
    pair = Pair(server={"disable_active_migration": True})
    client, server = pair.established()
    pair.rebind(OTHER_PORT)
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert server.path.remote == OTHER_PORT


@pytest.mark.requirement("rfc9000:9.3:2")
@pytest.mark.requirement("rfc9000:8:1")
def test_an_unvalidated_address_gets_three_times_what_it_sent() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA)
    pair.rebind(ELSEWHERE)
    pair.drop = lambda datagram: not datagram.to_server  # so that no answer comes
    say(client)
    pair.run_for(2 * SECOND)
    received = sum(len(each.payload) for each in pair.sent if each.to_server and each.at > 600 * MS)
    sent = sum(len(each.payload) for each in pair.sent if each.destination == ELSEWHERE)
    assert 0 < sent <= 3 * received


@pytest.mark.requirement("rfc9000:9.3:4")
def test_a_client_at_a_new_address_gets_a_token_for_it() -> None:
    pair = Pair(server={"new_token": True})
    client, server = pair.established()
    pair.rebind(ELSEWHERE)
    say(client)
    pair.settle()
    tokens = [event for event in pair.client_events if isinstance(event, NewToken)]
    assert len(tokens) == len(set(tokens)) == 2
    again = pair.client.connect(ELSEWHERE, SERVER_ADDRESS, pair.now, "localhost", tokens[1])
    for transmit in pair.client.transmit(pair.now):
        pair.server.receive(transmit.payload, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    accepted = [each for each in pair.server.connections.values() if each is not server]
    assert [each.path.validated for each in accepted] == [True]
    assert not again.closed


# Attackers


@pytest.mark.requirement("rfc9000:9.3.2:1")
def test_a_server_whose_new_path_fails_goes_back_when_time_is_up() -> None:
    pair = Pair()
    client, server = pair.established()
    say(client)
    for transmit in pair.client.transmit(pair.now):
        pair.server.receive(transmit.payload, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    diverted_at = pair.now
    pair.drop = lambda datagram: datagram.to_server or datagram.destination == ELSEWHERE
    pair.flush()
    # The answer on the old path comes as a mere probe, which moves nothing yet
    (data,) = {
        frame.data
        for datagram, packets in pair.datagrams_of(server)
        for packet in packets
        for frame in packet.frames
        if isinstance(frame, PathChallengeFrame) and datagram.destination == CLIENT_ADDRESS
    }
    pair.inject(client, encode_path_response(data) + bytes(1100))
    assert server.path.remote == ELSEWHERE
    pair.run(lambda: PathFailed(SERVER_ADDRESS, ELSEWHERE) in pair.server_events)
    assert pair.now - diverted_at == 3 * 999 * MS
    assert server.path.remote == CLIENT_ADDRESS


@pytest.mark.requirement("rfc9000:9.3.3:1")
def test_the_old_path_is_challenged_and_wins_back_what_an_attacker_forwarded_faster() -> None:
    pair = Pair()
    client, server = pair.established()
    say(client)
    copies = pair.client.transmit(pair.now)
    for transmit in copies:
        pair.server.receive(transmit.payload, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    assert server.path.remote == ELSEWHERE
    for transmit in copies:  # the originals come later, and are duplicates
        pair.server.receive(transmit.payload, CLIENT_ADDRESS, SERVER_ADDRESS, 0, pair.now)
    pair.flush()
    challenged = [
        datagram.destination
        for datagram, packets in pair.datagrams_of(server)
        if any(isinstance(frame, PathChallengeFrame) for packet in packets for frame in packet.frames)
    ]
    assert set(challenged) == {CLIENT_ADDRESS, ELSEWHERE}
    pair.run_for(25 * MS)
    assert server.path.remote == CLIENT_ADDRESS


def test_an_old_packet_from_another_address_moves_nothing() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"one")
    held = pair.client.transmit(pair.now)
    client.write(stream_id, b"two")
    pair.flush()
    pair.run_for(15 * MS)
    for transmit in held:
        pair.server.receive(transmit.payload, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    pair.flush()
    assert server.path.remote == CLIENT_ADDRESS
    assert len(server.paths.all) == 1
    assert not [datagram for datagram in pair.sent if datagram.destination == ELSEWHERE]
    assert server.read(stream_id)[0] == b"onetwo", "though its data counts"


@pytest.mark.requirement("rfc9000:9:7")
@pytest.mark.requirement("rfc9000:9.6:1")
def test_a_client_drops_what_comes_from_an_unknown_server_address() -> None:
    pair = Pair()
    client, server = pair.established()
    say(server)
    received = client.stats.datagrams_received
    for transmit in pair.server.transmit(pair.now):
        pair.client.receive(transmit.payload, ("10.0.0.66", 4433), CLIENT_ADDRESS, 0, pair.now)
    assert client.stats.datagrams_received == received
    assert len(client.paths.all) == 1


def test_before_the_handshake_is_confirmed_a_server_drops_what_comes_from_elsewhere() -> None:
    pair = Pair()
    pair.connect()
    pair.run_for(15 * MS)
    server = pair.server_connection
    assert server is not None
    received = server.stats.datagrams_received
    pair.rebind(ELSEWHERE)
    pair.run_for(20 * MS)
    assert [each.at // MS for each in pair.sent if each.to_server] == [0, 20]
    assert not server.handshake_confirmed
    assert server.stats.datagrams_received == received


# The client moves


@pytest.mark.parametrize("probe", [True, False])
def test_a_client_moves_and_the_transfer_goes_on(probe: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    client.migrate(SECOND_ADDRESS, pair.now, probe)
    assert (client.path.local == SECOND_ADDRESS) is not probe
    assert pair.transfer(client, server, DATA)[1] == DATA
    pair.settle(4 * SECOND)
    assert client.path.local == server.path.remote == SECOND_ADDRESS
    assert client.path.validated
    assert server.path.validated
    assert [len(connection.paths.all) for connection in (client, server)] == [1, 1]
    assert PathChanged(SECOND_ADDRESS, SERVER_ADDRESS) in pair.client_events
    assert PathChanged(SERVER_ADDRESS, SECOND_ADDRESS) in pair.server_events


@pytest.mark.requirement("rfc9000:9.5:2")
@pytest.mark.requirement("rfc9000:9.5:3")
@pytest.mark.requirement("rfc9000:9.5:7")
@pytest.mark.requirement("rfc9000:5.1.2:1")
def test_each_path_has_connection_ids_of_its_own_and_those_of_the_old_one_are_retired() -> None:
    pair = Pair()
    client, server = pair.established()
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.transfer(client, server, DATA)
    pair.settle(4 * SECOND)
    for connection in (client, server):
        used = destination_cids(pair, connection)
        assert set(used) == {CLIENT_ADDRESS, SECOND_ADDRESS}
        assert not used[CLIENT_ADDRESS] & used[SECOND_ADDRESS]
        retired = pair.recorder_of(connection).sent_frames(RetireConnectionIdFrame)
        assert RetireConnectionIdFrame(0) in retired
    # and the next move is possible
    client.migrate(("10.0.2.2", 2222), pair.now)
    pair.settle()
    assert server.path.remote == ("10.0.2.2", 2222)


@pytest.mark.requirement("rfc9000:5.1.1:11")
def test_ten_moves_in_a_row_find_fresh_connection_ids() -> None:
    pair = Pair()
    client, server = pair.established()
    for number in range(10):
        client.migrate((f"10.0.{number + 1}.1", 1000), pair.now)
        pair.settle(4 * SECOND)
        assert client.path.local == server.path.remote == (f"10.0.{number + 1}.1", 1000)
    for connection in (client, server):
        used = destination_cids(pair, connection)
        assert len(used) == 11
        every = [one for some in used.values() for one in some]
        assert len(every) == len(set(every))


@pytest.mark.requirement("rfc9000:9:1")
def test_no_move_before_the_handshake_is_confirmed() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    with pytest.raises(MigrationError, match="not confirmed"):
        client.migrate(SECOND_ADDRESS, pair.now)
    pair.settle()
    assert {datagram.source for datagram in pair.sent if datagram.to_server} == {CLIENT_ADDRESS}


@pytest.mark.requirement("rfc9000:9:2")
@pytest.mark.requirement("rfc9000:18.2:3")
def test_no_move_when_the_server_has_disabled_it() -> None:
    pair = Pair(server={"disable_active_migration": True})
    client, _ = pair.established()
    with pytest.raises(MigrationError, match="disabled"):
        client.migrate(SECOND_ADDRESS, pair.now)
    pair.settle()
    assert {datagram.source for datagram in pair.sent if datagram.to_server} == {CLIENT_ADDRESS}


@pytest.mark.requirement("rfc9000:9.5:5")
def test_no_move_when_the_server_has_no_connection_ids() -> None:
    pair = Pair(server={"connection_id_length": 0})
    client, _ = pair.established()
    with pytest.raises(MigrationError, match=r"disabled|no connection IDs"):
        client.migrate(SECOND_ADDRESS, pair.now)


def test_a_client_without_connection_ids_can_move() -> None:
    pair = Pair(client={"connection_id_length": 0})
    client, server = pair.established()
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.settle(4 * SECOND)
    assert server.path.remote == SECOND_ADDRESS
    assert pair.transfer(server, client, DATA)[1] == DATA


@pytest.mark.parametrize(("local", "match"), [(CLIENT_ADDRESS, "in use"), (("fe80::1", 1), "no address of the family")])
def test_a_move_that_makes_no_sense_says_so(local: tuple[str, int], match: str) -> None:
    pair = Pair()
    client, server = pair.established()
    with pytest.raises(MigrationError, match=match):
        client.migrate(local, pair.now)
    with pytest.raises(MigrationError, match="only clients"):
        server.migrate(("10.0.0.9", 1), pair.now)


def test_a_move_without_a_spare_connection_id_says_so() -> None:
    pair = Pair(client={"active_connection_id_limit": 2})
    client, _ = pair.established()
    pair.drop = lambda datagram: True
    client.migrate(SECOND_ADDRESS, pair.now)
    with pytest.raises(MigrationError, match="spare"):
        client.migrate(("10.0.2.2", 2222), pair.now)


def test_a_client_whose_new_path_fails_at_once_goes_back() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.drop = lambda datagram: to_and_from(SECOND_ADDRESS, datagram)
    client.migrate(SECOND_ADDRESS, pair.now, probe=False)
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert client.path.local == CLIENT_ADDRESS
    assert PathFailed(SECOND_ADDRESS, SERVER_ADDRESS) in pair.client_events


def test_a_client_finds_another_path_when_its_first_address_dies() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA, True)
    pair.run_for(15 * MS)
    pair.drop = lambda datagram: to_and_from(CLIENT_ADDRESS, datagram)
    client.migrate(SECOND_ADDRESS, pair.now, probe=False)
    assert pair.read_all(client, stream_id) == DATA


# Congestion control and round-trip time


@pytest.mark.requirement("rfc9000:9.4:1")
@pytest.mark.requirement("rfc9000:9.4:2")
def test_another_address_starts_with_fresh_estimates() -> None:
    pair = Pair(delay_ns=20 * MS)
    client, server = pair.established()
    pair.transfer(server, client, DATA)
    assert server.path.congestion.congestion_window > 12_000
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA[:30_000])
    pair.flush()  # in flight on the old path, acknowledged on the new one
    pair.rebind(ELSEWHERE)
    say(client)
    pair.run(lambda: server.path.remote == ELSEWHERE)
    path = server.path
    assert path.congestion.congestion_window == 12_000
    assert path.rtt.first_sample_at is None
    moved_at = pair.now
    pair.run_for(39 * MS)
    assert path.rtt.first_sample_at is None, "nothing that was sent on this path is acknowledged yet"
    assert path.congestion.congestion_window == 12_000
    pair.run_for(30 * MS)
    assert path.rtt.first_sample_at is not None
    assert path.rtt.first_sample_at >= moved_at + 40 * MS
    assert 40 * MS <= path.rtt.min_rtt_ns < 70 * MS


@pytest.mark.requirement("rfc9000:9.4:3")
def test_another_port_keeps_window_and_round_trip_time() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.transfer(server, client, DATA)
    window, rtt = server.path.congestion.congestion_window, server.path.rtt.smoothed_rtt_ns
    assert window > 12_000
    pair.rebind(OTHER_PORT)
    say(client)
    pair.run(lambda: server.path.remote == OTHER_PORT)
    assert server.path.congestion.congestion_window == window
    assert server.path.rtt.smoothed_rtt_ns == rtt
    pair.settle()
    assert server.path.bytes_in_flight == 0


@pytest.mark.requirement("rfc9000:9.4:1")
def test_challenges_that_get_lost_at_the_old_port_do_not_reduce_the_window() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.transfer(server, client, DATA)
    window = server.path.congestion.congestion_window
    pair.rebind(OTHER_PORT)
    moved_at = pair.now
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert pair.transfer(server, client, DATA)[1] == DATA
    pair.settle()
    old = [packets[0] for datagram, packets in pair.datagrams_of(server) if datagram.destination == CLIENT_ADDRESS]
    challenges = {packet.number for packet in old if packet.at > moved_at}
    lost = {number for _, _, number, _ in pair.recorder_of(server).lost}
    assert challenges & lost
    assert server.path.congestion.congestion_window >= window


@pytest.mark.requirement("rfc9000:9.4:1")
def test_losses_of_the_old_path_do_not_reduce_the_window_of_the_new_one() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA[:50_000])
    pair.drop = lambda datagram: not datagram.to_server
    pair.flush()
    pair.drop = None
    pair.rebind(ELSEWHERE)
    say(client)
    pair.settle()
    lost = [number for _, _, number, _ in pair.recorder_of(server).lost]
    assert len(lost) >= 10
    assert server.path.remote == ELSEWHERE
    assert server.path.congestion.ssthresh is None
    assert server.path.bytes_in_flight == 0


def test_path_events_reach_the_observer_in_order() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.rebind(ELSEWHERE)
    say(client)
    pair.run_for(100 * MS)
    assert [(state, path) for _, state, path in pair.recorder_of(server).migration] == [
        ("probing_started", 1),
        ("probing_started", 0),
        ("migration_started", 1),
        ("migration_complete", 1),
    ]
    paths = {packet.path for packet in pair.recorder_of(server).sent}
    assert paths == {0, 1}
    assert PathValidated(SERVER_ADDRESS, ELSEWHERE) in pair.server_events
    streams = [packet for packet in pair.recorder_of(server).received if StreamFrame in map(type, packet.frames)]
    assert {packet.path for packet in streams} == {1}


def test_a_probe_is_answered_but_moves_nothing() -> None:
    pair = Pair()
    client, server = pair.established()
    probe = pair.craft(client, encode_path_challenge(b"01234567") + bytes(1150))
    pair.server.receive(probe, ELSEWHERE, SERVER_ADDRESS, 0, pair.now)
    pair.run_for(50 * MS)
    assert server.path.remote == CLIENT_ADDRESS
    sent = [
        type(frame)
        for datagram, packets in pair.datagrams_of(server)
        if datagram.destination == ELSEWHERE
        for packet in packets
        for frame in packet.frames
    ]
    assert sent[:2] == [PathResponseFrame, PathChallengeFrame]


def test_a_path_is_kept_no_longer_because_of_later_moves() -> None:
    pair = Pair()
    client, _ = pair.established()
    first = client.path
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.run(lambda: client.path.local == SECOND_ADDRESS)
    drop_at = first.drop_at
    pair.run_for(SECOND)
    client.migrate(OTHER_PORT, pair.now)
    pair.run(lambda: client.path.local == OTHER_PORT)
    pair.run_until(drop_at - 1)
    assert first in client.paths.all
    pair.run_until(drop_at)
    assert first not in client.paths.all


@pytest.mark.requirement("rfc9000:9.4:1")
@pytest.mark.requirement("rfc9000:17.1:3")
def test_packets_on_a_slow_path_are_not_lost_because_those_of_a_fast_one_overtake_them() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA, True)
    pair.run_for(5 * MS)
    pair.slow = {SECOND_ADDRESS: 60 * MS}
    started = pair.now
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.run(lambda: server.path.remote == SECOND_ADDRESS)
    recorder = pair.recorder_of(server)
    on_slow_path = {packet.number for packet in recorder.sent if packet.path == 1}
    assert on_slow_path
    assert not on_slow_path & {number for _, _, number, _ in recorder.lost}
    assert server.path.congestion.ssthresh is None
    assert pair.now - started == 3 * 60 * MS, "a challenge there, the answer back, and the client's first data"


def test_a_new_port_is_challenged_at_once_although_the_window_is_full() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA)
    pair.run_for(5 * MS)
    assert server.path.window_available() < 1200
    pair.rebind(OTHER_PORT)
    say(client)
    pair.run(lambda: server.path.remote == OTHER_PORT)
    challenged = [
        datagram.at
        for datagram, packets in pair.datagrams_of(server)
        if datagram.destination == OTHER_PORT and PathChallengeFrame in map(type, packets[0].frames)
    ]
    assert challenged == [pair.now]


def test_a_challenge_to_another_port_is_repeated_as_soon_as_the_known_round_trip_time_allows() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.transfer(server, client, DATA)
    pto_ns = server.path.rtt.pto_ns(0)
    pair.rebind(OTHER_PORT)
    pair.drop = lambda datagram: datagram.destination == OTHER_PORT
    say(client)
    pair.run_for(SECOND)
    challenges = [
        datagram.at
        for datagram, packets in pair.datagrams_of(server)
        if datagram.destination == OTHER_PORT
        and any(isinstance(frame, PathChallengeFrame) for frame in packets[0].frames)
    ]
    assert challenges[1] - challenges[0] == pto_ns
