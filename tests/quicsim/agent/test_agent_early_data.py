"""0-RTT with an agent: offered, taken, refused."""

import socket
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from quicsim.agent.consumer import Handshakes
from quicsim.agent.factory import AgentTls
from quicsim.agent.frames import CRYPTO_SECRET, SET, Frame, encode_frame, encode_secret
from quicsim.agent.keys import Policy
from quicsim.agent.messages import AcceptRequest, HandlerClass, Ready, decode, encode
from quicsim.agent.watchers import PollWatcher
from quicsim.certificates import test_certificate
from stack.connection import Connection
from stack.events import ConnectionEnded, EarlyDataAccepted, EarlyDataAllowed, HandshakeCompleted, NewSession
from stack.tls.alerts import INTERNAL_ERROR
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import EARLY, WRITE, NewSecret
from stack.tls.groups import P256, X25519
from tests.support.agent_bench import Bench
from tests.support.pair import MS, Pair

DATA = bytes(range(256)) * 20
SIDES = pytest.mark.parametrize(
    "sides", [{"client"}, {"server"}, {"client", "server"}], ids=["client", "server", "both"]
)


@dataclass
class Resumption:
    """Connections of which the `sides` have an agent: a first one that gives a session, and others that use it."""

    bench: Bench
    sides: set[str]
    server_fields: dict[str, Any] = field(default_factory=dict)
    groups: tuple[int, ...] = (X25519,)  # of own clients

    def __post_init__(self) -> None:
        self.own_server = ServerTls(test_certificate(), tickets=1, early_data=True, groups=(X25519,))
        pair = self.pair(session=None)
        pair.established()
        (event,) = [event for event in pair.client_events if isinstance(event, NewSession)]
        assert event.early_data
        self.session = event.session

    def client(self, **fields: Any) -> AgentTls | ClientTls:
        if "client" in self.sides:
            return self.bench.tls(**{"receive_session_ticket": 5, "early_data": True, **fields})
        return ClientTls(test_certificate(), groups=self.groups, **{"early_data": True, **fields})

    def server(self) -> AgentTls | ServerTls:
        if "server" in self.sides:
            return self.bench.tls(**{"early_data": True, **self.server_fields})
        return self.own_server

    def pair(self, *, client: Any = None, server: dict[str, Any] | None = None, **fields: Any) -> Pair:
        """The next pair; `fields` of the client's factory, unless there is one, `server`: of its Config."""
        if client is None:
            client = self.client(**{"session": getattr(self, "session", None), **fields})
        return self.bench.use(Pair(client={"tls": client}, server={"tls": self.server(), **(server or {})}))


def send(connection: Connection) -> int:
    stream_id = connection.open_stream()
    assert stream_id is not None
    assert connection.write(stream_id, DATA, end=True) == len(DATA)
    return stream_id


def outcome(pair: Pair) -> list[tuple[bool, bool]]:
    """Whether the session was resumed and its 0-RTT accepted, as the client and the server say."""
    events = pair.client_events + pair.server_events
    return [(each.resumed, each.early_data_accepted) for each in events if isinstance(each, HandshakeCompleted)]


def packets(pair: Pair, connection: Connection) -> list[str]:
    return [packet.packet_type for packet in pair.recorder_of(connection).sent]


@SIDES
def test_data_arrives_half_a_round_trip_after_the_start(bench: Bench, sides: set[str]) -> None:
    pair = Resumption(bench, sides).pair()
    connection = pair.connect()
    pair.flush()
    assert any(isinstance(event, EarlyDataAllowed) for event in pair.client_events)
    stream_id = send(connection)
    pair.run_for(pair.delay_ns)
    assert any(isinstance(event, EarlyDataAccepted) for event in pair.server_events)
    assert pair.server_connection is not None
    assert pair.server_connection.read(stream_id) == (DATA, True)
    assert not connection.handshake_complete
    pair.run(lambda: connection.handshake_confirmed)
    assert outcome(pair) == [(True, True), (True, True)]
    names = [{entry[0] for entry in pair.recorder_of(end).secrets} for end in (connection, pair.server_connection)]
    assert names[0] == names[1]
    assert "CLIENT_EARLY_TRAFFIC_SECRET" in names[0]
    assert bench.log == []


@SIDES
def test_nothing_is_sent_early_without_being_asked_for(bench: Bench, sides: set[str]) -> None:
    pair = Resumption(bench, sides).pair(early_data=False)
    connection = pair.connect()
    pair.flush()
    assert not connection.can_send
    pair.run(lambda: connection.handshake_confirmed)
    assert "0RTT" not in packets(pair, connection)
    assert outcome(pair) == [(True, False), (True, False)]


