"""Stateless reset, sent and received (RFC 9000 section 10.3)."""

import hmac
import random

import pytest

from stack.connection import Connection
from stack.errors import ConnectionClosed
from stack.events import ConnectionEnded
from stack.lifecycle import State
from stack.limits import MAX_STATELESS_RESETS_PER_SECOND
from stack.path.connection_ids import SMALLEST_RESET
from stack.wire.decoded_frames import ConnectionCloseFrame
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, SERVER_ADDRESS, Pair

UNKNOWN = b"\x41unknown!"  # first byte and connection ID of a short header


def answer(pair: Pair, size: int, start: bytes = UNKNOWN) -> bytes | None:
    """What the server answers to a packet of an unknown connection of `size` bytes, if anything."""
    pair.server.receive(start + bytes(size - len(start)), CLIENT_ADDRESS, SERVER_ADDRESS, 0, pair.now)
    transmits = pair.server.transmit(pair.now)
    assert len(transmits) <= 1
    return transmits[0].payload if transmits else None


def lose_state(pair: Pair) -> tuple[Connection, Connection]:
    """A client and its connection at the server, which the server forgets without a word."""
    client, server = pair.established()
    pair.drop = lambda datagram: True
    server.close(pair.now)
    pair.run_for(SECOND)
    assert pair.server.connections == {}
    pair.drop = None
    pair.client_events.clear()
    return client, server


@pytest.mark.requirement("rfc9000:10.3:1")
@pytest.mark.requirement("rfc9000:10.3.1:2")
@pytest.mark.requirement("rfc9000:10.3.1:5")
@pytest.mark.parametrize("seed", range(5))
def test_a_server_without_the_connection_ends_it_at_the_client(seed: int) -> None:
    pair = Pair(seed=seed)
    client, _ = lose_state(pair)
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"hello?")
    pair.run(lambda: client.closed)
    (ended,) = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert ended.stateless_reset
    assert ended.remote
    assert client.closing.state is State.DRAINING
    sent = len(pair.sent)
    with pytest.raises(ConnectionClosed, match="stateless reset") as error:
        client.write(stream_id, b"more")
    assert error.value.stateless_reset
    pair.run_for(10 * SECOND)
    assert len(pair.sent) == sent
    assert pair.client.connections == {}


@pytest.mark.requirement("rfc9000:10.3.3:1")
@pytest.mark.requirement("rfc9000:10.3:5")
@pytest.mark.requirement("rfc9000:10.3:6")
@pytest.mark.requirement("rfc9000:10.3:8")
def test_a_reset_is_shorter_than_its_trigger_and_looks_like_a_short_packet() -> None:
    pair = Pair()
    for size in range(len(UNKNOWN), 1300):
        pair.now += SECOND
        reset = answer(pair, size)
        if size <= SMALLEST_RESET:
            assert reset is None
            continue
        assert reset is not None
        assert SMALLEST_RESET <= len(reset) < size
        assert size > 43 or len(reset) == size - 1
        assert reset[0] & 0xC0 == 0x40


@pytest.mark.requirement("rfc9000:10.3:3")
def test_resets_of_one_connection_id_differ_in_all_but_the_token() -> None:
    pair = Pair()
    resets = [reset for _ in range(50) if (reset := answer(pair, 1200)) is not None]
    assert len({reset[-16:] for reset in resets}) == 1
    assert len({reset[1:5] for reset in resets}) == 50
    assert len({reset[0] for reset in resets}) > 20
    assert len({len(reset) for reset in resets}) > 5


