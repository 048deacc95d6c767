"""Key updates with aioquic, begun by either end, in both roles (RFC 9001 section 6)."""

import pytest

from tests.interop.aioquic_memory import SECOND, Pair, make_pair
from tests.interop.test_aioquic_memory import exchange, seeded_loss

pytestmark = pytest.mark.peer("aioquic")

both_roles = pytest.mark.parametrize("ours", ["client", "server"])
either_begins = pytest.mark.parametrize("beginner", ["ours", "theirs"])


def update(pair: Pair, beginner: str) -> None:
    if beginner == "theirs":
        pair.theirs.quic.request_key_update()
        pair.theirs.quic.send_ping(1)  # it tells the new phase only with the next packet
    else:
        pair.ours.connection.update_keys(pair.link.now)


def phases(pair: Pair) -> tuple[int, int]:
    keys = pair.ours.connection.key_phases
    return keys.write, keys.read


@both_roles
@either_begins
@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303])
def test_keys_are_updated_again_and_again(ours: str, beginner: str, suite: int) -> None:
    pair = make_pair(ours, tls={"suites": (suite,)})
    pair.handshake()
    for phase in range(1, 7):
        update(pair, beginner)
        exchange(pair, 30_000)
        assert phases(pair) == (phase, phase)
        pair.link.settle(SECOND)
    assert pair.ours.connection.stats.packets_unauthentic == 0


@both_roles
def test_the_ends_take_turns(ours: str) -> None:
    pair = make_pair(ours)
    pair.handshake()
    for phase in range(1, 7):
        update(pair, ("ours", "theirs")[phase % 2])
        exchange(pair, 20_000)
        pair.link.settle(SECOND)
        assert phases(pair) == (phase, phase)


@both_roles
@either_begins
@pytest.mark.parametrize("seed", range(4))
def test_updates_while_data_moves_and_gets_lost(ours: str, beginner: str, seed: int) -> None:
    pair = make_pair(ours, drop=seeded_loss(0.05, seed))
    pair.handshake()
    for phase in range(1, 5):
        update(pair, beginner)
        exchange(pair, 100_000)
        assert phases(pair) == (phase, phase)
        pair.link.settle(3 * SECOND)


@both_roles
def test_much_data_updates_the_keys_by_itself(ours: str) -> None:
    pair = make_pair(ours, config={"confidentiality_limit": 1000})
    pair.handshake()
    for _ in range(6):
        exchange(pair, 250_000)
        pair.link.settle(SECOND)
    write, read = phases(pair)
    assert write == read >= 2
