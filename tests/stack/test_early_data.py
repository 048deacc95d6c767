"""0-RTT packets: sent, taken, refused, and sent again."""

from typing import Any

import pytest

import quicsim
from links import Delay
from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.errors import PROTOCOL_VIOLATION
from stack.events import ConnectionEnded, EarlyDataAccepted, HandshakeCompleted, NewSession
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import P384, X25519, X25519MLKEM768
from stack.wire.decoded_frames import AckFrame, StreamFrame
from stack.wire.frames import encode_ack, encode_crypto_header
from stack.wire.header import ZERO_RTT, encode_long_header
from stack.wire.versions import VERSION_1, VERSION_2, VERSIONS
from tests.support.pair import MS, Datagram, Pair

DATA = bytes(range(256)) * 20


class Resumption:
    """A first connection that gave a session, and others that use it."""

    def __init__(self, **server: Any) -> None:
        self.tls = ServerTls(test_certificate(), tickets=4, early_data=True)
        pair = Pair(server={"tls": self.tls, **server})
        pair.established()
        self.now = pair.now
        self.sessions = [event.session for event in pair.client_events if isinstance(event, NewSession)]

    def pair(self, *, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None, **tls: Any) -> Pair:
        config = ClientTls(test_certificate(), session=self.sessions.pop(), early_data=True, **tls)
        pair = Pair(client={"tls": config, **(client or {})}, server={"tls": self.tls, **(server or {})})
        pair.now = self.now + MS
        return pair


def send(connection: Connection, data: bytes = DATA) -> int:
    stream_id = connection.open_stream()
    assert stream_id is not None
    assert connection.write(stream_id, data, end=True) == len(data)
    return stream_id


def received(pair: Pair, stream_id: int) -> bytes:
    assert pair.server_connection is not None
    data, end = pair.server_connection.read(stream_id)
    assert end
    return data


def accepted(pair: Pair) -> list[bool]:
    events = pair.client_events + pair.server_events
    return [event.early_data_accepted for event in events if isinstance(event, HandshakeCompleted)]


def kinds(pair: Pair, connection: Connection) -> list[str]:
    return [packet.packet_type for packet in pair.recorder_of(connection).sent]


def test_data_arrives_half_a_round_trip_after_the_start() -> None:
    pair = Resumption().pair()
    connection = pair.connect()
    assert connection.can_send
    assert not connection.handshake_complete
    stream_id = send(connection)
    start = pair.now
    pair.run(lambda: any(isinstance(event, EarlyDataAccepted) for event in pair.server_events))
    pair.run_until(start + pair.delay_ns)
    assert received(pair, stream_id) == DATA
    pair.run(lambda: connection.handshake_confirmed)
    assert accepted(pair) == [True, True]


@pytest.mark.requirement("rfc9001:4.9.3:1")
@pytest.mark.requirement("rfc9001:5.6:7")
@pytest.mark.requirement("rfc9001:5.6:5")
@pytest.mark.requirement("rfc9000:17.2.3:4")
def test_the_packets_are_0_rtt_until_there_are_1_rtt_keys() -> None:
    pair = Resumption().pair()
    connection = pair.connect()
    send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    send(connection)
    pair.settle(200 * MS)
    types = kinds(pair, connection)
    assert not connection.early_data.sending
    assert "0RTT" in types
    assert "0RTT" not in types[types.index("1RTT") :]
    assert pair.server_connection is not None
    assert "0RTT" not in kinds(pair, pair.server_connection)
    numbers = [packet.number for packet in pair.recorder_of(connection).sent if "RTT" in packet.packet_type]
    assert numbers == sorted(set(numbers))
    early = [packet for packet in pair.recorder_of(connection).sent if packet.packet_type == "0RTT"]
    assert not any(isinstance(frame, AckFrame) for packet in early for frame in packet.frames)
    assert connection.stats.packets_lost == 0


@pytest.mark.requirement("rfc9001:5.6:1")
def test_nothing_is_sent_early_without_being_asked_for() -> None:
    resumption = Resumption()
    config = ClientTls(test_certificate(), session=resumption.sessions.pop())
    pair = Pair(client={"tls": config}, server={"tls": resumption.tls})
    pair.now = resumption.now
    connection = pair.connect()
    assert not connection.can_send
    assert connection.open_stream() is None
    pair.run(lambda: connection.handshake_confirmed)
    assert "0RTT" not in kinds(pair, connection)
    assert accepted(pair) == [False, False]


