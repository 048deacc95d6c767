"""Our endpoint with aioquic's connection, in both roles, in memory and in virtual time."""

import pytest

from quicsim.certificates import test_certificate
from stack.events import ConnectionEnded, HandshakeCompleted
from stack.tls.groups import P256, X25519
from tests.interop.aioquic_memory import (
    DELAY,
    MILLISECOND,
    SECOND,
    End,
    Pair,
    aioquic_events,
    both_roles,
    content,
    digest,
    exchange,
    make_pair,
    seeded_loss,
)

pytestmark = pytest.mark.peer("aioquic")

MEGABYTE = 1_000_000


def exchange_many(pair: Pair, size: int) -> None:
    """Move `size` bytes on each of several streams at once, of both kinds and opened by both ends."""
    sent: list[tuple[End, int, bytes]] = []
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        for index in range(8):
            stream_id = sender.open(unidirectional=index % 2 == 1)
            data = content(size, stream_id)
            sender.send(stream_id, data)
            sent.append((receiver, stream_id, data))
    pair.run(lambda: all(stream_id in receiver.finished for receiver, stream_id, _ in sent))
    for receiver, stream_id, data in sent:
        assert digest(receiver.received[stream_id]) == digest(data)


@both_roles
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
@pytest.mark.parametrize("group", [X25519, P256])
def test_the_handshake_completes_and_data_moves_with_every_suite_and_group(ours: str, suite: int, group: int) -> None:
    pair = make_pair(ours, tls={"suites": (suite,), "groups": (group,)})
    pair.handshake()
    completed = pair.ours.event(HandshakeCompleted)
    assert completed.alpn == "quicsim"
    assert completed.server_name == "localhost"
    if ours == "client":
        assert completed.peer_certificates == test_certificate().certificates
    assert pair.theirs.event(aioquic_events.HandshakeCompleted).alpn_protocol == "quicsim"
    exchange(pair, 20_000)


@both_roles
def test_the_handshake_takes_one_and_a_half_round_trips(ours: str) -> None:
    pair = make_pair(ours)
    pair.run(lambda: any(isinstance(event, HandshakeCompleted) for event in pair.ours.events))
    assert pair.link.now == (2 if ours == "client" else 3) * DELAY


@both_roles
def test_without_a_common_protocol_both_ends_learn_the_alert(ours: str) -> None:
    pair = make_pair(ours, aioquic={"alpn_protocols": ["other"]})
    pair.run(lambda: pair.theirs.ended is not None)
    ended = pair.ours.event(ConnectionEnded)
    assert (ended.application, ended.remote) == (False, ours == "client")
    alert = 120  # no_application_protocol
    assert pair.theirs.ended is not None
    assert ended.code == pair.theirs.ended[0] == 0x100 + alert


