"""What TLS refuses ends the connection, at both ends, with the alert as its error."""

from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.errors import CRYPTO_ERROR
from stack.events import ConnectionEnded, HandshakeCompleted
from stack.tls.certificates import Pinned
from stack.tls.config import ClientTls, ServerTls
from stack.tls.groups import P256, X25519
from tests.support.pair import SECOND, Pair


def case(client: dict[str, Any], server: dict[str, Any], by_client: bool, alert: int, *rules: str) -> Any:
    return pytest.param(client, server, by_client, alert, marks=[pytest.mark.requirement(rule) for rule in rules])


@pytest.mark.requirement("rfc9001:4.8:1")
@pytest.mark.parametrize(
    ("client", "server", "by_client", "alert"),
    [
        case({"trust": Pinned(())}, {}, True, 48, "rfc9001:4.4:1"),
        case({"alpn": ("a",)}, {"alpn": ("b",)}, False, 120, "rfc9001:8.1:2", "rfc9001:8.1:6"),
        case({"suites": (0x1301,)}, {"suites": (0x1302,)}, False, 40),
        case({"groups": (X25519,)}, {"groups": (P256,)}, False, 40),
        case({"signatures": (0x0807,)}, {}, False, 40),
        case({}, {"client_auth": "require", "client_trust": Pinned(())}, False, 116),
    ],
    ids=["certificate", "ALPN", "suite", "group", "signature", "client certificate"],
)
def test_both_ends_report_the_alert(
    client: dict[str, Any], server: dict[str, Any], by_client: bool, alert: int
) -> None:
    pair = Pair(
        client={"tls": ClientTls(**{"trust": test_certificate(), **client})},
        server={"tls": ServerTls(test_certificate(), **server)},
    )
    pair.connect()
    pair.run_until(5 * SECOND)
    for events, is_client in ((pair.client_events, True), (pair.server_events, False)):
        ended = [event for event in events if isinstance(event, ConnectionEnded)]
        assert [(event.code, event.remote) for event in ended] == [(CRYPTO_ERROR | alert, by_client != is_client)]
    assert not any(isinstance(event, HandshakeCompleted) for event in pair.server_events)
