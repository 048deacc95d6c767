"""Versions 1 and 2, and both kinds of negotiation between them, with aioquic in both roles."""

from typing import Any

import pytest

from stack.wire.header import parse_long_header
from stack.wire.versions import VERSION_1, VERSION_2
from tests.interop.aioquic_memory import CLIENT, Pair, both_roles, exchange, make_pair, seeded_loss
from tests.support.peers import require

aioquic_packet = require("aioquic.quic.packet")

pytestmark = pytest.mark.peer("aioquic")


def check(pair: Pair, negotiated: int) -> None:
    """Both ends speak the negotiated version, and data moves."""
    pair.handshake()
    exchange(pair, 50_000)
    assert pair.ours.connection.version.number == negotiated
    assert pair.theirs.quic._version == negotiated


@both_roles
@pytest.mark.parametrize("seed", range(4))
def test_version_2_alone(ours: str, seed: int) -> None:
    versions: dict[str, Any] = {"original_version": VERSION_2, "supported_versions": [VERSION_2]}
    pair = make_pair(ours, drop=seeded_loss(0.05, seed), config={"versions": (VERSION_2,)}, aioquic=versions)
    check(pair, VERSION_2)


@both_roles
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("original", "negotiated"), [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)])
def test_a_server_changes_over_to_a_compatible_version(ours: str, original: int, negotiated: int, seed: int) -> None:
    preference = (negotiated, original)
    pair = make_pair(
        ours,
        drop=seeded_loss(0.05, seed),
        config={"versions": preference, "original_version": original},
        aioquic={"original_version": original, "supported_versions": list(preference)},
    )
    check(pair, negotiated)


refused = pytest.mark.parametrize(("original", "other"), [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)])


@refused
@pytest.mark.parametrize("seed", range(4))
def test_their_client_starts_again_in_the_version_of_our_server(original: int, other: int, seed: int) -> None:
    pair = make_pair(
        "server",
        drop=seeded_loss(0.05, seed),
        config={"versions": (other,)},
        aioquic={"original_version": original, "supported_versions": [original, other]},
    )
    check(pair, other)


@refused
def test_our_client_starts_again_in_the_version_of_their_server(original: int, other: int) -> None:
    first: list[bytes] = []

    def drop(by_client: bool, index: int, data: bytes) -> bool:
        if by_client and index == 0:
            first.append(data)  # aioquic's connection leaves versions that it does not know to who receives for it
        return by_client and index == 0

    pair = make_pair(
        "client", drop=drop, config={"versions": (original, other)}, aioquic={"supported_versions": [other]}
    )
    pair.run(lambda: bool(first))
    header = parse_long_header(first[0], 0)
    answer = aioquic_packet.encode_quic_version_negotiation(
        source_cid=header.destination_cid, destination_cid=header.source_cid, supported_versions=[other]
    )
    pair.ours.receive(answer, CLIENT, pair.link.now)
    check(pair, other)
