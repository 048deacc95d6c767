"""The three TLS engines with each other: every kind of handshake over a network that loses a tenth of all datagrams."""

from dataclasses import replace
from typing import Any

import pytest

from stack.errors import ConfigError
from tests.support.tls_matrix import CASES, ENGINES, check, run

# Both ends are our own engine, in an agent or not: then runs of a seed are exact
EXACT = [(client, server) for client in ("own", "agent") for server in ("own", "agent")]

# What GnuTLS can't do, as docs/TLS.md tells: it does not have X25519MLKEM768
GAPS = [(client, server, "X25519MLKEM768") for client in ENGINES for server in ENGINES if "gnutls" in (client, server)]


def matrix() -> list[Any]:
    return [
        pytest.param(client, server, case, marks=[pytest.mark.peer("gnutls")] * ("gnutls" in (client, server)))
        for case in CASES
        for client in ENGINES
        for server in ENGINES
        if (client, server, case) not in GAPS
    ]


@pytest.mark.parametrize(("client", "server", "case"), matrix())
def test_every_kind_of_handshake_between_every_two_engines(client: str, server: str, case: str) -> None:
    made = CASES[case]()
    seen = run(made, client, server, seed=3)
    check(made, seen, accepted=made.accepted)
    if (client, server) in EXACT:
        assert run(made, client, server, seed=3).digest == seen.digest


@pytest.mark.peer("gnutls")
@pytest.mark.parametrize(("client", "server", "case"), GAPS)
def test_a_group_that_gnutls_does_not_have_is_refused_at_once(client: str, server: str, case: str) -> None:
    with pytest.raises(ConfigError, match="groups: GnuTLS does not have 0x11ec"):
        run(CASES[case](), client, server, seed=3)


@pytest.mark.peer("gnutls")
@pytest.mark.parametrize(
    ("client", "server"), [("own", "gnutls"), ("agent", "gnutls"), ("gnutls", "own"), ("gnutls", "agent")]
)
def test_early_data_is_refused_and_sent_again_where_the_clocks_of_the_ends_disagree(client: str, server: str) -> None:
    # Our engines go by virtual time, GnuTLS by the machine's, which hardly moves meanwhile
    made = replace(CASES["0-RTT accepted"](), pause="1min")
    check(made, run(made, client, server, seed=4), accepted=())


def test_another_seed_gives_another_digest() -> None:
    assert len({run(CASES["full"](), "agent", "agent", seed=seed).digest for seed in (1, 2)}) == 2
