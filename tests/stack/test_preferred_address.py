"""The server's preferred address (RFC 9000 section 9.6)."""

from typing import Any

import pytest

from stack.config import Config
from stack.errors import TRANSPORT_PARAMETER_ERROR, ConfigError
from stack.events import ConnectionEnded, PathChanged, PathFailed
from stack.migration import is_probing
from stack.wire.decoded_frames import PathChallengeFrame, PathResponseFrame
from tests.support.pair import CLIENT_ADDRESS, MS, SECOND, SERVER_ADDRESS, Datagram, Pair

PREFERRED = ("10.0.0.77", 443)
PREFERRED_V6 = ("fd00::77", 443)
SECOND_ADDRESS = ("10.0.1.1", 1111)  # of the client
V6_ADDRESS = ("fd00::1", 1111)
DATA = bytes(range(256)) * 1_000
SERVER: dict[str, Any] = {"preferred_address_v4": PREFERRED, "preferred_address_v6": PREFERRED_V6}


def at_preferred(datagram: Datagram) -> bool:
    return PREFERRED in (datagram.source, datagram.destination)


@pytest.mark.requirement("rfc9000:9.6.1:2")
@pytest.mark.requirement("rfc9000:9.6.1:3")
def test_a_client_moves_to_the_preferred_address_as_soon_as_it_is_validated() -> None:
    pair = Pair(server=SERVER)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    confirmed_at = pair.now
    preferred_id = client.parameters.peer.preferred_address.connection_id  # type: ignore[union-attr]
    pair.run(lambda: PathChanged(CLIENT_ADDRESS, PREFERRED) in pair.client_events)
    assert pair.now - confirmed_at == 20 * MS, "one round trip"
    changed_at = pair.now
    server = pair.server_connection
    assert server is not None
    assert pair.transfer(client, server, DATA)[1] == DATA
    pair.settle(4 * SECOND)
    later = [each for each in pair.sent if each.to_server and each.at >= changed_at]
    assert {each.destination for each in later} == {PREFERRED}
    assert {each.payload[1:9] for each in later} == {preferred_id}
    assert server.path.local == PREFERRED
    assert [len(connection.paths.all) for connection in (client, server)] == [1, 1]


@pytest.mark.requirement("rfc9000:9.6.2:1")
@pytest.mark.requirement("rfc9000:21.5.3:1")
@pytest.mark.requirement("rfc9000:9.6.1:4")
def test_a_preferred_address_that_does_not_answer_gets_probes_only_and_the_client_stays() -> None:
    pair = Pair(server=SERVER)
    pair.drop = at_preferred
    client, server = pair.established()
    assert pair.transfer(client, server, DATA)[1] == DATA
    pair.run(lambda: PathFailed(CLIENT_ADDRESS, PREFERRED) in pair.client_events)
    assert pair.transfer(client, server, DATA)[1] == DATA
    assert client.path.remote == SERVER_ADDRESS
    probes = [packets for datagram, packets in pair.datagrams_of(client) if datagram.destination == PREFERRED]
    assert len(probes) == 2
    assert all(type(packets[0].frames[0]) is PathChallengeFrame and len(packets[0].frames) == 2 for packets in probes)


@pytest.mark.requirement("rfc9000:9.6.2:2")
@pytest.mark.requirement("rfc9000:9.6.2:3")
def test_the_server_stays_at_its_first_address_until_the_client_came_and_the_path_is_validated() -> None:
    pair = Pair(server=SERVER)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    server = pair.server_connection
    assert server is not None
    stream_id = server.open_stream()
    assert stream_id is not None
    server.write(stream_id, DATA)
    pair.settle(4 * SECOND)
    sent = [(each, packets[0]) for each, packets in pair.datagrams_of(server) if not each.payload[0] & 0x80]
    came_at = next(
        packet.at
        for packet in pair.recorder_of(server).received
        if packet.path and not {PathChallengeFrame, PathResponseFrame} & set(map(type, packet.frames))
    )
    validated_at = next(
        packet.at for packet in pair.recorder_of(server).received if PathResponseFrame in map(type, packet.frames)
    )
    probes = {PathChallengeFrame, PathResponseFrame}
    from_preferred = [(each, packet) for each, packet in sent if each.source == PREFERRED]
    early = [packet for each, packet in from_preferred if each.at < max(came_at, validated_at)]
    assert early
    assert all(probes & set(map(type, packet.frames)) for packet in early)
    assert any(PathChallengeFrame in map(type, packet.frames) for packet in early)
    data = [each.source for each, packet in sent if not probes & set(map(type, packet.frames))]
    assert data == sorted(data, key=lambda source: source == PREFERRED), "first the one, then the other"
    assert set(data) == {SERVER_ADDRESS, PREFERRED}


@pytest.mark.requirement("rfc9000:9.6.2:4")
def test_a_server_that_moved_drops_what_is_newer_at_its_first_address() -> None:
    pair = Pair(server=SERVER)
    client, server = pair.established()
    assert server.path.local == PREFERRED
    stream_id = client.open_stream()
    assert stream_id is not None
    client.write(stream_id, b"hello")
    for transmit in pair.client.transmit(pair.now):
        pair.server.receive(transmit.payload, CLIENT_ADDRESS, SERVER_ADDRESS, 0, pair.now)
    assert stream_id not in server.streams.streams
    pair.settle()
    assert server.read(stream_id)[0] == b"hello", "sent again, to the right address"


