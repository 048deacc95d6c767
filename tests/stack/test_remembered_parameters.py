"""What a resumed connection remembers of the first one, and what must be new (RFC 9000 sections 7.4.1 and 9.6.2)."""

import pytest

from stack.crypto.packet_protection import protect_packet
from stack.early_data import may_resume_with, to_remember
from stack.errors import FLOW_CONTROL_ERROR, PROTOCOL_VIOLATION
from stack.events import ConnectionEnded, EarlyDataAccepted
from stack.tls.session import decode_session
from stack.wire.decoded_frames import AckFrame, StreamFrame
from stack.wire.frames import encode_stream_header
from stack.wire.header import ZERO_RTT, encode_long_header
from stack.wire.parameters import decode_transport_parameters
from stack.wire.versions import VERSION_1, VERSION_2
from tests.stack.test_early_data import DATA, Resumption, received, send
from tests.support.pair import MS, SERVER_ADDRESS


@pytest.mark.requirement("rfc9000:7.4.1:2")
@pytest.mark.requirement("rfc9000:7.4.1:3")
def test_what_belongs_to_one_connection_is_not_used_in_the_next_before_it_is_told_anew() -> None:
    pair = Resumption(ack_delay_exponent=10, max_ack_delay_ms=200).pair(
        server={"ack_delay_exponent": 5, "max_ack_delay_ms": 50}
    )
    connection = pair.connect()
    send(connection)
    pair.flush()
    recovery, original = connection.recovery, connection.original_destination_cid
    assert (recovery.peer_ack_delay_exponent, recovery.timer.max_ack_delay_ns) == (3, 0), (
        "neither the old nor the new values"
    )
    assert connection.remote_ids.reset_tokens == {}
    assert connection.remote_ids.current == original
    pair.run(lambda: connection.handshake_confirmed)
    assert (recovery.peer_ack_delay_exponent, recovery.timer.max_ack_delay_ns) == (5, 50 * MS)


@pytest.mark.requirement("rfc9000:9.6.2:6")
def test_a_preferred_address_is_forgotten_with_its_connection() -> None:
    resumption = Resumption(preferred_address_v4=("10.0.0.77", 443))
    pair = resumption.pair()
    connection = pair.connect()
    send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    assert {datagram.destination for datagram in pair.sent if datagram.to_server} == {SERVER_ADDRESS}


@pytest.mark.requirement("rfc9000:7.4.1:7")
def test_the_default_limits_that_are_remembered_let_early_data_through() -> None:
    session = Resumption().sessions[0]
    remembered = decode_transport_parameters(decode_session(session).transport_parameters, from_client=False)
    assert remembered.initial_max_data > 0
    assert remembered.initial_max_stream_data_bidi_remote > 0
    assert remembered.initial_max_stream_data_uni > 0
    assert remembered.initial_max_streams_bidi > 0
    assert remembered.initial_max_streams_uni > 0


def test_a_ticket_keeps_the_limits_alone_and_so_is_short() -> None:
    """Some clients have no room for long ones: qh3 takes 150 bytes, and failed with 217."""
    session = decode_session(Resumption(preferred_address_v4=("10.0.0.77", 443)).sessions[0])
    kept = decode_transport_parameters(to_remember(session.transport_parameters), from_client=False)
    full = decode_transport_parameters(session.transport_parameters, from_client=False)
    assert (full.stateless_reset_token is None, kept.stateless_reset_token) == (False, None)
    assert kept.initial_max_data == full.initial_max_data
    assert may_resume_with(to_remember(session.transport_parameters), session.transport_parameters)
    assert len(session.ticket) <= 150


@pytest.mark.requirement("rfc9000:7.4.1:10")
def test_early_data_keeps_to_the_remembered_limits_though_the_server_allows_more_by_now() -> None:
    limits = {"initial_max_data": 2000, "max_data_window": 0}
    pair = Resumption(**limits).pair(server={**limits, "initial_max_data": 50_000})
    connection = pair.connect()
    stream_id = send(connection, bytes(10_000))
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    by_type = {
        kind: sum(
            len(frame.data)
            for packet in pair.recorder_of(connection).sent
            if packet.packet_type == kind
            for frame in packet.frames
            if isinstance(frame, StreamFrame)
        )
        for kind in ("0RTT", "1RTT")
    }
    assert by_type == {"0RTT": 2000, "1RTT": 8000}
    assert received(pair, stream_id) == bytes(10_000)