@pytest.mark.requirement("rfc9001:4.6.2:1")
@pytest.mark.requirement("rfc9001:4.6.2:3")
@pytest.mark.requirement("rfc9001:5.6:4")
@pytest.mark.parametrize("retry", [False, True])
def test_what_is_refused_arrives_in_1_rtt_packets(retry: bool) -> None:
    resumption = Resumption()
    tls = ServerTls(test_certificate(), groups=(P384,) if retry else (X25519,), ticket_key=bytes(32))
    pair = resumption.pair(server={"tls": tls}, groups=(X25519, P384))
    start = pair.now
    connection = pair.connect()
    stream_id = send(connection)
    pair.run_until(start + (5 if retry else 3) * pair.delay_ns)  # together with the client's Finished
    assert received(pair, stream_id) == DATA
    assert connection.stats.packets_lost == 0
    pair.run(lambda: connection.handshake_confirmed)
    assert accepted(pair) == [False, False]
    pair.settle(200 * MS)
    sent = pair.recorder_of(connection).sent
    for kind in ("0RTT", "1RTT"):
        packets = [packet for packet in sent if packet.packet_type == kind]
        carried = {frame.offset for packet in packets for frame in packet.frames if isinstance(frame, StreamFrame)}
        assert 0 in carried
    assert pair.server_connection is not None
    taken = [packet.packet_type for packet in pair.recorder_of(pair.server_connection).received]
    assert "0RTT" not in taken
    assert connection.path.bytes_in_flight == 0


@pytest.mark.requirement("rfc9000:17.2.3:1")
@pytest.mark.requirement("rfc9000:17.2.3:2")
def test_after_a_retry_the_data_is_sent_again_in_0_rtt() -> None:
    pair = Resumption().pair(server={"retry": "always"})
    connection = pair.connect()
    stream_id = send(connection, b"hello")
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    assert received(pair, stream_id) == b"hello"
    assert accepted(pair) == [True, True]
    early = [packet for packet in pair.recorder_of(connection).sent if packet.packet_type == "0RTT"]
    assert len(early) == 2
    assert early[0].number < early[1].number


def test_lost_early_packets_are_repaired() -> None:
    for number in range(5):
        pair = Resumption().pair()
        pair.drop = lambda datagram, number=number: datagram.to_server and datagram.number == number
        connection = pair.connect()
        stream_id = send(connection)
        pair.run(lambda connection=connection: connection.handshake_confirmed)
        pair.settle(2000 * MS)
        assert received(pair, stream_id) == DATA


@pytest.mark.requirement("rfc9000:7.4.1:4")
def test_the_remembered_limits_hold_for_early_data() -> None:
    limits = {
        "initial_max_data": 3000,
        "initial_max_stream_data_bidi_remote": 2000,
        "initial_max_streams_bidi": 3,
        "max_data_window": 0,
        "max_stream_data_window": 0,
    }
    pair = Resumption(**limits).pair(server={**limits, "initial_max_data": 100_000, "initial_max_streams_bidi": 5})
    connection = pair.connect()
    streams = [connection.open_stream() for _ in range(4)]
    assert [stream_id is None for stream_id in streams] == [False, False, False, True]
    for stream_id in streams[:3]:
        assert stream_id is not None
        connection.write(stream_id, bytes(2000), end=True)
    pair.run(lambda: connection.handshake_confirmed)
    early = [packet for packet in pair.recorder_of(connection).sent if packet.packet_type == "0RTT"]
    carried = sum(len(frame.data) for packet in early for frame in packet.frames if isinstance(frame, StreamFrame))
    assert carried == 3000
    pair.settle(200 * MS)
    assert connection.open_stream() is not None
    for stream_id in streams[:3]:
        assert stream_id is not None
        assert received(pair, stream_id) == bytes(2000)


@pytest.mark.requirement("rfc9000:7.4.1:6")
@pytest.mark.requirement("rfc9000:7.4.1:9")
@pytest.mark.parametrize(
    "name",
    [
        "initial_max_data",
        "initial_max_stream_data_bidi_local",
        "initial_max_stream_data_bidi_remote",
        "initial_max_stream_data_uni",
        "initial_max_streams_bidi",
        "initial_max_streams_uni",
        "active_connection_id_limit",
    ],
)
def test_a_server_with_lower_limits_refuses_early_data(name: str) -> None:
    resumption = Resumption(**{name: 5})
    for value, outcome in ((6, True), (5, True), (4, False)):
        pair = resumption.pair(server={name: value})
        pair.connect()
        pair.run_until(pair.now + 100 * MS)
        events = pair.server_events
        assert any(isinstance(event, EarlyDataAccepted) for event in events) is outcome


