"""Sessions between connections: the transport hands tickets out and takes them back."""

from typing import Any

import pytest

import quicsim
from links import Delay
from quicsim.certificates import test_certificate
from stack.events import HandshakeCompleted, NewSession
from stack.tls.config import ClientTls, ServerTls
from stack.wire.decoded_frames import CryptoFrame
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.pair import Pair


def sessions(pair: Pair) -> list[NewSession]:
    return [event for event in pair.client_events if isinstance(event, NewSession)]


def test_a_client_gets_the_configured_number_of_sessions() -> None:
    for tickets in (0, 1, 3):
        pair = Pair(server={"tls": ServerTls(test_certificate(), tickets=tickets, ticket_lifetime=60)})
        _, server = pair.established()
        assert [(event.lifetime, event.early_data) for event in sessions(pair)] == [(60, False)] * tickets
        packets = [packet for packet in pair.recorder_of(server).sent if packet.packet_type == "1RTT"]
        carrying = [packet for packet in packets if any(isinstance(frame, CryptoFrame) for frame in packet.frames)]
        assert bool(carrying) == bool(tickets)


def test_a_ticket_that_was_lost_is_sent_again() -> None:
    pair = Pair(server={"tls": ServerTls(test_certificate(), tickets=1)})
    pair.drop = lambda datagram: not datagram.to_server and datagram.number in (1, 2, 3)
    pair.established()
    assert len(sessions(pair)) == 1


def resumed_with(session: bytes, now: int, server: ServerTls, **client: Any) -> Pair:
    pair = Pair(client={"tls": ClientTls(test_certificate(), session=session), **client}, server={"tls": server})
    pair.now = now
    pair.established()
    return pair


def resumed(pair: Pair) -> list[bool]:
    events = pair.client_events + pair.server_events
    return [event.resumed for event in events if isinstance(event, HandshakeCompleted)]


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_the_next_connection_resumes(version: int) -> None:
    tls = ServerTls(test_certificate(), tickets=1)
    pair = Pair(client={"versions": (version,)}, server={"tls": tls})
    pair.established()
    (event,) = sessions(pair)
    assert event.version == version
    again = resumed_with(event.session, pair.now, tls, versions=(version,))
    assert resumed(again) == [True, True]
    completed = next(event for event in again.client_events if isinstance(event, HandshakeCompleted))
    assert completed.peer_certificates == test_certificate().certificates


@pytest.mark.requirement("rfc9369:5:1")
def test_a_session_is_not_used_in_another_version() -> None:
    tls = ServerTls(test_certificate(), tickets=1)
    pair = Pair(server={"tls": tls, "versions": (VERSION_2, VERSION_1)})  # the server changes over to version 2
    pair.established()
    (event,) = sessions(pair)
    assert event.version == VERSION_2
    assert resumed(resumed_with(event.session, pair.now, tls, versions=(VERSION_1,))) == [False, False]
    assert resumed(resumed_with(event.session, pair.now, tls, versions=(VERSION_2,))) == [True, True]


def test_an_application_resumes_with_one_option() -> None:
    async def server(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), tickets=1)
        while True:
            await listener.accept()

    async def client(net: quicsim.Net) -> list[bool]:
        trust = quicsim.test_certificate()
        first = await net.connect("bob", 4433, trust=trust)
        second = await net.connect("bob", 4433, trust=trust, session=await first.session())
        return [connection.handshake.resumed for connection in (first, second) if connection.handshake]

    sim = quicsim.Simulation(seed=1)
    sim.link("alice", "bob", up=[Delay("10ms")], down=[Delay("10ms")])
    sim.spawn("bob", server)
    assert sim.run(sim.spawn("alice", client)) == [False, True]
