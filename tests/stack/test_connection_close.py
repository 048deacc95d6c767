"""How connections end: both kinds of CONNECTION_CLOSE in every phase, closing, draining (RFC 9000 section 10.2)."""

from functools import partial
from typing import Any

import pytest

from stack.connection import Connection
from stack.errors import APPLICATION_ERROR, FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION, ConnectionClosed
from stack.events import ConnectionEnded
from stack.lifecycle import State
from stack.tls.engine import HANDSHAKE
from stack.wire.decoded_frames import ConnectionCloseFrame
from stack.wire.frames import encode_connection_close
from tests.support.pair import MS, Pair

UNKNOWN_FRAME = b"\x21"
PING = b"\x01"


def closes(pair: Pair, connection: Connection) -> list[tuple[str, ConnectionCloseFrame]]:
    """The CONNECTION_CLOSE frames that a connection has sent, each with its packet type."""
    sent = pair.recorder_of(connection).sent
    return [
        (packet.packet_type, frame)
        for packet in sent
        for frame in packet.frames
        if isinstance(frame, ConnectionCloseFrame)
    ]


def is_gone(connection: Connection) -> bool:
    return connection.closing.state is State.CLOSED


def ended(events: list[Any]) -> list[ConnectionEnded]:
    return [event for event in events if isinstance(event, ConnectionEnded)]


@pytest.mark.requirement("rfc9000:10.2.3:1")
@pytest.mark.requirement("rfc9000:10.2:4")
@pytest.mark.parametrize("by_client", [False, True])
def test_an_application_close_after_the_handshake(by_client: bool) -> None:
    pair = Pair()
    client, server = pair.established()
    closer, other = (client, server) if by_client else (server, client)
    closer.close(pair.now, 77, "enough")
    pair.run_for(11 * MS)
    assert closes(pair, closer) == [("1RTT", ConnectionCloseFrame(True, 77, None, b"enough"))]
    assert [closer.closing.state, other.closing.state] == [State.CLOSING, State.DRAINING]
    assert ended(pair.events_of(closer)) == [ConnectionEnded(77, "enough", application=True, remote=False)]
    assert ended(pair.events_of(other)) == [ConnectionEnded(77, "enough", application=True, remote=True)]
    pair.settle()
    assert [closer.closing.state, other.closing.state] == [State.CLOSED, State.CLOSED]
    assert not pair.client.connections
    assert not pair.server.connections
    assert pair.next_at() is None


@pytest.mark.requirement("rfc9000:11.1:1")
@pytest.mark.requirement("rfc9000:11:1")
@pytest.mark.requirement("rfc9000:11:2")
def test_an_error_of_the_peer_is_told_with_code_and_frame_type() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, UNKNOWN_FRAME)
    pair.run_for(11 * MS)
    ((packet_type, frame),) = closes(pair, server)
    assert (packet_type, frame.application, frame.code) == ("1RTT", False, FRAME_ENCODING_ERROR)
    assert frame.frame_type == 0x21
    (event,) = ended(pair.client_events)
    assert (event.code, event.application, event.remote) == (FRAME_ENCODING_ERROR, False, True)


@pytest.mark.requirement("rfc9000:10.2.3:6")
@pytest.mark.requirement("rfc9000:10.2.3:7")
@pytest.mark.requirement("rfc9000:14.1:1")
def test_a_client_that_gives_up_at_once_hides_the_applications_reason() -> None:
    pair = Pair()
    client = pair.connect()
    pair.flush()
    client.close(pair.now, 77, "secret")
    pair.flush()
    assert closes(pair, client) == [("initial", ConnectionCloseFrame(False, APPLICATION_ERROR, 0, b""))]
    assert len(pair.sent[-1].payload) == 1200
    pair.run_for(11 * MS)
    assert ended(pair.server_events) == [ConnectionEnded(APPLICATION_ERROR, "", application=False, remote=True)]


@pytest.mark.requirement("rfc9000:10.2.3:3")
@pytest.mark.requirement("rfc9000:10.2.3:4")
@pytest.mark.requirement("rfc9000:10.2.3:5")
def test_a_server_in_the_handshake_closes_in_every_packet_type_that_the_client_may_read() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run_for(10 * MS)
    server = pair.server_connection
    assert server is not None
    assert not server.handshake_complete
    server.close(pair.now, 77, "busy")
    pair.flush()
    hidden = ConnectionCloseFrame(False, APPLICATION_ERROR, 0, b"")
    assert closes(pair, server) == [
        ("initial", hidden),
        ("handshake", hidden),
        ("1RTT", ConnectionCloseFrame(True, 77, None, b"busy")),
    ]
    assert len({packet.at for packet in pair.recorder_of(server).sent[-3:]}) == 1
    pair.run_for(11 * MS)
    assert client.closing.state is State.DRAINING


@pytest.mark.requirement("rfc9000:10.2.3:4")
def test_before_the_handshake_is_confirmed_a_client_closes_in_handshake_and_1rtt_packets() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    pair.drop = lambda datagram: datagram.to_server and datagram.at == 20 * MS
    client.close(pair.now, 77, "bye")
    pair.flush()
    assert [packet_type for packet_type, _ in closes(pair, client)] == ["handshake", "1RTT"]


