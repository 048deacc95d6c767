"""Each other implementation as an endpoint of the interop runner's contract, against itself or another one."""

from pathlib import Path

import pytest

from quicsim.interop.peers import H3, HQ, PEERS, UNSUPPORTED, Role
from tests.support.endpoints import Exchange, installed

# server, client, protocol, test case of the client, of the server
PAIRS = [
    ("aioquic", "aioquic", HQ, "retry"),
    ("aioquic", "aioquic", HQ, "v2"),
    ("aioquic", "qh3", HQ, "resumption"),
    ("aioquic", "quic-go", HQ, "keyupdate"),
    ("aioquic", "aioquic", HQ, "zerortt"),
    ("qh3", "qh3", H3, "http3"),
    ("ngtcp2", "ngtcp2", H3, "retry"),
    ("ngtcp2", "ngtcp2", H3, "zerortt"),
    ("ngtcp2", "aioquic", H3, "chacha20"),
    ("quic-go", "quic-go", HQ, "retry"),
    ("quic-go", "quic-go", HQ, "zerortt"),
    ("quic-go", "quic-go", H3, "zerortt"),
    ("quic-go", "ngtcp2", H3, "keyupdate"),
    ("quic-go", "qh3", HQ, "multiconnect"),
    ("quinn", "quinn", HQ, "zerortt"),
    ("quinn", "aioquic", HQ, "keyupdate"),
    ("quic-go", "quinn", HQ, "retry"),
    ("aioquic", "chromium", H3, "retry"),
    ("caddy", "chromium", H3, "http3"),
    ("caddy", "ngtcp2", H3, "multiconnect"),
    ("caddy", "quic-go", H3, "chacha20"),
]


@pytest.mark.parametrize(("server", "client", "protocol", "testcase"), PAIRS)
def test_files_come(tmp_path: Path, server: str, client: str, protocol: str, testcase: str) -> None:
    exchange = Exchange(tmp_path, 1000, 300_000, 20_000, protocol=protocol)
    serving, fetching = installed(server), installed(client)
    assert fetching.supports(testcase, Role.CLIENT)
    with exchange.serving(serving, "transfer" if testcase == "keyupdate" else testcase) as port:
        code = exchange.fetch(fetching, testcase, port)
    assert (code, exchange.fetched) == (0, True), exchange.log("client")


@pytest.mark.parametrize("name", PEERS)
def test_a_test_case_that_a_peer_does_not_have_is_declined(tmp_path: Path, name: str) -> None:
    assert not PEERS[name].supports("juggling", Role.CLIENT)
    assert Exchange(tmp_path, 1).fetch(PEERS[name], "juggling", 1) == UNSUPPORTED