@pytest.mark.requirement("rfc9000:10.3.3:1")
def test_two_endpoints_that_know_nothing_stop_resetting_each_other() -> None:
    pair = Pair()
    data, to_server = UNKNOWN + bytes(1400), True
    for count in range(1500):
        endpoint = pair.server if to_server else pair.client
        source, destination = (CLIENT_ADDRESS, SERVER_ADDRESS) if to_server else (SERVER_ADDRESS, CLIENT_ADDRESS)
        endpoint.receive(data, source, destination, 0, count * SECOND)
        transmits = endpoint.transmit(count * SECOND)
        if not transmits:
            break
        assert len(transmits[0].payload) < len(data)
        data, to_server = transmits[0].payload, not to_server
    assert 0 < count < 50


def test_resets_are_limited_per_second() -> None:
    pair = Pair()
    for _ in range(3):
        resets = [answer(pair, 100) for _ in range(3 * MAX_STATELESS_RESETS_PER_SECOND)]
        assert sum(reset is not None for reset in resets) == MAX_STATELESS_RESETS_PER_SECOND
        pair.now += SECOND


def test_a_configuration_without_stateless_reset_sends_none() -> None:
    pair = Pair(server={"stateless_reset": False})
    client, _ = lose_state(pair)
    assert "stateless_reset_token" not in pair.recorder_of(client).remote_parameters
    assert answer(pair, 1200) is None


@pytest.mark.requirement("rfc9000:10.3.2:5")
def test_a_server_with_empty_connection_ids_announces_no_token() -> None:
    pair = Pair(server={"connection_id_length": 0})
    client, _ = pair.established()
    assert "stateless_reset_token" not in pair.recorder_of(client).remote_parameters


@pytest.mark.requirement("rfc9000:10.3.2:1")
def test_a_token_can_be_computed_by_none_but_its_endpoint() -> None:
    """Tokens of one ID differ between endpoints, those of IDs that differ in a bit have nothing in common."""
    start = UNKNOWN[:-1]
    first, second = Pair(seed=1), Pair(seed=2)
    tokens = [(answer(pair, 100) or b"")[-16:] for pair in (first, second, first)]
    assert tokens[0] == tokens[2] != tokens[1]
    assert tokens[0] == hmac.digest(random.Random(2).randbytes(32), UNKNOWN[1:], "sha256")[:16]
    near = (answer(first, 100, start + bytes((UNKNOWN[-1] ^ 1,))) or b"")[-16:]
    assert (int.from_bytes(near) ^ int.from_bytes(tokens[0])).bit_count() > 32


@pytest.mark.requirement("rfc9000:10.3.2:2")
@pytest.mark.parametrize("length", [8, 12, 20])
def test_the_token_of_every_id_of_an_endpoint_can_be_found_again(length: int) -> None:
    """Whichever of its IDs the peer uses: the packet does not tell how long it is."""
    pair = Pair(server={"connection_id_length": length})
    client, server = pair.established()
    tokens = {server.local_ids.by_sequence[key]: token for key, token in client.remote_ids.reset_tokens.items()}
    assert len(tokens) == 4
    pair.drop = lambda datagram: True
    server.close(pair.now)
    pair.run_for(SECOND)
    for connection_id, token in tokens.items():
        assert len(connection_id) == length
        assert (answer(pair, 100, b"\x41" + connection_id) or b"").endswith(token)


@pytest.mark.requirement("rfc9000:10.3.2:3")
@pytest.mark.requirement("rfc9000:10.3.2:4")
@pytest.mark.parametrize("length", [0, 4, 7])
def test_no_token_is_revealed_for_ids_so_short_that_they_recur(length: int) -> None:
    pair = Pair(server={"connection_id_length": length})
    client, server = pair.established()
    first = server.local_ids.first
    assert "stateless_reset_token" not in pair.recorder_of(client).remote_parameters
    pair.drop = lambda datagram: True
    server.close(pair.now)
    pair.run_for(SECOND)
    assert pair.server.connections == {}
    assert answer(pair, 100, b"\x41" + first) is None