def refused(pair: Pair, resumed: bool = True) -> None:
    """0-RTT is offered and refused, and its data arrives all the same."""
    connection = pair.connect()
    pair.flush()
    stream_id = send(connection)
    pair.run(lambda: connection.handshake_confirmed)
    pair.run_for(2 * pair.delay_ns)
    assert pair.server_connection is not None
    assert pair.server_connection.read(stream_id) == (DATA, True)
    assert "0RTT" in packets(pair, connection)
    assert "0RTT" not in [packet.packet_type for packet in pair.recorder_of(pair.server_connection).received]
    assert outcome(pair) == [(resumed, False)] * 2


@SIDES
def test_a_ticket_serves_once(bench: Bench, sides: set[str]) -> None:
    resumption = Resumption(bench, sides)
    first = resumption.pair()
    first.established()
    assert outcome(first) == [(True, True)] * 2
    refused(resumption.pair())


@pytest.mark.requirement("rfc9000:7.4.1:6")
@SIDES
def test_a_server_with_lower_limits_refuses(bench: Bench, sides: set[str]) -> None:
    pair = Resumption(bench, sides).pair(server={"max_idle_timeout_ms": 1_000, "initial_max_streams_bidi": 1})
    connection = pair.connect()
    pair.flush()
    assert connection.can_send
    pair.run_for(10 * pair.delay_ns)
    assert not any(isinstance(event, EarlyDataAccepted) for event in pair.server_events)
    # Streams may have been opened that there should not be now
    assert [event.reason for event in pair.client_events if isinstance(event, ConnectionEnded)] == [
        "the server refuses 0-RTT, and has lowered initial_max_streams_bidi"
    ]


def test_a_server_may_change_what_is_no_limit(bench: Bench) -> None:
    pair = Resumption(bench, {"server"}).pair(server={"max_idle_timeout_ms": 1_000})
    pair.established()
    assert outcome(pair) == [(True, True)] * 2


def test_a_server_that_takes_none_refuses(bench: Bench) -> None:
    resumption = Resumption(bench, {"server"})
    resumption.server_fields = {"early_data": False}
    refused(resumption.pair())


def test_a_hello_retry_request_of_the_agents_server_refuses() -> None:
    with closing(Bench(policy=Policy((X25519,)))) as bench:
        refused(Resumption(bench, {"server"}, groups=(P256, X25519)).pair())


def test_a_hello_retry_request_to_the_agents_client_refuses() -> None:
    with closing(Bench(policy=Policy((P256, X25519)))) as bench:
        refused(Resumption(bench, {"client"}).pair())


def test_a_client_offers_a_session_in_the_first_connection_that_can(bench: Bench) -> None:
    resumption = Resumption(bench, {"client"})
    tls = resumption.client(session=resumption.session)
    pair = resumption.pair(client=tls)
    pair.client.connect(("10.0.0.1", 50_001), ("10.0.0.2", 4433), pair.now, "elsewhere")  # which it is not from
    pair.flush()
    for resumed in (True, False):
        pair = resumption.pair(client=tls)
        connection = pair.connect()
        pair.flush()
        assert connection.can_send == resumed
        pair.run(lambda: connection.handshake_confirmed)  # noqa: B023
        assert outcome(pair) == [(resumed, resumed)] * 2


def test_a_ticket_that_is_too_old_for_0_rtt_resumes(bench: Bench) -> None:
    resumption = Resumption(bench, {"client", "server"})
    pair = resumption.pair()
    connection = pair.connect()
    pair.drop = lambda datagram: datagram.to_server and pair.now < start + 12_000 * MS
    start = pair.now
    pair.flush()
    assert connection.can_send
    pair.run(lambda: connection.handshake_confirmed)
    assert outcome(pair) == [(True, False)] * 2


def test_an_agent_can_not_send_early_without_a_session() -> None:
    ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handshakes = Handshakes(ours, PollWatcher())
    with closing(handshakes), closing(control):
        pair = Pair(client={"tls": AgentTls(handshakes)})
        pair.connect()
        assert decode(control.recv(100))[1] == Ready(HandlerClass.TLSHD)
        control.send(encode(AcceptRequest(HandlerClass.TLSHD), 1))
        handshakes.watcher.run()
        _, (descriptor,), _, _ = socket.recv_fds(control, 1_000, 1)
        with socket.socket(fileno=descriptor) as agent:
            secret = encode_secret(NewSecret(EARLY, WRITE, 0x1301, bytes(32)))
            agent.send(encode_frame(Frame(SET, CRYPTO_SECRET, secret)))
            handshakes.watcher.run()
            pair.flush()
    (ended,) = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert ended.code == 0x100 | INTERNAL_ERROR
    assert ended.reason == "handshake agent: the agent sets a secret for 0-RTT: must have a session that it resumes"