@pytest.mark.requirement("rfc9000:9.6.3:4")
@pytest.mark.requirement("rfc9000:9.6.3:5")
def test_a_client_that_appears_elsewhere_at_the_preferred_address_is_validated_within_the_limit() -> None:
    pair = Pair(server=SERVER)
    client = pair.connect()
    pair.run_until(30 * MS)
    server = pair.server_connection
    assert server is not None
    assert server.handshake_confirmed
    pair.rebind(("10.0.3.3", 3333))
    pair.run_for(20 * MS)
    path = next(path for path in server.paths.all if path.local == PREFERRED)
    assert path.remote == ("10.0.3.3", 3333)
    assert not path.validated
    assert path.validation.under_way
    assert path.bytes_sent <= 3 * path.bytes_received
    assert pair.transfer(client, server, DATA)[1] == DATA
    pair.settle()
    assert (server.path.local, server.path.remote) == (PREFERRED, ("10.0.3.3", 3333))


@pytest.mark.requirement("rfc9000:9.6.3:1")
@pytest.mark.requirement("rfc9000:9.6.3:2")
@pytest.mark.requirement("rfc9000:9.6.3:6")
def test_a_client_that_moves_before_it_knows_tries_both_addresses_and_takes_the_preferred_one() -> None:
    pair = Pair(server=SERVER)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.flush()
    probed = [each.destination for each in pair.sent if each.source == SECOND_ADDRESS]
    assert set(probed) == {SERVER_ADDRESS, PREFERRED}
    pair.settle(4 * SECOND)
    assert (client.path.local, client.path.remote) == (SECOND_ADDRESS, PREFERRED)
    assert len(client.paths.all) == 1
    assert pair.server_connection is not None
    assert pair.server_connection.path.remote == SECOND_ADDRESS


def test_a_client_that_moves_takes_the_first_address_when_the_preferred_one_fails() -> None:
    pair = Pair(server=SERVER)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    pair.drop = at_preferred
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.settle(4 * SECOND)
    assert (client.path.local, client.path.remote) == (SECOND_ADDRESS, SERVER_ADDRESS)


@pytest.mark.requirement("rfc9000:9.6.3:6")
def test_a_client_that_moves_to_ipv6_uses_the_preferred_address_of_that_family() -> None:
    pair = Pair(server=SERVER, client={"use_preferred_address": False})
    client, server = pair.established()
    assert client.path.remote == SERVER_ADDRESS, "it was told not to move by itself"
    client.migrate(V6_ADDRESS, pair.now)
    pair.settle(4 * SECOND)
    assert (client.path.local, client.path.remote) == (V6_ADDRESS, PREFERRED_V6)
    assert (server.path.local, server.path.remote) == (PREFERRED_V6, V6_ADDRESS)


@pytest.mark.requirement("rfc9000:9:2")
def test_the_preferred_address_may_be_used_although_active_migration_is_disabled() -> None:
    pair = Pair(server={**SERVER, "disable_active_migration": True})
    client, server = pair.established()
    assert client.path.remote == server.path.local == PREFERRED
    client.migrate(SECOND_ADDRESS, pair.now)
    pair.settle(4 * SECOND)
    assert server.path.remote == SECOND_ADDRESS


@pytest.mark.requirement("rfc9000:21.5.6:2")
def test_a_client_does_not_follow_to_its_own_host() -> None:
    pair = Pair(server={"preferred_address_v4": ("127.0.0.1", 443)})
    client, _ = pair.established()
    assert client.path.remote == SERVER_ADDRESS
    assert {each.destination for each in pair.sent if each.to_server} == {SERVER_ADDRESS}


@pytest.mark.requirement("rfc9000:18.2:7")
def test_a_preferred_address_without_connection_ids_is_an_error() -> None:
    pair = Pair(server=SERVER)
    # The server announces it although its IDs are empty, which Config does not allow
    config = Config(tls=pair.server._config.tls, accept=True, connection_id_length=0)
    object.__setattr__(config, "preferred_address_v4", PREFERRED)
    pair.server._config = config
    pair.server._cid_length = 0
    pair.connect()
    pair.run(lambda: any(isinstance(event, ConnectionEnded) for event in pair.client_events))
    ended = next(event for event in pair.client_events if isinstance(event, ConnectionEnded))
    assert ended.code == TRANSPORT_PARAMETER_ERROR


@pytest.mark.requirement("rfc9000:18.2:5")
@pytest.mark.requirement("rfc9000:18.2:6")
@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"preferred_address_v4": PREFERRED, "connection_id_length": 0}, "needs connection IDs"),
        ({"preferred_address_v4": ("fd00::1", 443)}, "IPv4Address"),
        ({"preferred_address_v6": ("10.0.0.1", 443)}, "IPv6Address"),
        ({"preferred_address_v4": ("10.0.0.1", 0)}, "port"),
    ],
)
def test_a_preferred_address_that_can_not_be_announced_is_refused(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Pair(server=fields)


def test_what_a_probe_is() -> None:
    assert is_probing(b"\x1a" + bytes(8) + b"\0\0")
    assert not is_probing(b"\x01")