@pytest.mark.requirement("rfc9000:7.4.1:5")
def test_a_server_that_accepts_and_lowers_a_limit_is_a_protocol_violation(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr("stack.handshake.may_resume_with", lambda remembered, present: True)
    pair = Resumption().pair(server={"initial_max_data": 1000})
    pair.connect()
    pair.run_until(pair.now + 200 * MS)
    ended = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert [(event.code, event.remote) for event in ended] == [(PROTOCOL_VIOLATION, False)]


def late_packet(pair: Pair, after_ns: int) -> tuple[Connection, bytes]:
    """A connection whose second datagram, of 0-RTT, was held back on the way for `after_ns`, and that datagram."""
    pair.drop = lambda datagram: datagram.to_server and datagram.number == 1
    start = pair.now
    connection = pair.connect()
    send(connection)
    pair.run_until(start + after_ns)
    assert connection.handshake_confirmed
    assert pair.server_connection is not None
    return pair.server_connection, next(datagram.payload for datagram in pair.sent if datagram.number == 1)


@pytest.mark.requirement("rfc9001:4.9.3:4")
@pytest.mark.parametrize(("after_ns", "taken"), [(50 * MS, True), (2000 * MS, False)])
def test_a_server_keeps_the_keys_for_three_ptos(after_ns: int, taken: bool) -> None:
    pair = Resumption().pair()
    server, datagram = late_packet(pair, after_ns)
    before = server.stats.packets_dropped
    pair.deliver(datagram, to_server=True)
    early = [packet.at for packet in pair.recorder_of(server).received if packet.packet_type == "0RTT"]
    assert (early[-1] == pair.now) is taken
    assert server.stats.packets_dropped - before == (not taken)


def test_a_server_that_refused_drops_late_packets_at_once() -> None:
    pair = Resumption().pair(server={"tls": ServerTls(test_certificate())})
    server, datagram = late_packet(pair, 50 * MS)
    before = server.stats.packets_dropped
    pair.deliver(datagram, to_server=True)
    assert server.stats.packets_dropped == before + 1


@pytest.mark.requirement("rfc9001:5.6:6")
def test_a_client_discards_0_rtt_packets() -> None:
    pair = Pair()
    client, _ = pair.established()
    header = encode_long_header(VERSIONS[VERSION_1], ZERO_RTT, client.local_ids.first, b"", b"", 40, 0, 1)
    before = client.stats.packets_dropped
    pair.deliver(header + bytes(40), to_server=False)
    assert client.stats.packets_dropped == before + 1


class Crypto:
    """Owner of a CRYPTO frame, as a client must not put into 0-RTT."""

    def write_frame(self, key: int) -> bytes:
        return encode_crypto_header(0, 1) + b"\x05"


@pytest.mark.requirement("rfc9001:8.3:2")
def test_crypto_in_0_rtt_is_a_protocol_violation() -> None:
    pair = Resumption().pair()
    connection = pair.connect()
    owner: Any = Crypto()
    connection.control.owe(owner, 0)
    pair.run_until(pair.now + 100 * MS)
    ended = [event for event in pair.server_events if isinstance(event, ConnectionEnded)]
    assert [(event.code, event.remote) for event in ended] == [(PROTOCOL_VIOLATION, False)]


def test_an_early_stream_gets_the_servers_new_limit() -> None:
    fixed = {"max_stream_data_window": 0, "max_data_window": 0}
    resumption = Resumption(initial_max_stream_data_bidi_remote=2000, **fixed)
    pair = resumption.pair(server={"initial_max_stream_data_bidi_remote": 5000, **fixed})
    connection = pair.connect()
    stream_id = send(connection, bytes(5000))
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)  # nobody has read anything
    assert received(pair, stream_id) == bytes(5000)