@pytest.mark.requirement("rfc9000:13.2.6:3")
@pytest.mark.requirement("rfc9000:17.2.3:3")
def test_early_packets_are_acknowledged_in_1_rtt_packets_after_which_no_more_of_them_are_sent() -> None:
    pair = Resumption().pair()
    connection = pair.connect()
    send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    send(connection)
    pair.settle(200 * MS)
    server = pair.server_connection
    assert server is not None
    early = {packet.number for packet in pair.recorder_of(connection).sent if packet.packet_type == "0RTT"}
    acknowledged = {
        number
        for packet in pair.recorder_of(server).sent
        if packet.packet_type == "1RTT"
        for frame in packet.frames
        if isinstance(frame, AckFrame)
        for smallest, largest in frame.ranges
        for number in range(smallest, largest + 1)
    }
    assert early
    assert early <= acknowledged
    first_read = min(packet.at for packet in pair.recorder_of(connection).received if packet.packet_type == "1RTT")
    assert all(packet.at <= first_read for packet in pair.recorder_of(connection).sent if packet.packet_type == "0RTT")


@pytest.mark.requirement("rfc9000:17.2.3:5")
def test_early_data_beyond_the_remembered_limits_closes_the_connection() -> None:
    limits = {"initial_max_stream_data_bidi_remote": 1000}
    pair = Resumption(**limits).pair(server=limits)
    connection = pair.connect()
    send(connection, b"x" * 100)
    space = connection.spaces[2]
    header = encode_stream_header(4, 1000, 10, False)
    pair.flush()
    payload = header + bytes(10)
    number = space.next_packet_number
    space.next_packet_number += 1
    long_header = encode_long_header(
        connection.version,
        ZERO_RTT,
        connection.remote_ids.current,
        connection.local_ids.first,
        b"",
        len(payload) + 16,
        number,
        4,
    )
    assert space.write_keys is not None
    packet = protect_packet(space.write_keys, long_header, 4, number, payload)
    pair.run_for(pair.delay_ns + MS)
    pair.deliver(packet, to_server=True)
    ended = [event for event in pair.server_events if isinstance(event, ConnectionEnded)]
    assert [event.code for event in ended] == [FLOW_CONTROL_ERROR]


@pytest.mark.requirement("rfc9221:3:8")
@pytest.mark.requirement("rfc9221:3:9")
def test_a_datagram_limit_that_shrank_refuses_early_data_and_a_server_that_does_not_is_closed(
    patch_stack: pytest.MonkeyPatch,
) -> None:
    resumption = Resumption(max_datagram_frame_size=1000)
    pair = resumption.pair(server={"max_datagram_frame_size": 900})
    pair.connect()
    pair.run_for(100 * MS)
    assert not any(isinstance(event, EarlyDataAccepted) for event in pair.server_events)
    patch_stack.setattr("stack.handshake.may_resume_with", lambda remembered, present: True)
    pair = resumption.pair(server={"max_datagram_frame_size": 900})
    pair.connect()
    pair.run_for(200 * MS)
    ended = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert [(event.code, event.remote) for event in ended] == [(PROTOCOL_VIOLATION, False)]


@pytest.mark.requirement("rfc9369:4.1:10")
def test_early_packets_stay_in_the_original_version_when_the_connection_changes_over() -> None:
    versions = (VERSION_2, VERSION_1)
    resumption = Resumption()  # a session of version 1
    pair = resumption.pair(client={"versions": versions, "original_version": VERSION_1}, server={"versions": versions})
    connection = pair.connect()
    stream_id = send(connection, DATA * 4)
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    assert connection.version.number == VERSION_2
    early = [
        datagram.payload
        for datagram, packets in pair.datagrams_of(connection)
        if any(packet.packet_type == "0RTT" for packet in packets)
    ]
    assert early
    assert all(int.from_bytes(payload[1:5]) == VERSION_1 for payload in early)
    assert received(pair, stream_id) == DATA * 4
