"""Handshakes that an agent does, through the transport, in virtual time."""

import random
import socket
from contextlib import closing
from typing import Any

import pytest

import quicsim
from links import Delay
from quicsim.agent.consumer import Handshakes
from quicsim.agent.factory import AgentTls, LocalAgent
from quicsim.agent.keys import Keys, Policy
from quicsim.agent.watchers import PollWatcher
from quicsim.certificates import test_certificate
from quicsim.net import client_config
from stack.errors import ConfigError, QuicError
from stack.events import ConnectionEnded, HandshakeCompleted, NewSession
from stack.tls.certificates import Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import X25519, X25519MLKEM768
from stack.tls.schedule import SUITES
from stack.wire.varint import encode_varint
from stack.wire.versions import VERSION_2
from tests.support.agent_bench import ALICE, Bench
from tests.support.pair import SECOND, Pair

DATA = random.Random(5).randbytes(100_000)

ROLES = [({}, None), (None, {}), ({}, {})]


@pytest.mark.parametrize(("client", "server"), ROLES, ids=["client", "server", "both"])
def test_a_handshake_and_a_transfer_in_both_directions(bench: Bench, client: Any, server: Any) -> None:
    pair = bench.make(client=client, server=server)
    ours, theirs = pair.established()
    assert pair.transfer(ours, theirs, DATA)[1] == DATA
    assert pair.transfer(theirs, ours, DATA)[1] == DATA
    for events in (pair.client_events, pair.server_events):
        done = next(event for event in events if isinstance(event, HandshakeCompleted))
        assert (done.alpn, done.server_name, done.resumed) == ("quicsim", "localhost", False)
    assert bench.log == []


@pytest.mark.parametrize("lost", [(), (0,), (1,), (0, 1)])
def test_a_server_waits_for_the_whole_of_a_client_hello_in_several_packets(bench: Bench, lost: tuple[int, ...]) -> None:
    credentials = test_certificate()
    pair = bench.use(
        Pair(
            client={"tls": ClientTls(trust=credentials, groups=(X25519MLKEM768, X25519))},
            server={"tls": AgentTls(bench.local.handshakes)},
            drop=lambda datagram: datagram.to_server and datagram.number in lost,
        )
    )
    ours, theirs = pair.established()
    assert pair.transfer(ours, theirs, DATA)[1] == DATA


@pytest.mark.parametrize("server", [{"retry": "always"}, {"versions": (VERSION_2,)}])
def test_a_client_that_is_sent_back_tries_again(bench: Bench, server: dict[str, Any]) -> None:
    pair = bench.use(Pair(client={"tls": AgentTls(bench.local.handshakes)}, server=server))
    ours, theirs = pair.established()
    assert pair.transfer(ours, theirs, DATA)[1] == DATA
    assert bench.log == []


def test_runs_of_a_simulation_with_an_agent_are_the_same() -> None:
    digests = set()
    for _ in range(2):
        simulation = quicsim.Simulation(seed=3)
        keys = Keys({(1, 2): test_certificate()}, {}, {0: Pinned(test_certificate().certificates)})
        local = LocalAgent(keys, random.Random(4), lambda: simulation.now, print)  # noqa: B023
        tls = AgentTls(local.handshakes)

        async def serve(net: quicsim.Net, tls: AgentTls) -> None:
            listener = await net.listen(4433, None, tls=tls)
            conn = await listener.accept()
            stream = await conn.accept_stream()
            await stream.write(await stream.read_all(), end=True)

        async def ask(net: quicsim.Net, tls: AgentTls) -> bytes:
            conn = await net.connect("server", 4433, trust=None, server_name="localhost", tls=tls)
            stream = await conn.open_stream()
            await stream.write(DATA, end=True)
            return await stream.read_all()

        simulation.link("client", "server", up=[Delay("10ms")], down=[Delay("10ms")])
        simulation.spawn("server", serve, tls)
        assert simulation.run(simulation.spawn("client", ask, tls)) == DATA
        digests.add(simulation.digest)
        local.close()
    assert len(digests) == 1


