"""The checker on events that no stack of ours would tell, and on those that only look forbidden."""

import pytest

from links import Datagram
from quicsim.invariants import Checker, InvariantViolation
from quicsim.invariants.checker import ConnectionChecker
from stack.observer import PacketInfo, RecoveryMetrics
from stack.wire.frames import PING, encode_max_data, encode_path_challenge
from stack.wire.varint import encode_varint

OURS, THEIRS = ("10.0.0.2", 4433), ("10.0.0.1", 50_000)
ACK_OF_7 = bytes((0x02, 7, 0, 0, 0))


def connection(checker: Checker, role: str = "server") -> ConnectionChecker:
    watching = checker.observer("bob" if role == "server" else "alice").connection(0, role, bytes(8))
    assert isinstance(watching, ConnectionChecker)
    watching.connection_started(0, OURS, THEIRS, b"", b"")
    return watching


def packet(number: int, payload: bytes, size: int = 1200, packet_type: str = "1RTT", path: int = 0) -> PacketInfo:
    return PacketInfo(packet_type, number, 0, b"", b"", b"", 0, 0, size, payload, path)


def metrics(window: int, in_flight: int, path: int = 0) -> RecoveryMetrics:
    return RecoveryMetrics(0, 0, 0, 0, 0, window, in_flight, None, 0, None, path)


def stream(stream_id: int, offset: int, length: int) -> bytes:
    fields = (encode_varint(stream_id), encode_varint(offset), encode_varint(length))
    return bytes((0x0E,)) + b"".join(fields) + bytes(length)


def test_a_peer_that_sends_above_the_limits_it_was_told() -> None:
    watching = connection(Checker())
    limits = {"initial_max_data": 1000, "initial_max_stream_data_bidi_remote": 600, "initial_max_streams_bidi": 2}
    watching.parameters_set(0, "local", dict(limits))
    watching.packet_received(0, packet(0, stream(0, 500, 100)))
    with pytest.raises(InvariantViolation, match=r"the peer exceeds .* stream 0 reaches offset 601"):
        watching.packet_received(0, packet(1, stream(0, 600, 1)))
    with pytest.raises(InvariantViolation, match="1101 bytes on all streams"):
        watching.packet_received(0, packet(2, stream(4, 0, 500)))
    watching.packet_sent(0, packet(0, encode_max_data(2000)))
    watching.packet_received(0, packet(3, stream(4, 500, 100)))
    with pytest.raises(InvariantViolation, match="stream 8 is opened, above the limit of 2"):
        watching.packet_received(0, packet(4, stream(8, 0, 1)))


def test_an_acknowledgment_of_what_was_never_sent() -> None:
    watching = connection(Checker())
    watching.packet_sent(0, packet(7, bytes((PING,))))
    watching.packet_received(0, packet(0, ACK_OF_7))
    with pytest.raises(InvariantViolation, match="packets 7 to 7, not all of which were sent"):
        watching.packet_received(0, packet(0, ACK_OF_7, packet_type="handshake"))


def test_probes_and_challenges_may_exceed_the_window_and_nothing_else() -> None:
    watching = connection(Checker())
    ping = bytes((PING,))
    watching.metrics_updated(0, metrics(2400, 0))
    watching.packet_sent(0, packet(0, ping))
    watching.packet_sent(0, packet(1, ping))
    watching.packet_sent(0, packet(2, encode_path_challenge(bytes(8))))
    watching.loss_timer(0, "expired", "pto", "1RTT", None)
    watching.packet_sent(0, packet(3, ping))
    watching.packet_sent(0, packet(4, ping))
    with pytest.raises(InvariantViolation, match=r"puts 7200 bytes in flight on path 0, above .* 2400"):
        watching.packet_sent(0, packet(5, ping))


def test_the_first_flight_counts_against_the_window_that_is_told_after_it() -> None:
    watching = connection(Checker())
    for number in range(3):
        watching.packet_sent(0, packet(number, bytes((PING,))))
    with pytest.raises(InvariantViolation, match=r"3600 bytes went out on path 0, above the first .* 2400"):
        watching.metrics_updated(0, metrics(2400, 3600))


def test_what_is_acknowledged_lost_or_forgotten_is_in_flight_no_more() -> None:
    watching = connection(Checker())
    for number in range(4):
        watching.packet_sent(0, packet(number, bytes((PING,)), size=100))
    watching.packets_acked(0, "1RTT", [0])
    watching.packet_lost(0, "1RTT", 1, 100, "time_threshold")
    watching.packets_forgotten(0, "1RTT", [2])
    watching.metrics_updated(0, metrics(12_000, 100))
    with pytest.raises(InvariantViolation, match="bytes_in_flight of path 0 is 0, but 100 bytes are in flight"):
        watching.metrics_updated(0, metrics(12_000, 0))


def test_a_new_port_of_the_peer_takes_over_what_is_in_flight_and_another_address_does_not() -> None:
    watching = connection(Checker())
    watching.packet_sent(0, packet(0, bytes((PING,)), size=100))
    watching.path_assigned(0, 1, OURS, (THEIRS[0], 50_001))
    watching.migration_state(0, "migration_started", 1)
    watching.metrics_updated(0, metrics(12_000, 100, path=1))
    watching.path_assigned(0, 2, OURS, ("10.0.0.9", 50_001))
    watching.migration_state(0, "migration_started", 2)
    watching.metrics_updated(0, metrics(12_000, 0, path=2))


def test_data_out_of_order_and_an_end_in_the_wrong_place() -> None:
    checker = Checker()
    server, client = connection(checker), connection(checker, "client")
    server.data_moved(0, 0, "sending", 0, b"what was written", True)
    client.data_moved(0, 0, "receiving", 0, b"what ", False)
    with pytest.raises(InvariantViolation, match="from offset 9 were delivered after those up to 5"):
        client.data_moved(0, 0, "receiving", 9, b"written", False)
    server.data_moved(0, 4, "sending", 0, b"whole", True)
    with pytest.raises(InvariantViolation, match="ended at 3 for its reader, at 5 for its writer"):
        client.data_moved(0, 4, "receiving", 0, b"who", True)


def test_an_address_is_validated_by_a_handshake_packet_of_its_own() -> None:
    checker = Checker()
    watching = connection(checker)
    checker.datagram("bob", 0, "received", Datagram(bytes(1200), THEIRS, OURS))
    checker.datagram("bob", 0, "sent", Datagram(bytes(3600), OURS, THEIRS))
    with pytest.raises(InvariantViolation, match=r"3601 bytes went to 10\.0\.0\.1 port 50000, which is not validated"):
        checker.datagram("bob", 0, "sent", Datagram(bytes(1), OURS, THEIRS))
    watching.packet_received(0, packet(0, b"", packet_type="handshake"))
    checker.datagram("bob", 0, "sent", Datagram(bytes(1200), OURS, THEIRS))
