"""Whatever arrives, in or out of protection: no exception, a proper close or a connection that goes on, bounded memory.

QUICSIM_FUZZ_EXAMPLES=200000 in the environment runs that many examples in all, new ones every time.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.connection import Connection
from stack.endpoint import Endpoint
from stack.errors import CRYPTO_ERROR, NAMES, NO_ERROR, QuicError
from stack.events import ConnectionAccepted, ConnectionEnded, ConnectionEvent, StreamReadable
from stack.limits import MAX_ISSUED_CONNECTION_IDS, MAX_RECEIVED_RANGES
from tests.stack.fuzz_grammar import (
    PLAUSIBLE_EARLY,
    STRANGE_EARLY,
    STRANGE_LATE,
    Change,
    Flip,
    Packet,
    Splice,
    Truncate,
    packets,
    plausible_late,
)
from tests.stack.fuzz_pair import (
    CONTENT,
    STREAM_LIMIT,
    Attacker,
    Pair,
    attack_1rtt,
    attack_handshake,
    attack_initial,
    recording,
)
from tests.support.compiled import COMPILED

EXAMPLES: Final = {
    "random bytes": 6000,
    "truncated": 1500,
    "bits flipped": 2000,
    "spliced": 1500,
    "initial to server": 1250,
    "initial to client": 1250,
    "handshake to server": 1250,
    "handshake to client": 1250,
    "1rtt to server": 2000,
    "1rtt to client": 2000,
}
TOTAL: Final = sum(EXAMPLES.values())
# A compiled stack, of the same sources, gets a quarter
WANTED: Final = int(os.environ.get("QUICSIM_FUZZ_EXAMPLES", TOTAL // 4 if COMPILED else TOTAL))

MOST_OWED_FRAMES: Final = 500


def test_the_categories_make_twenty_thousand_examples() -> None:
    assert TOTAL >= 20_000


def run_examples(category: str, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Run the category's share of examples through `check`, and see that they were run."""
    share = EXAMPLES[category] * WANTED // TOTAL
    count = 0

    @settings(
        max_examples=share,
        derandomize="QUICSIM_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def examples(example: Any) -> None:
        nonlocal count
        count += 1
        check(example)

    examples()
    assert count >= share


def read_all(endpoint: Endpoint) -> dict[int, bytes]:
    """Read what arrived on every stream."""
    found: dict[int, bytes] = {}
    for connection, event in endpoint.events():
        if isinstance(event, StreamReadable):
            data, end = connection.read(event.stream_id)
            assert end
            found[event.stream_id] = data
    return found


# Damage on the way: nothing authentic can come of it, so the connection must work as if it had not been


class Damage(NamedTuple):
    """What is done to a datagram sent before, and when it arrives."""

    sent: int
    at: int
    change: Change


def check_damaged(damages: list[Damage]) -> None:
    datagrams = len(recording())
    pair = Pair()

    def inject(carried: list[tuple[bool, bytes]]) -> None:
        for damage in damages:
            if damage.at % datagrams == len(carried) - 1:
                by_client, data = carried[damage.sent % len(carried)]
                pair.deliver(damage.change(data, carried), by_client)

    pair.talk(inject)
    pair.start_streams()
    pair.talk(inject)
    assert read_all(pair.server) == {0: CONTENT, 2: CONTENT}
    assert read_all(pair.client) == {1: CONTENT, 3: CONTENT}


def damages(change: st.SearchStrategy[Change]) -> st.SearchStrategy[list[Damage]]:
    position = st.integers(0, 63)
    return st.lists(st.builds(Damage, position, position, change), min_size=1, max_size=4)


def test_truncated_datagrams_change_nothing() -> None:
    run_examples("truncated", damages(st.builds(Truncate, st.integers(0, 1300))), check_damaged)


def test_flipped_bits_change_nothing() -> None:
    near = st.integers(0, 400)  # headers
    bits = st.lists(near | st.integers(0, 9600), min_size=1, max_size=4, unique=True)
    run_examples("bits flipped", damages(st.builds(Flip, bits.map(tuple))), check_damaged)


def test_spliced_datagrams_change_nothing() -> None:
    cut = st.just(0) | st.integers(0, 1300)
    run_examples("spliced", damages(st.builds(Splice, st.integers(0, 63), cut, cut)), check_damaged)


def test_random_bytes_change_nothing() -> None:
    pair = Pair()
    pair.talk()
    start = st.sampled_from([b"", b"\x40", b"\xc0\0\0\0\x01", b"\xe0\0\0\0\x01", b"\xf0\0\0\0\x01", b"\xc0\0\0\0\0"])

    def check(example: tuple[bool, bytes, bool, int, bytes]) -> None:
        to_server, first, known, size, rest = example
        receiver = pair.server_connection if to_server else pair.client_connection
        if known:
            connection_id = receiver.local_ids.first
            first += connection_id if len(first) == 1 else bytes((len(connection_id),)) + connection_id
        pair.deliver((first + rest).ljust(size, b"\x5a"), by_client=to_server)
        pair.talk()
        assert len(pair.server.connections) == 1
        assert not pair.client_connection.closed
        assert not pair.server_connection.closed

    size = st.sampled_from([0, 1200, 1500])
    run_examples("random bytes", st.tuples(st.booleans(), start, st.booleans(), size, st.binary(max_size=200)), check)


# Authentic packets: what they say is wrong, or merely strange


def check_limits(connection: Connection) -> None:
    """What a peer can make a connection hold is bounded, and the books balance."""
    opened = [stream_id for stream_id in connection.streams.streams if (stream_id & 1) == connection.is_client]
    assert sum(stream_id & 2 == 0 for stream_id in opened) <= STREAM_LIMIT
    assert sum(stream_id & 2 == 2 for stream_id in opened) <= STREAM_LIMIT
    assert len(connection.local_ids.by_sequence) <= MAX_ISSUED_CONNECTION_IDS
    assert len(connection.control.owed) <= MOST_OWED_FRAMES
    in_flight = 0
    for space in connection.spaces:
        assert len(space.acks.received) <= MAX_RECEIVED_RANGES
        assert space.eliciting_in_flight == sum(packet.ack_eliciting for packet in space.sent)
        in_flight += sum(packet.size for packet in space.sent if packet.in_flight)
    assert connection.path.bytes_in_flight == in_flight
    if not connection.closed:
        assert len(connection.remote_ids.reset_tokens) <= connection.config.active_connection_id_limit
        windows = [stream.receive.window for stream in connection.streams.streams.values() if stream.receive]
        for window in [connection.flow.window, *windows]:
            assert window.consumed <= window.received <= window.limit
        assert all(space.largest_acked < space.next_packet_number for space in connection.spaces)


def use(connection: Connection, action: int, events: list[ConnectionEvent]) -> None:
    """Be the application: read what can be read, open and write, or give up on every stream."""
    if connection.closed or not connection.handshake_complete:
        return
    if action == 1:
        for stream_id in [event.stream_id for event in events if isinstance(event, StreamReadable)]:
            with suppress(QuicError):  # reset meanwhile, or read to its end
                connection.read(stream_id)
    elif action == 2:
        opened = connection.open_stream()
        if opened is not None:
            connection.write(opened, CONTENT, end=True)
    elif action == 3:
        for stream_id in list(connection.streams.streams):
            for give_up in (connection.reset, connection.stop_sending):
                with suppress(QuicError):  # the stream has no such part
                    give_up(stream_id, 7)


def check_end(connection: Connection, events: list[ConnectionEvent]) -> None:
    """A connection that ended said so once, at last, and with a code that means something."""
    ended = [event for event in events if isinstance(event, ConnectionEnded)]
    assert len(ended) == connection.closed
    if ended:
        assert events[-1] is ended[0]
        code = ended[0].code
        assert ended[0].remote or ended[0].idle or code in NAMES or CRYPTO_ERROR <= code <= CRYPTO_ERROR + 0xFF
        assert ended[0].remote or ended[0].idle or code != NO_ERROR


def check_authentic(attacker: Attacker, sent: list[Packet]) -> None:
    events: list[ConnectionEvent] = []

    def take_events() -> None:
        for _, event in attacker.endpoint.events():
            if not isinstance(event, ConnectionAccepted):
                events.append(event)

    attacker.endpoint.transmit(attacker.now)
    for packet in sent:
        attacker.number += packet.skipped
        was_closed = any(isinstance(event, ConnectionEnded) for event in events)
        attacker.send(packet.payload(), packet.number_length, packet.reserved)
        connection = attacker.connection()
        take_events()
        check_end(connection, events)
        closes = connection.closed and not was_closed
        use(connection, packet.action, events)
        answer = attacker.endpoint.transmit(attacker.now)
        if closes and isinstance(events[-1], ConnectionEnded) and not events[-1].remote:
            assert answer, "CONNECTION_CLOSE must go"
        check_limits(connection)
    for _ in range(4):
        at = attacker.endpoint.deadline()
        if at is None:
            break
        attacker.now = max(attacker.now, at)
        attacker.endpoint.timeout(attacker.now)
        attacker.endpoint.transmit(attacker.now)
        check_limits(connection)
    take_events()
    check_end(connection, events)
    if not connection.closed:
        received = connection.stats.packets_received
        attacker.send(b"\x01", 4)
        assert connection.stats.packets_received == received + 1


ATTACKS: Final = {"initial": attack_initial, "handshake": attack_handshake, "1rtt": attack_1rtt}


@pytest.mark.parametrize("space", ATTACKS)
@pytest.mark.parametrize("receiver", ["server", "client"])
def test_authentic_packets_close_the_connection_properly_or_leave_it_working(space: str, receiver: str) -> None:
    to_server = receiver == "server"
    if space == "1rtt":
        grammar = packets(plausible_late(opener=0 if to_server else 1), STRANGE_LATE)
    else:
        grammar = packets(PLAUSIBLE_EARLY, STRANGE_EARLY)
    run_examples(f"{space} to {receiver}", grammar, lambda sent: check_authentic(ATTACKS[space](to_server), sent))