@pytest.mark.parametrize("reason", ["x" * 5000, "x" + "é" * 3000])
def test_a_long_reason_is_cut_to_whole_characters(reason: str) -> None:
    pair = Pair()
    client, server = pair.established()
    client.close(pair.now, 1, reason)
    pair.run_for(11 * MS)
    (event,) = ended(pair.server_events)
    assert reason.startswith(event.reason)
    assert 200 < len(event.reason.encode()) <= 256
    assert server.closed


# Closing


@pytest.mark.requirement("rfc9000:10.2.1:1")
@pytest.mark.requirement("rfc9000:11.1:2")
def test_a_closing_connection_repeats_itself_ever_more_rarely() -> None:
    pair = Pair(drop=lambda datagram: False)
    client, server = pair.established()
    server.close(pair.now, 5)
    pair.drop = lambda datagram: True
    pair.flush()
    answers = []
    for count in range(1, 101):
        pair.inject(client, PING)
        if pair.server.transmit(pair.now):
            answers.append(count)
    assert answers == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.requirement("rfc9000:10.2.2:4")
@pytest.mark.parametrize("before", [b"", PING])
def test_a_closing_connection_drains_when_the_peer_closes_as_well(before: bytes) -> None:
    pair = Pair()
    client, server = pair.established()
    server.close(pair.now, 5)
    pair.flush()
    pair.inject(client, before + encode_connection_close(0, 0, b""))
    assert server.closing.state is State.DRAINING
    pair.inject(client, PING)
    assert pair.server.transmit(pair.now) == []
    assert ended(pair.server_events) == [ConnectionEnded(5, "", application=True, remote=False)]


@pytest.mark.requirement("rfc9000:10.2:1")
@pytest.mark.requirement("rfc9000:10.2:3")
def test_closing_and_draining_last_three_timeouts() -> None:
    pair = Pair()
    client, server = pair.established()
    start = pair.now
    client.close(start, 5)
    ends = {
        client: start + 3 * client.recovery.timer.pto_ns(),
        server: start + 10 * MS + 3 * server.recovery.timer.pto_ns(),
    }
    for connection in sorted(ends, key=lambda each: ends[each]):
        pair.run(partial(is_gone, connection))
        assert pair.now == ends[connection]


# Draining


@pytest.mark.requirement("rfc9000:10.2.2:1")
@pytest.mark.requirement("rfc9000:10.2.2:3")
def test_a_draining_connection_sends_nothing() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, bytes(5000))
    pair.inject(client, encode_connection_close(7, None, b""))
    assert server.closing.state is State.DRAINING
    for _ in range(5):
        pair.inject(client, PING)
        assert pair.server.transmit(pair.now) == []
    server.close(pair.now)
    assert pair.server.transmit(pair.now) == []


def test_what_follows_a_close_in_the_same_packet_does_not_count() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.server_events.clear()
    pair.inject(client, encode_connection_close(7, None, b"") + b"\x08\x00data")
    assert pair.server_events == [ConnectionEnded(7, "", application=True, remote=True)]
    assert server.streams.streams == {}


# The application


def test_verbs_after_the_end_say_why() -> None:
    pair = Pair()
    client, server = pair.established()
    server.close(pair.now, 9, "done")
    pair.run_for(11 * MS)
    for connection, remote in ((client, True), (server, False)):
        for verb in (
            connection.open_stream,
            lambda c=connection: c.write(0, b"x"),
            lambda c=connection: c.read(0),
            lambda c=connection: c.reset(0, 1),
            lambda c=connection: c.stop_sending(0, 1),
        ):
            with pytest.raises(ConnectionClosed) as caught:
                verb()
            assert (caught.value.code, caught.value.reason, caught.value.remote) == (9, "done", remote)
            assert caught.value.application


def test_closing_twice_is_closing_once() -> None:
    pair = Pair()
    client, _ = pair.established()
    client.close(pair.now, 1)
    client.close(pair.now, 2)
    pair.settle()
    assert [event.code for event in ended(pair.client_events)] == [1]
    assert [event.code for event in ended(pair.server_events)] == [1]


def test_data_that_came_before_the_end_can_still_be_read() -> None:
    pair = Pair()
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"last words", True)
    pair.run_for(11 * MS)
    client.close(pair.now)
    pair.run_for(11 * MS)
    assert server.closed
    assert server.read(stream_id) == (b"last words", True)


@pytest.mark.requirement("rfc9000:12.5:3")
def test_a_handshake_packet_with_an_application_error_is_refused() -> None:
    pair = Pair()
    client = pair.connect()
    pair.run_for(10 * MS)
    assert pair.server_connection is not None
    pair.inject(pair.server_connection, encode_connection_close(1, None, b""), HANDSHAKE)
    assert not client.closed, "its keys have not come yet"
    pair.run_for(11 * MS)
    assert {frame.code for _, frame in closes(pair, client)} == {PROTOCOL_VIOLATION}
