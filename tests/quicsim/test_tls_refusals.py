"""GnuTLS and the agent refuse what the own engine refuses; both ends then report the same CRYPTO_ERROR."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from quicsim.agent.factory import AgentTls
from stack.errors import CRYPTO_ERROR
from stack.events import HandshakeCompleted
from stack.tls import messages
from stack.tls.alerts import DECRYPT_ERROR, HANDSHAKE_FAILURE
from stack.tls.certificates import Authorities, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION
from stack.tls.extensions import CERTIFICATE
from stack.wire.frames import encode_crypto_header
from tests.support.pair import CLIENT_ADDRESS, SECOND, SERVER_ADDRESS, Pair
from tests.support.tampering_tls import Change, TamperingTls
from tests.support.tls_matrix import AGENT, CLIENTS, SERVERS, Case, agent_of, require_gnutls
from tests.support.tls_refusals import (
    CREDENTIALS,
    DISAGREEMENTS,
    IN_2030,
    LATE_MESSAGES,
    MISDEEDS,
    check,
    replacing,
    stranger,
)

JUDGES = [pytest.param("gnutls", marks=pytest.mark.peer("gnutls")), AGENT]

# Where GnuTLS finds an error, the alert is its choice: docs/TLS.md
CHOSEN_BY_GNUTLS = {
    "client: no groups-gnutls": CRYPTO_ERROR | HANDSHAKE_FAILURE,
    # It looks at the signature of the handshake first
    "client: altered certificate-gnutls": CRYPTO_ERROR | DECRYPT_ERROR,
    "server: altered certificate-gnutls": CRYPTO_ERROR | DECRYPT_ERROR,
}


class Bench:
    """Makes pairs in which one end's engine is that of a judge, and the other one the own engine."""

    def __init__(self, agents: ExitStack) -> None:
        self._agents = agents
        self._pair: Pair | None = None

    def _clock(self) -> int:
        return 0 if self._pair is None else self._pair.now

    def tls(self, judge: str, is_client: bool, case: Case) -> Any:
        """A factory of the judge's."""
        if judge != AGENT:
            require_gnutls()
            if is_client:
                return CLIENTS[judge](**{"trust": case.trust, **case.client})
            return SERVERS[judge](case.credentials, **case.server)
        local, fields = agent_of(case, is_client, self._clock)
        self._agents.callback(local.close)
        return AgentTls(local.handshakes, **fields)

    def pair(self, client: Any, server: Any) -> Pair:
        self._pair = Pair(client={"tls": client}, server={"tls": server})
        return self._pair


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as agents:
        yield Bench(agents)


@pytest.fixture
def expected(request: pytest.FixtureRequest) -> Callable[[str, int], int]:
    """The code that a judge closes with where the own engine closes with another."""
    return lambda judge, code: CHOSEN_BY_GNUTLS.get(request.node.callspec.id, code) if judge == "gnutls" else code


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(("client", "server", "by_client", "alert"), DISAGREEMENTS)
def test_configurations_that_disagree(
    bench: Bench,
    expected: Callable[[str, int], int],
    judge: str,
    client: dict[str, Any],
    server: dict[str, Any],
    by_client: bool,
    alert: int,
) -> None:
    case = Case(client, server, trust=client.get("trust", CREDENTIALS))
    pair = bench.pair(
        bench.tls(judge, True, case) if by_client else ClientTls(**{"trust": CREDENTIALS, **client}),
        ServerTls(CREDENTIALS, **server) if by_client else bench.tls(judge, False, case),
    )
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, by_client, expected(judge, CRYPTO_ERROR | alert))
    assert not any(isinstance(event, HandshakeCompleted) for event in pair.server_events)


@pytest.mark.requirement("rfc9001:4.4:1")
@pytest.mark.parametrize("judge", JUDGES)
def test_a_server_of_another_name(bench: Bench, judge: str) -> None:
    case = Case(trust=Authorities(CREDENTIALS.certificates, IN_2030))
    pair = bench.pair(bench.tls(judge, True, case), ServerTls(CREDENTIALS))
    pair.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, 0, "elsewhere.test")
    pair.run_until(5 * SECOND)
    check(pair, True, CRYPTO_ERROR | 42)


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(("by_client", "change", "code"), MISDEEDS)
def test_what_a_peer_does_wrong(
    bench: Bench, expected: Callable[[str, int], int], judge: str, by_client: bool, change: Change, code: int
) -> None:
    fields = {"client_auth": "request", "client_trust": Pinned(CREDENTIALS.certificates)}
    case = Case({"credentials": CREDENTIALS}, fields)
    if by_client:
        client = TamperingTls(ClientTls(CREDENTIALS, credentials=CREDENTIALS), change)
        pair = bench.pair(client, bench.tls(judge, False, case))
    else:
        pair = bench.pair(bench.tls(judge, True, case), TamperingTls(ServerTls(CREDENTIALS, **fields), change))
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, not by_client, expected(judge, code))
    events = pair.server_events if by_client else pair.client_events
    assert not any(isinstance(event, HandshakeCompleted) for event in events)


@pytest.mark.requirement("rfc9001:4.4:1")
@pytest.mark.parametrize("judge", JUDGES)
def test_a_server_without_the_key_of_its_certificate(bench: Bench, judge: str) -> None:
    stolen = messages.encode_certificate(CREDENTIALS.certificates)
    server = TamperingTls(ServerTls(stranger()), replacing(CERTIFICATE, lambda message: stolen))
    pair = bench.pair(bench.tls(judge, True, Case()), server)
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, True, CRYPTO_ERROR | 51)


@pytest.mark.requirement("rfc9001:6:3")
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("by_client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("message", LATE_MESSAGES)
def test_a_message_after_the_handshake(bench: Bench, judge: str, by_client: bool, message: bytes) -> None:
    pair = bench.pair(
        ClientTls(CREDENTIALS) if by_client else bench.tls(judge, True, Case()),
        bench.tls(judge, False, Case()) if by_client else ServerTls(CREDENTIALS),
    )
    client, server = pair.established()
    sender = client if by_client else server
    offset = sender.spaces[2].crypto.buffer.written  # behind an agent's ticket
    pair.inject(sender, encode_crypto_header(offset, len(message)) + message, APPLICATION)
    pair.run_until(pair.now + 5 * SECOND)
    check(pair, not by_client, CRYPTO_ERROR | 10)
