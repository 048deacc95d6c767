"""What TLS refuses ends the connection, at both ends, with the alert as its error."""

from typing import Any

import pytest

from stack.errors import CRYPTO_ERROR
from stack.events import HandshakeCompleted
from stack.tls import messages
from stack.tls.certificates import Authorities, Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.engine import APPLICATION
from stack.tls.extensions import CERTIFICATE
from stack.wire.frames import encode_crypto_header
from tests.support.pair import CLIENT_ADDRESS, SECOND, SERVER_ADDRESS, Pair
from tests.support.tampering_tls import Change, TamperingTls
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


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.parametrize(("client", "server", "by_client", "alert"), DISAGREEMENTS)
def test_both_ends_report_the_alert(
    client: dict[str, Any], server: dict[str, Any], by_client: bool, alert: int
) -> None:
    pair = Pair(
        client={"tls": ClientTls(**{"trust": CREDENTIALS, **client})},
        server={"tls": ServerTls(CREDENTIALS, **server)},
    )
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, by_client, CRYPTO_ERROR | alert)
    assert not any(isinstance(event, HandshakeCompleted) for event in pair.server_events)


@pytest.mark.requirement("rfc9001:4.4:1")
@pytest.mark.requirement("rfc9001:4.8:1")
def test_a_server_of_another_name_is_refused() -> None:
    pair = Pair(client={"tls": ClientTls(Authorities(CREDENTIALS.certificates, IN_2030))})
    pair.client.connect(CLIENT_ADDRESS, SERVER_ADDRESS, 0, "elsewhere.test")
    pair.run_until(5 * SECOND)
    check(pair, True, CRYPTO_ERROR | 42)


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.parametrize(("by_client", "change", "code"), MISDEEDS)
def test_what_a_peer_does_wrong_closes_with_its_alert(by_client: bool, change: Change, code: int) -> None:
    client: Any = ClientTls(CREDENTIALS, credentials=CREDENTIALS)
    server: Any = ServerTls(CREDENTIALS, client_auth="request", client_trust=Pinned(CREDENTIALS.certificates))
    if by_client:
        client = TamperingTls(client, change)
    else:
        server = TamperingTls(server, change)
    pair = Pair(client={"tls": client}, server={"tls": server})
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, not by_client, code)
    judge = pair.server_events if by_client else pair.client_events
    assert not any(isinstance(event, HandshakeCompleted) for event in judge)


@pytest.mark.requirement("rfc9001:4.4:1")
def test_a_server_without_the_key_of_its_certificate_is_refused() -> None:
    stolen = messages.encode_certificate(CREDENTIALS.certificates)
    tls = TamperingTls(ServerTls(stranger()), replacing(CERTIFICATE, lambda message: stolen))
    pair = Pair(server={"tls": tls})
    pair.connect()
    pair.run_until(5 * SECOND)
    check(pair, True, CRYPTO_ERROR | 51)


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.requirement("rfc9001:6:3")
@pytest.mark.parametrize("by_client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("message", LATE_MESSAGES)
def test_a_message_after_the_handshake_closes_with_unexpected_message(by_client: bool, message: bytes) -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client if by_client else server, encode_crypto_header(0, len(message)) + message, APPLICATION)
    pair.run_until(pair.now + 5 * SECOND)
    check(pair, not by_client, CRYPTO_ERROR | 10)
