"""Resumption and 0-RTT with aioquic, in both roles."""

from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.events import HandshakeCompleted, NewSession
from stack.tls.config import ServerTls
from tests.interop.aioquic_memory import (
    DELAY,
    SECOND,
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


def resume(ours: str, drop: Any = None, **changes: Any) -> Pair:
    """A pair whose client resumes a session of an earlier pair, and may send early; `changes` as of `make_pair`."""
    tickets: dict[bytes, Any] = {}
    server = ServerTls(test_certificate(), tickets=1, early_data=True)
    first = make_pair(ours, tls=server if ours == "server" else {}, tickets=tickets)
    first.handshake()
    first.link.settle(SECOND)
    if ours == "client":
        session = first.ours.event(NewSession).session
        fields: dict[str, Any] = {"tls": {"session": session, "early_data": True}, "tickets": tickets}
    else:
        (ticket,) = tickets.values()
        fields = {"tls": server, "aioquic": {"session_ticket": ticket}}
    return make_pair(ours, drop=drop, now=first.link.now, **{**fields, **changes})


def early_data_accepted(pair: Pair) -> bool:
    ours = pair.ours.event(HandshakeCompleted)
    theirs = pair.theirs.event(aioquic_events.HandshakeCompleted)
    assert ours.resumed == theirs.session_resumed
    assert ours.early_data_accepted == theirs.early_data_accepted
    accepted: bool = ours.early_data_accepted
    return accepted


@both_roles
@pytest.mark.parametrize("size", [100, 6000])
def test_early_data_arrives_with_the_first_flight(ours: str, size: int) -> None:
    pair = resume(ours)
    start = pair.link.now
    stream_id = pair.client.open()
    pair.client.send(stream_id, content(size, 1))
    pair.run(lambda: stream_id in pair.server.finished)
    assert pair.link.now == start + DELAY
    pair.handshake()
    assert early_data_accepted(pair)
    assert digest(pair.server.received[stream_id]) == digest(content(size, 1))
    exchange(pair, 20_000)
    assert pair.ours.connection.stats.packets_lost == 0


@both_roles
def test_what_the_server_refuses_arrives_all_the_same(ours: str) -> None:
    nothing = {"tickets": None} if ours == "client" else {"tls": {"early_data": True}}
    pair = resume(ours, **nothing)
    stream_id = pair.client.open()
    pair.client.send(stream_id, content(6000, 1))
    pair.handshake()
    assert not early_data_accepted(pair)
    pair.run(lambda: stream_id in pair.server.finished)
    assert digest(pair.server.received[stream_id]) == digest(content(6000, 1))
    exchange(pair, 20_000)


@both_roles
@pytest.mark.parametrize("seed", range(6))
def test_early_data_survives_losses(ours: str, seed: int) -> None:
    pair = resume(ours, seeded_loss(0.3, seed))
    stream_id = pair.client.open()
    pair.client.send(stream_id, content(6000, 1))
    pair.run(lambda: stream_id in pair.server.finished)
    assert digest(pair.server.received[stream_id]) == digest(content(6000, 1))


def test_our_early_data_follows_aioquics_retry() -> None:  # its client never sends its own again after a Retry
    pair = resume("client", their_retry=True)
    stream_id = pair.client.open()
    pair.client.send(stream_id, content(3000, 1))
    pair.handshake()
    pair.run(lambda: stream_id in pair.server.finished)
    assert early_data_accepted(pair)