@both_roles
def test_a_megabyte_moves_both_ways_on_one_stream(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    exchange(pair, MEGABYTE)
    assert pair.ours.connection.stats.packets_lost == 0


@both_roles
def test_several_streams_of_both_kinds_move_at_once(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    exchange_many(pair, 100_000)


@both_roles
@pytest.mark.parametrize("seed", range(4))
def test_a_megabyte_moves_both_ways_with_five_per_cent_loss(ours: str, seed: int) -> None:
    pair = make_pair(ours, drop=seeded_loss(0.05, seed))
    pair.handshake()
    exchange(pair, MEGABYTE)
    assert pair.ours.connection.stats.packets_lost > 0


@both_roles
@pytest.mark.parametrize("seed", range(4))
def test_small_windows_never_stall_a_lossy_transfer(ours: str, seed: int) -> None:
    windows = {
        "initial_max_data": 20_000,
        "initial_max_stream_data_bidi_local": 6_000,
        "initial_max_stream_data_bidi_remote": 6_000,
        "initial_max_stream_data_uni": 6_000,
        "send_buffer": 7_000,
        "max_send_buffer": 7_000,
    }
    pair = make_pair(
        ours,
        drop=seeded_loss(0.05, seed),
        config=windows,
        aioquic={"max_data": 20_000, "max_stream_data": 6_000},
    )
    pair.handshake()
    exchange_many(pair, 40_000)


@both_roles
def test_more_streams_than_the_limit_are_opened_one_after_another(ours: str) -> None:
    pair = make_pair(ours, config={"initial_max_streams_bidi": 5})
    pair.handshake()
    for size in range(1, 300):
        exchange(pair, size)
    assert len(pair.ours.connection.streams.streams) <= 5


@both_roles
@pytest.mark.parametrize("closer", ["ours", "theirs"])
def test_either_end_closes_with_the_applications_code_and_reason(ours: str, closer: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    exchange(pair, 1000)
    first, second = (pair.ours, pair.theirs) if closer == "ours" else (pair.theirs, pair.ours)
    first.close(42, "enough", pair.link.now)
    pair.run(lambda: second.ended is not None)  # which aioquic says after its draining period
    assert second.ended == (42, "enough")
    ended = pair.ours.event(ConnectionEnded)
    assert (ended.code, ended.reason, ended.application) == (42, "enough", True)
    assert ended.remote == (closer == "theirs")
    pair.link.settle(5 * SECOND)
    assert not pair.ours.endpoint.connections


@both_roles
def test_resets_and_stops_arrive_with_their_codes(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    quic, connection = pair.theirs.quic, pair.ours.connection
    reset_by_theirs, stopped_by_theirs, reset_by_ours, stopped_by_ours = (
        pair.theirs.open(),
        pair.ours.open(),
        pair.ours.open(),
        pair.theirs.open(),
    )
    quic.send_stream_data(reset_by_theirs, b"begin")
    quic.send_stream_data(stopped_by_ours, b"begin")
    connection.write(stopped_by_theirs, b"begin")
    connection.write(reset_by_ours, b"begin")
    pair.link.settle(100 * MILLISECOND)
    quic.reset_stream(reset_by_theirs, 11)
    quic.stop_stream(stopped_by_theirs, 12)
    connection.reset(reset_by_ours, 13)
    connection.stop_sending(stopped_by_ours, 14)
    pair.link.settle(100 * MILLISECOND)
    assert pair.ours.resets == {reset_by_theirs: 11}
    assert pair.theirs.resets == {stopped_by_theirs: 12, reset_by_ours: 13}
    assert pair.theirs.event(aioquic_events.StopSendingReceived).error_code == 14
    exchange(pair, 1000)


@both_roles
def test_a_peer_may_change_its_connection_id_again_and_again(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    pair.link.settle(100 * MILLISECOND)
    by_theirs = pair.link.destinations[ours == "server"]
    used = []
    for size in range(1000, 1010):
        pair.theirs.quic.change_connection_id()
        exchange(pair, size)
        pair.link.settle(100 * MILLISECOND)
        used.append(by_theirs[-1])
        assert used[-1] in pair.ours.connection.local_ids.by_sequence.values()
    assert len(set(used)) == 10
    assert len(pair.ours.connection.local_ids.by_sequence) == 4


@both_roles
def test_a_connection_id_may_change_while_data_moves_and_gets_lost(ours: str) -> None:
    pair = make_pair(ours, drop=seeded_loss(0.02, 5))
    pair.handshake()
    stream_id = pair.theirs.open()
    data = content(300_000, 3)
    pair.theirs.send(stream_id, data)
    for _ in range(4):
        pair.link.settle(60 * MILLISECOND)
        pair.theirs.quic.change_connection_id()
    pair.run(lambda: stream_id in pair.ours.finished)
    assert digest(pair.ours.received[stream_id]) == digest(data)


@both_roles
@pytest.mark.parametrize(
    ("by_client", "lost"),
    [(True, {0}), (False, {0}), (False, {0, 1}), (False, {1}), (True, {1}), (True, {1, 2}), (False, {0, 1, 2, 3})],
)
def test_the_handshake_survives_lost_flights(ours: str, by_client: bool, lost: set[int]) -> None:
    pair = make_pair(ours, drop=lambda sender, index, data: sender == by_client and index in lost)
    pair.handshake()
    exchange(pair, 10_000)


@both_roles
@pytest.mark.parametrize("seed", range(20))
def test_the_handshake_survives_heavy_loss(ours: str, seed: int) -> None:
    pair = make_pair(ours, drop=seeded_loss(0.3, seed))
    pair.handshake()
    exchange(pair, 5_000)


@both_roles
def test_a_ping_is_acknowledged(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    pair.link.settle(SECOND)
    pair.theirs.quic.send_ping(7)
    pair.link.settle(2 * DELAY + 25 * MILLISECOND)  # max_ack_delay
    assert pair.theirs.event(aioquic_events.PingAcknowledged).uid == 7


@both_roles
def test_silence_ends_the_connection_at_both_ends(ours: str) -> None:
    pair = make_pair(ours, config={"max_idle_timeout_ms": 5_000})
    pair.handshake()
    pair.link.settle(6 * SECOND)
    assert pair.ours.event(ConnectionEnded).idle
    assert pair.theirs.event(aioquic_events.ConnectionTerminated).reason_phrase == "Idle timeout"