@pytest.mark.requirement("rfc9000:11:4")
@pytest.mark.requirement("rfc9000:21.11:2")
@pytest.mark.parametrize("state", ["open", "closing", "draining"])
def test_ids_of_a_connection_that_is_known_are_never_reset(state: str) -> None:
    pair = Pair()
    client, server = pair.established()
    if state == "closing":
        server.close(pair.now)
        pair.server.transmit(pair.now)
    elif state == "draining":
        client.close(pair.now)
        pair.run_for(11 * MS)
    for connection_id in list(server.local_ids.by_sequence.values()):
        assert answer(pair, 1200, b"\x41" + connection_id) is None
    assert (answer(pair, 1200) or b"")[-16:], "others are"


@pytest.mark.requirement("rfc9000:10.3:2")
def test_an_error_is_told_by_connection_close_while_the_connection_is_known() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.inject(client, b"\x21")
    pair.run_for(11 * MS)
    assert isinstance(pair.recorder_of(server).sent[-1].frames[0], ConnectionCloseFrame)
    (ended,) = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert not ended.stateless_reset


# Detection


def reset_for(client: Connection, *, sequence: int = 0, start: bytes = b"\x47") -> bytes:
    return start + random.Random(3).randbytes(30) + client.remote_ids.reset_tokens[sequence]


@pytest.mark.requirement("rfc9000:10.3:9")
@pytest.mark.requirement("rfc9000:10.3.1:2")
@pytest.mark.parametrize("start", [b"\x40", b"\x7f", b"\xc0\x00\x00\x00\x01\x05", b"\xff\x12\x34\x56\x78\x00"])
@pytest.mark.parametrize("ours", [True, False])
def test_whatever_ends_in_the_token_is_a_reset(start: bytes, ours: bool) -> None:
    """With an unknown connection ID or with one of the client's."""
    pair = Pair()
    client, _ = pair.established()
    if ours and start[0] & 0x80:
        start = start[:5] + b"\x08"
    prefix = start + client.local_ids.first if ours else start
    pair.deliver(reset_for(client, start=prefix), to_server=False)
    assert client.closing.ended is not None
    assert client.closing.ended.stateless_reset


@pytest.mark.requirement("rfc9000:10.3.1:4")
def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    client, _ = pair.established()
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    reset = reset_for(client)
    pair.deliver(reset, to_server=False)
    assert set(compared) == {(reset[-16:], client.remote_ids.reset_tokens[0])}
    assert not client.closed, "no other comparison decides"


@pytest.mark.requirement("rfc9000:10.3.1:3")
def test_tokens_of_ids_that_are_not_in_use_reset_nothing() -> None:
    pair = Pair()
    client, _ = pair.established()
    unused = [sequence for sequence in client.remote_ids.reset_tokens if sequence > 0]
    assert unused
    for sequence in unused:
        pair.deliver(reset_for(client, sequence=sequence), to_server=False)
    assert not client.closed


def test_a_reset_from_another_address_or_one_bit_off_is_ignored() -> None:
    pair = Pair()
    client, _ = pair.established()
    reset = reset_for(client)
    pair.client.receive(reset, ("10.6.6.6", 4433), CLIENT_ADDRESS, 0, pair.now)
    for bit in range(128):
        position = len(reset) - 16 + bit // 8
        wrong = reset[:position] + bytes((reset[position] ^ 1 << bit % 8,)) + reset[position + 1 :]
        pair.deliver(wrong, to_server=False)
    assert not client.closed
    pair.deliver(reset, to_server=False)
    assert client.closed


@pytest.mark.requirement("rfc9000:10.3.1:5")
def test_a_reset_ends_the_closing_state_quietly() -> None:
    pair = Pair()
    client, _ = pair.established()
    client.close(pair.now, 7)
    pair.run_for(MS)
    pair.deliver(reset_for(client), to_server=False)
    assert client.closing.state is State.DRAINING
    ended = [event for event in pair.client_events if isinstance(event, ConnectionEnded)]
    assert [(event.code, event.stateless_reset) for event in ended] == [(7, False)]