def test_early_data_is_sent_again_in_the_version_that_the_server_speaks() -> None:
    pair = Resumption().pair(server={"versions": (VERSION_2,)})
    connection = pair.connect()
    stream_id = send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    assert connection.version.number == VERSION_2
    assert received(pair, stream_id) == DATA
    assert accepted(pair) == [False, False]
    types = kinds(pair, connection)
    assert "0RTT" not in types[types.index("initial", 1) :]


def test_an_application_sends_early_and_is_answered_one_round_trip_later() -> None:
    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), tickets=1, early_data=True)
        while True:
            connection = await listener.accept()
            stream = await connection.accept_stream()
            await stream.write(await stream.read_all(), end=True)

    async def client(net: quicsim.Net) -> list[int]:
        took = []
        session = None
        for _ in range(2):
            start = net.now
            trust = quicsim.test_certificate()
            connection = await net.connect("bob", 4433, trust=trust, session=session, early_data=True)
            stream = await connection.open_stream()
            await stream.write(b"hello", end=True)
            assert await stream.read_all() == b"hello"
            took.append(net.now - start)
            session = await connection.session()
        return took

    sim = quicsim.Simulation(seed=1)
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("10ms")])
    sim.spawn("bob", server)
    assert sim.run(sim.spawn("alice", client)) == [40 * MS, 20 * MS]


@pytest.mark.requirement("rfc9001:4.6.2:2")
def test_an_acknowledgment_of_refused_packets_is_a_protocol_violation() -> None:
    resumption = Resumption()
    pair = resumption.pair(server={"tls": ServerTls(test_certificate(), ticket_key=bytes(32))})
    connection = pair.connect()
    send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    pair.settle(200 * MS)
    assert accepted(pair) == [False, False]
    assert not connection.closed, "what was sent again may be acknowledged"
    assert pair.server_connection is not None
    pair.inject(pair.server_connection, encode_ack([(0, 0)], 0))
    ended = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert [event.code for event in ended] == [PROTOCOL_VIOLATION]


def test_early_packets_that_overtake_the_client_hello_are_read_as_soon_as_it_is_whole() -> None:
    pair = Resumption().pair(groups=(X25519MLKEM768, X25519), key_shares=2)
    late = [1]  # the datagram with the second half of the ClientHello
    pair.drop = lambda datagram: datagram.to_server and datagram.number in late
    connection = pair.connect()
    send(connection)
    pair.run(lambda: any(isinstance(event, EarlyDataAccepted) for event in pair.server_events))
    assert pair.server_connection is not None
    assert not pair.server_connection.handshake_complete
    taken = pair.recorder_of(pair.server_connection).received
    assert "0RTT" in [packet.packet_type for packet in taken]


@pytest.mark.requirement("rfc9000:5.2.2:6")
def test_early_packets_that_overtake_the_first_initial_wait_for_it() -> None:
    pair = Resumption().pair()
    pair.drop = lambda datagram: datagram.to_server and datagram.number == 0
    connection = pair.connect()
    send(connection)
    pair.run(lambda: any(isinstance(event, EarlyDataAccepted) for event in pair.server_events))
    assert pair.server_connection is not None
    overtook = [kind for datagram, kinds in early_datagrams(pair, connection) if datagram.number for kind in kinds]
    assert len(overtook) >= 3
    taken = [packet.packet_type for packet in pair.recorder_of(pair.server_connection).received]
    assert taken.count("0RTT") >= len(overtook)
    pair.run(lambda: connection.handshake_confirmed)
    assert accepted(pair) == [True, True]


def early_datagrams(pair: Pair, connection: Connection) -> list[tuple[Datagram, list[str]]]:
    """The datagrams of nothing but 0-RTT packets that were sent at first."""
    first = pair.sent[0].at
    sent = [(datagram, [each.packet_type for each in packets]) for datagram, packets in pair.datagrams_of(connection)]
    return [(datagram, kinds) for datagram, kinds in sent if datagram.at == first and set(kinds) == {"0RTT"}]


def test_early_packets_from_elsewhere_do_not_wait_for_an_initial() -> None:
    pair = Resumption().pair()
    connection = pair.connect()
    send(connection)
    initial, *early = pair.client.transmit(pair.now)
    for transmit in early:
        pair.server.receive(transmit.payload, ("10.0.0.9", 50_000), transmit.destination, 0, pair.now)
    pair.server.receive(initial.payload, initial.source, initial.destination, 0, pair.now)
    pair.flush()
    assert pair.server_connection is not None
    assert pair.server_connection.stats.datagrams_received == 1
