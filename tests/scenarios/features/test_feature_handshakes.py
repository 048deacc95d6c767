"""Ways to begin a connection."""

import pytest

from stack.events import HandshakeCompleted, NewToken
from stack.tls.groups import P256, X25519
from stack.wire.header import INITIAL, RETRY, VERSION_NEGOTIATION, LongHeader, parse_long_header
from stack.wire.versions import VERSION_1, VERSION_2
from tests.support.network import End, Impairment, Network


def headers(end: End, packet_type: int) -> list[LongHeader]:
    """The long headers of one type that begin the datagrams which an end has sent."""
    payloads = [datagram.payload for datagram in end.tapped]
    found = [parse_long_header(data, 0, True) for data in payloads if data[0] & 0x80]
    return [header for header in found if header.packet_type == packet_type]


def test_a_handshake_and_data_both_ways(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    network.exchange(client, server)
    assert [event.alpn for event in network.client.happened(HandshakeCompleted)] == [client.alpn]
    assert client.alpn == server.alpn


def test_a_hello_retry_request(impairment: Impairment) -> None:
    network = Network(impairment, client_tls={"groups": (P256, X25519)}, server_tls={"groups": (X25519,)})
    client, server = network.established()
    network.exchange(client, server)
    assert network.now > 60_000_000, "a round trip more"


def test_retry(impairment: Impairment) -> None:
    network = Network(impairment, server={"retry": "always"})
    client, server = network.established()
    network.exchange(client, server)
    tokens = {header.token for header in headers(network.server, RETRY)}
    assert headers(network.client, INITIAL)[-1].token in tokens


def test_a_token_spares_the_next_connection_the_retry(impairment: Impairment) -> None:
    network = Network(impairment, server={"retry": "always", "new_token": True})
    first, server = network.established()
    network.run(lambda: network.client.happened(NewToken) != [])
    token = network.client.happened(NewToken)[0]
    first.close(network.now)
    network.run(lambda: first.closed and server.closed)
    retries = len(headers(network.server, RETRY))
    assert retries
    client, server = network.established(token)
    network.exchange(client, server)
    assert len(headers(network.server, RETRY)) == retries
    assert headers(network.client, INITIAL)[-1].token == token.token


def test_a_client_that_starts_in_version_2(impairment: Impairment) -> None:
    both = {"versions": (VERSION_2, VERSION_1)}
    network = Network(impairment, client=both, server=both)
    client, server = network.established()
    network.exchange(client, server)
    assert {header.version for header in headers(network.client, INITIAL)} == {VERSION_2}
    assert (client.version.number, server.version.number) == (VERSION_2, VERSION_2)


def test_a_compatible_upgrade_to_version_2(impairment: Impairment) -> None:
    network = Network(impairment, server={"versions": (VERSION_2, VERSION_1)})
    client, server = network.established()
    network.exchange(client, server)
    assert headers(network.client, INITIAL)[0].version == VERSION_1
    assert (client.version.number, server.version.number) == (VERSION_2, VERSION_2)
    assert not headers(network.server, VERSION_NEGOTIATION)


def test_incompatible_version_negotiation(impairment: Impairment) -> None:
    network = Network(impairment, client={"versions": (VERSION_2, VERSION_1)}, server={"versions": (VERSION_1,)})
    client, server = network.established()
    network.exchange(client, server)
    assert headers(network.server, VERSION_NEGOTIATION)
    assert headers(network.client, INITIAL)[0].version == VERSION_2
    assert (client.version.number, server.version.number) == (VERSION_1, VERSION_1)


@pytest.mark.parametrize(("of_client", "of_server"), [(0, 8), (8, 0), (20, 20)])
def test_connection_ids_of_any_length(impairment: Impairment, of_client: int, of_server: int) -> None:
    lengths = {"client": {"connection_id_length": of_client}, "server": {"connection_id_length": of_server}}
    network = Network(impairment, **lengths)
    client, server = network.established()
    network.exchange(client, server)
    assert (len(server.remote_ids.current), len(client.remote_ids.current)) == (of_client, of_server)


def test_the_fixed_bit_is_greased(impairment: Impairment) -> None:
    network = Network(impairment)
    client, server = network.established()
    network.exchange(client, server)
    for end in (network.client, network.server):
        assert {datagram.payload[0] & 0x40 for datagram in end.tapped} == {0, 0x40}
