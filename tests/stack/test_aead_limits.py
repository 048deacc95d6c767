"""How much one key may protect, and how many forgeries a connection bears (RFC 9001 section 6.6)."""

from collections import Counter
from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.crypto.packet_protection import SUITES
from stack.errors import AEAD_LIMIT_REACHED, ConfigError
from stack.events import ConnectionEnded
from stack.tls.config import ClientTls
from tests.support.pair import SECOND, Pair
from tests.support.recorder import ConnectionRecorder

PING = b"\x01"


def packets_per_key(recorder: ConnectionRecorder) -> list[int]:
    """How many 1-RTT packets a connection sent in each key phase."""
    counts: list[int] = []
    bit = None
    for packet in recorder.sent:
        if packet.packet_type == "1RTT":
            if packet.key_phase != bit:
                bit = packet.key_phase
                counts.append(0)
            counts[-1] += 1
    return counts


def ended(pair: Pair, of_client: bool) -> ConnectionEnded:
    events = pair.client_events if of_client else pair.server_events
    (event,) = (event for event in events if isinstance(event, ConnectionEnded))
    return event


@pytest.mark.requirement("rfc9001:5.3:3")
@pytest.mark.requirement("rfc9001:6.6:1")
@pytest.mark.requirement("rfc9001:6.6:3")
@pytest.mark.parametrize("by_client", [True, False])
def test_keys_are_updated_long_before_the_confidentiality_limit(by_client: bool) -> None:
    window = {"initial_max_data": 60_000, "max_data_window": 60_000}
    limit = {"confidentiality_limit": 1000, "skip_packet_numbers": False}
    pair = Pair(client=limit if by_client else window, server=window if by_client else limit)
    client, server = pair.established()
    sender, receiver = (client, server) if by_client else (server, client)
    data = bytes(4_000_000)
    assert pair.transfer(sender, receiver, data)[1] == data
    counts = packets_per_key(pair.recorder_of(sender))
    assert len(counts) >= 4
    assert counts[0] == 500
    assert max(counts) < 1000
    assert receiver.key_phases.read == sender.key_phases.write == len(counts) - 1
    assert {trigger for _, _, trigger, _ in pair.recorder_of(receiver).key_updates} == {"remote_update"}


@pytest.mark.requirement("rfc9001:6.6:1")
@pytest.mark.requirement("rfc9001:6.6:2")
@pytest.mark.requirement("rfc9001:6.6:5")
def test_a_key_that_cannot_be_updated_in_time_closes_the_connection() -> None:
    """128 packets are sent faster than three probe timeouts pass after the update before."""
    pair = Pair(client={"confidentiality_limit": 128})
    client, server = pair.established()
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, bytes(1 << 20))
    pair.run(lambda: client.closed)
    closed_at = pair.now
    pair.run(lambda: server.closed)
    assert pair.now == closed_at + pair.delay_ns
    assert (ended(pair, True).code, ended(pair, True).remote) == (AEAD_LIMIT_REACHED, False)
    assert (ended(pair, False).code, ended(pair, False).remote) == (AEAD_LIMIT_REACHED, True)
    counts = packets_per_key(pair.recorder_of(client))
    assert len(counts) == 2
    assert 64 <= counts[1] <= 128


@pytest.mark.requirement("rfc9001:6.6:2")
def test_a_closing_connection_does_not_exceed_the_limit_either() -> None:
    pair = Pair(client={"confidentiality_limit": 128})
    client, server = pair.established()
    client.spaces[2].next_packet_number = 126
    client.close(pair.now)
    for _ in range(100):
        pair.flush()
        pair.inject(server, PING)
    sent = [packet.number for packet in pair.recorder_of(client).sent if packet.packet_type == "1RTT"]
    assert sent[-2:] == [126, 127]


@pytest.mark.requirement("rfc9001:6.6:4")
@pytest.mark.requirement("rfc9001:6.6:6")
@pytest.mark.requirement("rfc9001:6.6:7")
@pytest.mark.parametrize("by_client", [True, False])
def test_too_many_forged_packets_end_the_connection(by_client: bool) -> None:
    limit: dict[str, Any] = {"integrity_limit": 10}
    pair = Pair(server=limit) if by_client else Pair(client=limit)
    client, server = pair.established()
    sender, receiver = (client, server) if by_client else (server, client)
    genuine = [pair.craft(sender, PING + bytes(40)) for _ in range(14)]
    for packet in genuine[:10]:
        pair.deliver(packet[:-1] + bytes((packet[-1] ^ 1,)), to_server=by_client)
    assert receiver.stats.packets_unauthentic == 10
    pair.deliver(genuine[0], to_server=by_client)
    assert not receiver.closed
    forged = genuine[10][:-1] + bytes((genuine[10][-1] ^ 1,))
    pair.deliver(forged, to_server=by_client)
    assert ended(pair, not by_client).code == AEAD_LIMIT_REACHED
    # It says so, and after that processes and answers nothing
    pair.drop = lambda datagram: True
    before = len(pair.sent)
    assert pair.flush() == 1
    received = receiver.stats.packets_received
    for packet in genuine[11:13]:
        pair.deliver(packet, to_server=by_client)
        pair.flush()
    assert receiver.stats.packets_received == received
    assert len(pair.sent) == before + 1
    # Once its state is gone, packets get stateless resets
    pair.run_for(2 * SECOND)
    endpoint = pair.server if by_client else pair.client
    assert not endpoint.connections
    pair.deliver(genuine[13], to_server=by_client)
    pair.flush()
    assert len(pair.sent) == before + 2
    assert len(pair.sent[-1].payload) < len(genuine[13])
    if by_client:  # only a server announces a token for its first connection ID
        assert sender.remote_ids.matches_reset(pair.sent[-1].payload)


def test_forgeries_of_every_packet_type_are_counted() -> None:
    pair = Pair(client={"integrity_limit": 2})
    client = pair.connect()
    pair.run_for(19_000_000)
    assert pair.server_connection is not None
    for level in (0, 2):
        packet = pair.craft(pair.server_connection, PING + bytes(1200), level)
        pair.deliver(packet[:-1] + bytes((packet[-1] ^ 1,)), to_server=False)
        if level == 0:
            pair.run_for(1_000_000)
    assert Counter(trigger for _, _, trigger in pair.recorder_of(client).dropped) == {"decryption_failure": 2}
    assert client.stats.packets_unauthentic == 2
    assert not client.closed


@pytest.mark.parametrize("suite", SUITES)
def test_a_limit_above_that_of_the_suite_has_no_effect(suite: int) -> None:
    tls = ClientTls(trust=test_certificate(), suites=(suite,))
    pair = Pair(client={"tls": tls, "confidentiality_limit": (1 << 62) - 1})
    client, _ = pair.established()
    assert client.spaces[2].number_limit == min(SUITES[suite].confidentiality_limit, (1 << 62) - 1)


@pytest.mark.parametrize(
    ("field", "value"), [("confidentiality_limit", 127), ("confidentiality_limit", 1 << 62), ("integrity_limit", 0)]
)
def test_limits_that_make_no_sense_are_refused(field: str, value: int) -> None:
    limits: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"{field} = {value}: must be None, or from"):
        Config(tls=ClientTls(trust=test_certificate()), **limits)