@pytest.mark.parametrize(("name", "given"), [("trust", Pinned(())), ("alpn", ("h3",))])
def test_whom_to_trust_and_what_to_speak_is_left_to_a_factory(bench: Bench, name: str, given: object) -> None:
    options: dict[str, Any] = {"trust": None, "alpn": ("quicsim",), name: given}
    with pytest.raises(ConfigError, match=r"trust and alpn: must be left to tls = AgentTls"):
        client_config(options["trust"], options["alpn"], {"tls": AgentTls(bench.local.handshakes)})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"auth": "none"}, 'auth = \'none\': must be "anon", "x509" or "psk"'),
        ({"alpn": ()}, "alpn = (): must be one or more names of 1 to 255 bytes without commas"),
        ({"alpn": ("a,b",)}, "alpn = ('a,b',): must be one or more names of 1 to 255 bytes without commas"),
        ({"certificate_request": 3}, "certificate_request = 3: must be from 0 to 2"),
        ({"suite": 0x1399}, "suite = 0x1399: must be one of 0x1301, 0x1302, 0x1303, 0x1304, or 0"),
        ({"session": b"QSS"}, "session: 3 bytes that were cut short or changed"),
        ({"receive_session_ticket": 256}, "receive_session_ticket = 256: must be from 0 to 255 seconds"),
    ],
)
def test_a_factory_refuses_what_can_not_be_meant(bench: Bench, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        AgentTls(bench.local.handshakes, **fields)
    assert str(refused.value) == reason


def ended(pair: Pair, side: str) -> ConnectionEnded:
    events = pair.client_events if side == "client" else pair.server_events
    return next(event for event in events if isinstance(event, ConnectionEnded))


@pytest.mark.requirement("rfc9001:4.8:1")
def test_the_agent_verifies_the_server_and_its_alert_closes_the_connection(bench: Bench) -> None:
    pair = bench.make(client={"keyring": 5})
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    pair.settle()
    assert (ended(pair, "client").code, ended(pair, "client").reason) == (
        0x100 | 48,
        "the peer's certificate is not the pinned one",
    )
    assert ended(pair, "server").code == 0x100 | 48
    assert bench.log == ["request 1: EACCES: the peer's certificate is not the pinned one"]


@pytest.mark.requirement("rfc9001:8.1:2")
def test_a_server_without_the_protocol_answers_with_the_alert_for_that(bench: Bench) -> None:
    pair = bench.make(server={"alpn": ("h3", "other")})
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    assert ended(pair, "client").code == 0x100 | 120


@pytest.mark.parametrize(("client", "server"), [({}, None), (None, {}), ({}, {})])
def test_keys_that_both_have_make_certificates_needless(bench: Bench, client: Any, server: Any) -> None:
    pair = bench.make(
        client=None if client is None else {"auth": "psk", "my_peerids": (8, 7)},
        server=None if server is None else {"auth": "psk"},
    )
    if client is None:
        pair = Pair(
            client={"tls": ClientTls(trust=Pinned(()), psks=(ALICE,))},
            server={"tls": AgentTls(bench.local.handshakes, auth="psk")},
        )
    elif server is None:
        pair = Pair(
            client={"tls": AgentTls(bench.local.handshakes, auth="psk", my_peerids=(7,))},
            server={"tls": ServerTls(credentials=None, psks=(ALICE,))},
        )
    bench.use(pair)
    ours, theirs = pair.established()
    assert pair.transfer(ours, theirs, DATA)[1] == DATA
    done = next(event for event in pair.client_events if isinstance(event, HandshakeCompleted))
    assert done.peer_certificates == ()


def test_a_server_of_keys_refuses_a_client_without_one(bench: Bench) -> None:
    pair = bench.make(server={"auth": "psk"})
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    assert ended(pair, "client").code == 0x100 | 40


def test_a_client_with_a_certificate_shows_it_to_a_server_that_requires_one(bench: Bench) -> None:
    pair = bench.make(client={"auth": "x509", "my_cert": 1, "my_privkey": 2}, server={"certificate_request": 2})
    pair.established()
    done = next(event for event in pair.server_events if isinstance(event, HandshakeCompleted))
    assert done.peer_certificates == test_certificate().certificates


def test_a_server_that_requires_a_certificate_refuses_a_client_without(bench: Bench) -> None:
    pair = bench.make(server={"certificate_request": 2})
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    assert ended(pair, "client").code == 0x100 | 116


def test_a_ticket_of_the_agents_server_resumes_the_session(bench: Bench) -> None:
    pair = bench.make(client={"receive_session_ticket": 5}, server={})
    pair.established()
    session = next(event for event in pair.client_events if isinstance(event, NewSession))
    pair = bench.make(client={"session": session.session}, server={})
    pair.established()
    for events in (pair.client_events, pair.server_events):
        assert next(event for event in events if isinstance(event, HandshakeCompleted)).resumed


@pytest.mark.parametrize(("client", "server"), ROLES, ids=["client", "server", "both"])
def test_secrets_are_told_to_observers_by_their_names_in_key_logs(bench: Bench, client: Any, server: Any) -> None:
    pair = bench.make(client=client, server=server)
    ours, theirs = pair.established()
    secrets = [set(pair.recorder_of(connection).secrets) for connection in (ours, theirs)]
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == 5


def test_a_session_of_version_2_belongs_to_version_2(bench: Bench) -> None:
    versions = (0x6B3343CF, 1)
    handshakes = bench.local.handshakes
    pair = bench.use(
        Pair(
            client={"tls": AgentTls(handshakes, receive_session_ticket=5)},
            server={"tls": AgentTls(handshakes), "versions": versions},
        )
    )
    ours, _ = pair.established()
    assert ours.version.number == versions[0]
    session = next(event for event in pair.client_events if isinstance(event, NewSession))
    assert session.version == versions[0]
    pair = bench.use(
        Pair(
            client={"tls": AgentTls(handshakes, session=session.session), "original_version": versions[0]},
            server={"tls": AgentTls(handshakes), "versions": versions},
        )
    )
    pair.established()
    assert next(event for event in pair.client_events if isinstance(event, HandshakeCompleted)).resumed


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_agent_that_goes_in_mid_handshake_ends_it(bench: Bench, side: str) -> None:
    pair = bench.make(**{side: {}})
    connection = pair.connect()
    pair.run(lambda: len(pair.sent) >= 2)
    bench.local.agent.close()
    bench.local.watcher.run()
    pair.run(lambda: connection.closed)
    pair.settle()
    assert ended(pair, side).code == 0x100 | 80
    assert ended(pair, side).reason == "handshake agent: it has gone (EIO)"
    assert ended(pair, "server" if side == "client" else "client").code == 0x100 | 80


def test_without_an_agent_there_is_no_handshake(bench: Bench) -> None:
    bench.local.agent.close()
    bench.local.watcher.run()
    for side in ("client", "server"):
        pair = bench.make(**{side: {}})
        connection = pair.connect()
        pair.run(lambda: connection.closed)  # noqa: B023
        assert ended(pair, side).reason == "handshake agent: there is none (ESRCH)"


def test_a_handshake_that_takes_too_long_is_given_up(bench: Bench) -> None:
    pair = bench.make(client={"timeout_ms": 250})
    pair.drop = lambda datagram: not datagram.to_server
    connection = pair.connect()
    pair.run_until(249_999_999)
    assert bench.local.agent.deadline() == 250_000_000
    bench.local.agent.timeout()
    assert not connection.closed
    pair.run_until(250_000_000)
    bench.local.agent.timeout()
    bench.local.watcher.run()
    pair.flush()
    assert connection.closed
    assert ended(pair, "client").code == 0x100 | 80
    assert ended(pair, "client").reason == "handshake agent: not complete within 250 ms (ETIMEDOUT)"
    assert bench.log == ["request 1: ETIMEDOUT: not complete within 250 ms"]


def test_a_key_that_the_agent_does_not_have_is_named(bench: Bench) -> None:
    pair = bench.make(client={"auth": "psk", "my_peerids": (9,)})
    connection = pair.connect()
    pair.run(lambda: connection.closed)
    assert ended(pair, "client").reason == "handshake agent: the agent has no pre-shared key 9 (ENOKEY)"


@pytest.mark.requirement("rfc9001:6:3")
def test_messages_after_the_handshake_are_refused_without_the_agent(bench: Bench) -> None:
    key_update = bytes.fromhex("1800000100")
    for side in ("client", "server"):
        pair = bench.make(**{side: {}})
        ours, theirs = pair.established()
        sender = theirs if side == "client" else ours
        offset = sender.spaces[2].crypto.buffer.written
        pair.inject(sender, b"\x06" + encode_varint(offset) + bytes((len(key_update),)) + key_update)
        pair.flush()
        assert ended(pair, side).code == 0x100 | 10


def test_a_full_queue_fails_the_connection_and_those_before_wait() -> None:
    ours, agent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # where nobody asks for requests
    handshakes = Handshakes(ours, PollWatcher(), max_pending=3)
    pair = Pair(client={"tls": AgentTls(handshakes)})
    connections = [pair.connect() for _ in range(4)]
    pair.flush()
    assert [connection.closed for connection in connections] == [False, False, False, True]
    assert ended(pair, "client").code == 0x100 | 80
    assert ended(pair, "client").reason == "handshake agent: its queue is full (EAGAIN)"
    handshakes.close()
    agent.close()
    pair.flush()
    assert all(connection.closed for connection in connections)
    reasons = [event.reason for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert reasons[1:] == ["handshake agent: there is none (ESRCH)"] * 3


def test_a_connection_that_is_over_takes_its_request_back() -> None:
    ours, agent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handshakes = Handshakes(ours, PollWatcher(), max_pending=3)
    pair = Pair(client={"tls": AgentTls(handshakes)})
    for _ in range(4):
        pair.connect().close(pair.now)
        pair.run_for(10 * SECOND)  # until it is forgotten
    reasons = [(event.code, event.reason) for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert reasons == [(0, "")] * 4
    handshakes.close()
    agent.close()


@pytest.mark.parametrize(("client", "server"), ROLES, ids=["client", "server", "both"])
@pytest.mark.parametrize("suite", SUITES)
def test_both_ends_export_the_same_keying_material(bench: Bench, client: Any, server: Any, suite: int) -> None:
    own = {"client": ClientTls(test_certificate(), suites=(suite,)), "server": ServerTls(test_certificate())}
    pair = bench.use(
        Pair(
            client={"tls": own["client"] if client is None else bench.tls(suite=suite)},
            server={"tls": own["server"] if server is None else bench.tls()},
        )
    )
    connection = pair.connect()
    with pytest.raises(QuicError, match="only when the handshake is complete"):
        connection.export_keying_material(b"EXPORTER-test", b"", 32)
    pair.run(lambda: connection.handshake_confirmed)
    assert pair.server_connection is not None
    ends = (connection, pair.server_connection)
    first, second = (end.export_keying_material(b"EXPORTER-test", b"context", 100) for end in ends)
    assert first == second
    assert first != connection.export_keying_material(b"EXPORTER-test", b"", 100)
    for end in ends:
        with pytest.raises(QuicError, match="a label of up to 249 bytes"):
            end.export_keying_material(bytes(250), b"", 1)


def test_a_client_with_an_agent_offers_a_post_quantum_key_if_its_policy_says_so() -> None:
    server = ServerTls(test_certificate(), groups=(X25519MLKEM768,))
    with closing(Bench(policy=Policy((X25519MLKEM768, X25519)))) as bench:
        pair = bench.use(Pair(client={"tls": bench.tls()}, server={"tls": server}))
        ours, theirs = pair.established()
        assert pair.transfer(ours, theirs, DATA)[1] == DATA
