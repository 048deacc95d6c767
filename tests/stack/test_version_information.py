"""Version information, compatible and incompatible version negotiation (RFC 9368, RFC 9369 section 4)."""

import random
from typing import Any

import pytest

from quicsim.certificates import test_certificate
from stack.config import Config
from stack.connection import Connection
from stack.crypto.packet_protection import (
    TLS_AES_128_GCM_SHA256,
    initial_secrets,
    make_keys,
    protect_packet,
    unprotect_header,
)
from stack.errors import TRANSPORT_PARAMETER_ERROR, VERSION_NEGOTIATION_ERROR, ConfigError
from stack.events import ConnectionEnded, HandshakeCompleted
from stack.tls.config import ClientTls, ServerTls
from stack.wire import header as wire
from stack.wire.decoded_frames import CryptoFrame
from stack.wire.frames import PING, encode_crypto_header
from stack.wire.header import encode_long_header, encode_version_negotiation, parse_long_header
from stack.wire.varint import encode_varint
from stack.wire.versions import VERSION_1, VERSION_2, VERSIONS
from tests.support.lying_tls import Change, LyingTls, setting
from tests.support.pair import Datagram, Drop, Pair

V1_FIRST = {"versions": (VERSION_1, VERSION_2)}
V2_FIRST = {"versions": (VERSION_2, VERSION_1)}
V1_ONLY = {"versions": (VERSION_1,)}
V2_ONLY = {"versions": (VERSION_2,)}
FIXED = {"compatible_upgrade": False}
UNKNOWN = 0x12345678

Long = tuple[int, int]  # packet type and version


def long_packets(datagram: Datagram) -> list[Long]:
    """Packet types and versions of the long headers in a datagram."""
    found: list[Long] = []
    start = 0
    while start < len(datagram.payload) and datagram.payload[start] & 0x80:
        header = parse_long_header(datagram.payload, start, greased=True)
        found.append((header.packet_type, header.version))
        start = header.end
    return found


def sent_by(pair: Pair, to_server: bool) -> list[Long]:
    """The long headers that one side sent, in order."""
    return [packet for datagram in pair.sent if datagram.to_server == to_server for packet in long_packets(datagram)]


def forged_initial(client: Connection, version: int, payload: bytes, number: int) -> bytes:
    """An authentic Initial packet from a server that saw the client's first packet."""
    row = VERSIONS[version]
    _, secret = initial_secrets(row, client.original_destination_cid)
    payload += bytes(max(0, 1200 - len(payload)))
    header = encode_long_header(row, wire.INITIAL, client.local_ids.first, b"theirs", b"", len(payload) + 16, number, 4)
    return protect_packet(make_keys(TLS_AES_128_GCM_SHA256, secret, row), header, 4, number, payload)


def lossy(seed: int) -> Drop:
    rng = random.Random(seed)
    return lambda datagram: rng.random() < 0.05


def exchange(pair: Pair, client: Connection, server: Connection, seed: int = 1, size: int = 30_000) -> None:
    up, down = random.Random(seed).randbytes(size), random.Random(seed + 1).randbytes(size)
    assert pair.transfer(client, server, up)[1] == up
    assert pair.transfer(server, client, down)[1] == down


# Compatible negotiation


@pytest.mark.requirement("rfc9368:2.3:1")
@pytest.mark.requirement("rfc9369:4:3")
@pytest.mark.parametrize(
    ("client_fields", "server_fields", "original", "negotiated"),
    [
        (V1_FIRST, V2_FIRST, VERSION_1, VERSION_2),
        (V2_FIRST, V1_FIRST, VERSION_2, VERSION_1),
        (V2_FIRST | {"original_version": VERSION_1}, V2_FIRST, VERSION_1, VERSION_2),
        (V2_FIRST | {"original_version": VERSION_1}, V1_FIRST, VERSION_1, VERSION_1),
        (V1_FIRST, V1_FIRST, VERSION_1, VERSION_1),
        (V2_FIRST, V2_FIRST, VERSION_2, VERSION_2),
        (V1_ONLY, V2_FIRST, VERSION_1, VERSION_1),
        (V1_FIRST | FIXED, V2_FIRST, VERSION_1, VERSION_1),
        (V1_FIRST, V2_FIRST | FIXED, VERSION_1, VERSION_1),
        ({}, {}, VERSION_1, VERSION_1),
    ],
)
def test_the_server_takes_the_first_of_its_versions_that_the_client_offers(
    client_fields: dict[str, Any], server_fields: dict[str, Any], original: int, negotiated: int
) -> None:
    pair = Pair(client=client_fields, server=server_fields)
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    assert pair.now == 2 * pair.delay_ns  # no round trip more
    pair.run(lambda: client.handshake_confirmed)
    server = pair.server_connection
    assert server is not None
    assert sent_by(pair, True)[0] == (wire.INITIAL, original)
    assert client.version.number == server.version.number == negotiated
    exchange(pair, client, server)


@pytest.mark.requirement("rfc9369:4.1:5")
@pytest.mark.requirement("rfc9369:4.1:6")
@pytest.mark.requirement("rfc9369:4.1:8")
def test_all_but_the_clients_first_packets_are_in_the_negotiated_version() -> None:
    pair = Pair(client=V1_FIRST, server=V2_FIRST)
    pair.established()
    assert set(sent_by(pair, False)) == {(wire.INITIAL, VERSION_2), (wire.HANDSHAKE, VERSION_2)}
    first, *rest = sent_by(pair, True)
    assert first == (wire.INITIAL, VERSION_1)
    assert set(rest) == {(wire.INITIAL, VERSION_2), (wire.HANDSHAKE, VERSION_2)}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("client_fields", "server_fields", "negotiated"),
    [
        (V1_FIRST, V1_FIRST, VERSION_1),
        (V1_FIRST, V2_FIRST, VERSION_2),
        (V2_FIRST, V1_FIRST, VERSION_1),
        (V1_FIRST, V2_ONLY, VERSION_2),
    ],
    ids=["v1", "v1 to v2", "v2 to v1", "v1 refused"],
)
def test_negotiation_and_transfer_survive_loss(
    client_fields: dict[str, Any], server_fields: dict[str, Any], negotiated: int, seed: int
) -> None:
    pair = Pair(client=client_fields, server=server_fields, drop=lossy(seed), seed=seed)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    server = pair.server_connection
    assert server is not None
    assert client.version.number == server.version.number == negotiated
    exchange(pair, client, server, seed)


@pytest.mark.parametrize("lost", [{0}, {0, 1}, {1}])
@pytest.mark.parametrize("to_server", [True, False])
def test_negotiation_survives_the_loss_of_any_first_datagram(to_server: bool, lost: set[int]) -> None:
    def drop(datagram: Datagram) -> bool:
        return datagram.to_server == to_server and datagram.number in lost

    client, server = Pair(client=V1_FIRST, server=V2_FIRST, chain=6, drop=drop).established()
    assert client.version.number == server.version.number == VERSION_2


def test_a_server_answers_half_a_client_hello_in_the_original_version() -> None:
    tls = ClientTls(trust=test_certificate(), alpn=("quicsim", *(str(number) * 200 for number in range(6))))
    pair = Pair(
        client=V1_FIRST | {"tls": tls},
        server=V2_FIRST,
        drop=lambda datagram: datagram.to_server and datagram.number == 1,
    )
    client, server = pair.established()
    initial = [version for packet_type, version in sent_by(pair, False) if packet_type == wire.INITIAL]
    assert initial[0] == VERSION_1
    assert initial[-1] == VERSION_2
    crypto = [
        long_packets(datagram)[0]
        for datagram, packets in pair.datagrams_of(server)
        if any(isinstance(frame, CryptoFrame) for frame in packets[0].frames)
        if packets[0].packet_type == "initial"
    ]
    assert set(crypto) == {(wire.INITIAL, VERSION_2)}  # rfc9369:4.1:5
    assert client.version.number == VERSION_2


@pytest.mark.requirement("rfc9369:4.1:7")
def test_a_server_reads_the_original_version_until_a_handshake_packet_comes() -> None:
    pair = Pair(client=V1_FIRST, server=V2_FIRST, drop=lambda datagram: not datagram.to_server and datagram.number < 2)
    client = pair.connect()
    pair.run(lambda: pair.server_connection is not None)
    server = pair.server_connection
    assert server is not None
    assert server.version.number == VERSION_2
    pair.run(lambda: len(pair.recorder_of(server).received) > 1)
    again = pair.recorder_of(server).received[1]
    assert again.packet_type == "initial"
    assert sent_by(pair, True)[1] == (wire.INITIAL, VERSION_1)
    pair.run(lambda: client.handshake_confirmed)
    assert server.spaces[0].discarded


@pytest.mark.requirement("rfc9369:4.1:9")
def test_other_packets_of_the_original_version_are_dropped() -> None:
    pair = Pair(client=V1_FIRST, server=V2_FIRST, drop=lambda datagram: datagram.number > 0)
    client = pair.connect()
    pair.run(lambda: client.version.number == VERSION_2)
    recorder = pair.recorder_of(client)
    received, dropped = len(recorder.received), len(recorder.dropped)
    pair.deliver(forged_initial(client, VERSION_1, bytes((PING,)), 9), to_server=False)
    assert recorder.dropped[dropped:] == [(pair.now, "initial", "unexpected_version")]
    server = pair.server_connection
    assert server is not None
    header = encode_long_header(
        VERSIONS[VERSION_1], wire.HANDSHAKE, server.local_ids.first, client.local_ids.first, b"", 40, 0, 1
    )
    pair.deliver(header + bytes(40), to_server=True)
    assert pair.recorder_of(server).dropped[-1] == (pair.now, "handshake", "unexpected_version")
    assert len(recorder.received) == received


@pytest.mark.parametrize("authentic", [True, False])
def test_a_client_follows_an_authentic_packet_only(authentic: bool) -> None:
    pair = Pair(client=V1_FIRST, drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    packet = forged_initial(client, VERSION_2, bytes((PING,)), 0)
    pair.deliver(packet if authentic else packet[:-1] + bytes((packet[-1] ^ 1,)), to_server=False)
    assert client.version.number == (VERSION_2 if authentic else VERSION_1)


def test_a_client_follows_to_no_version_that_it_did_not_offer() -> None:
    pair = Pair(client=V1_ONLY, drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    pair.deliver(forged_initial(client, VERSION_2, bytes((PING,)), 0), to_server=False)
    assert client.version.number == VERSION_1
    assert pair.recorder_of(client).dropped == [(0, "initial", "unexpected_version")]


def test_crypto_data_in_the_original_version_settles_it() -> None:
    pair = Pair(client=V1_FIRST, drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    pair.deliver(forged_initial(client, VERSION_1, encode_crypto_header(0, 1) + b"\x02", 0), to_server=False)
    pair.deliver(forged_initial(client, VERSION_2, bytes((PING,)), 1), to_server=False)
    assert client.version.number == VERSION_1
    assert pair.recorder_of(client).dropped == [(0, "initial", "unexpected_version")]


@pytest.mark.requirement("rfc9369:4.1:1")
@pytest.mark.requirement("rfc9369:4.1:2")
@pytest.mark.requirement("rfc9369:4.1:4")
def test_a_retry_is_in_the_original_version_and_the_server_changes_over_after_it() -> None:
    pair = Pair(client=V1_FIRST, server=V2_FIRST | {"retry": "always"})
    client, server = pair.established()
    assert sent_by(pair, False)[:2] == [(wire.RETRY, VERSION_1), (wire.INITIAL, VERSION_2)]
    assert sent_by(pair, True)[:2] == [(wire.INITIAL, VERSION_1)] * 2
    parameters = pair.recorder_of(client).remote_parameters
    assert parameters["retry_source_connection_id"] == client.retry_source_cid is not None
    assert parameters["original_destination_connection_id"] == client.original_destination_cid
    assert client.version.number == server.version.number == VERSION_2
    exchange(pair, client, server)


def test_a_refused_version_may_be_followed_by_a_retry() -> None:
    pair = Pair(client=V1_FIRST, server=V2_ONLY | {"retry": "always"})
    client, server = pair.established()
    assert client.version.number == server.version.number == VERSION_2
    exchange(pair, client, server)


# Version information


@pytest.mark.requirement("rfc9369:4:2")
@pytest.mark.requirement("rfc9368:3:1")
@pytest.mark.requirement("rfc9368:3:2")
@pytest.mark.requirement("rfc9368:8:2")
@pytest.mark.requirement("rfc9368:3:5")
def test_both_ends_announce_what_they_chose_and_speak_and_a_reserved_version() -> None:
    pair = Pair(client=V1_FIRST, server=V2_FIRST)
    client, server = pair.established()
    announced = []
    for end in (server, client):  # each recorded what the other announced
        information = pair.recorder_of(end).remote_parameters["version_information"]
        assert isinstance(information, tuple)
        chosen, available = information
        *spoken, reserved = available
        assert reserved & 0x0F0F0F0F == 0x0A0A0A0A
        announced.append((chosen, tuple(spoken)))
    assert announced == [(VERSION_1, (VERSION_1, VERSION_2)), (VERSION_2, (VERSION_2, VERSION_1))]


@pytest.mark.requirement("rfc9368:3:1")
@pytest.mark.parametrize("tampered", [False, True])
def test_version_information_that_was_changed_on_the_way_makes_no_connection(tampered: bool) -> None:
    """An attacker can open and close Initial packets; but both ends then hear different words, and share no keys."""
    pair = Pair(client=V1_FIRST, server=V1_FIRST)
    client = pair.connect()
    (transmit,) = pair.client.transmit(pair.now)
    data = transmit.payload
    header = parse_long_header(data, 0, greased=True)
    secret, _ = initial_secrets(VERSIONS[VERSION_1], header.destination_cid)
    keys = make_keys(TLS_AES_128_GCM_SHA256, secret, VERSIONS[VERSION_1])
    unprotected = unprotect_header(keys.header, data, 0, header.packet_number_offset, header.end, -1)
    assert unprotected is not None
    _, number, start, plain = unprotected
    payload = keys.protection.open(number, plain, data[start:])
    assert payload is not None
    offered = VERSION_1.to_bytes(4) + VERSION_2.to_bytes(4)
    assert payload.count(offered) == 1
    if tampered:
        payload = payload.replace(offered, VERSION_1.to_bytes(4) + UNKNOWN.to_bytes(4))
    pair.deliver(protect_packet(keys, plain, (plain[0] & 3) + 1, number, payload), to_server=True)
    pair.drop = lambda datagram: datagram.to_server
    pair.run_for(5 * pair.delay_ns)
    server = pair.server_connection
    assert server is not None
    assert client.handshake_complete != tampered
    assert pair.recorder_of(server).remote_parameters or not server.handshake_complete


def test_without_upgrade_a_client_offers_its_version_only() -> None:
    pair = Pair(client=V1_FIRST | FIXED)
    _, server = pair.established()
    information = pair.recorder_of(server).remote_parameters["version_information"]
    assert isinstance(information, tuple)
    assert information[1][:-1] == (VERSION_1,)


def outcome(
    liar: str, change: Change, client: dict[str, Any] = V1_FIRST, server: dict[str, Any] = V1_FIRST
) -> ConnectionEnded | None:
    """Connect with a client or server that lies; how the other end closes, None when the handshake succeeds."""
    tls = {"tls": LyingTls(change)}
    pair = Pair(client=client | tls, server=server) if liar == "client" else Pair(client=client, server=server | tls)
    connection = pair.connect()
    events = pair.server_events if liar == "client" else pair.client_events
    pair.run(lambda: connection.handshake_confirmed or connection.closed)
    return next((event for event in events if isinstance(event, ConnectionEnded)), None)


def refused(ended: ConnectionEnded | None, code: int) -> bool:
    return ended is not None and (ended.code, ended.remote, ended.application) == (code, False, False)


@pytest.mark.requirement("rfc9368:4:8")
@pytest.mark.requirement("rfc9368:4:9")
@pytest.mark.requirement("rfc9368:4:10")
@pytest.mark.parametrize("chosen", [VERSION_2, UNKNOWN])
def test_a_server_refuses_a_client_that_chose_another_version_than_its_packets_have(chosen: int) -> None:
    change = setting(version_information=(chosen, (chosen, VERSION_1)))
    assert refused(outcome("client", change), VERSION_NEGOTIATION_ERROR)


@pytest.mark.requirement("rfc9368:4:3")
@pytest.mark.requirement("rfc9368:4:4")
@pytest.mark.requirement("rfc9368:4:5")
@pytest.mark.parametrize("liar", ["client", "server"])
@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\1\0\0", bytes(4), b"\0\0\0\1" + bytes(4)])
def test_malformed_version_information_ends_the_connection(liar: str, data: bytes) -> None:
    def change(encoded: bytes) -> bytes:
        without = setting(version_information=None)(encoded)
        return without + encode_varint(0x11) + encode_varint(len(data)) + data

    assert refused(outcome(liar, change), TRANSPORT_PARAMETER_ERROR)


@pytest.mark.requirement("rfc9368:4:6")
def test_a_client_must_list_the_version_that_it_chose() -> None:
    change = setting(version_information=(VERSION_1, (VERSION_2,)))
    assert refused(outcome("client", change), TRANSPORT_PARAMETER_ERROR)


@pytest.mark.requirement("rfc9368:4:11")
@pytest.mark.parametrize("liar", ["client", "server"])
def test_version_information_may_be_missing(liar: str) -> None:
    assert outcome(liar, setting(version_information=None)) is None


@pytest.mark.requirement("rfc9368:4:13")
@pytest.mark.requirement("rfc9368:4:18")
@pytest.mark.parametrize("chosen", [VERSION_2, UNKNOWN])
def test_a_client_refuses_a_server_that_chose_another_version_than_its_packets_have(chosen: int) -> None:
    change = setting(version_information=(chosen, (chosen, VERSION_1)))
    assert refused(outcome("server", change), VERSION_NEGOTIATION_ERROR)


@pytest.mark.requirement("rfc9368:4:18")
@pytest.mark.parametrize("information", [None, (VERSION_1, (VERSION_1, VERSION_2))])
def test_a_client_that_followed_the_server_must_hear_that_it_meant_it(information: Any) -> None:
    change = setting(version_information=information)
    assert refused(outcome("server", change, server=V2_FIRST), VERSION_NEGOTIATION_ERROR)


# Incompatible negotiation


@pytest.mark.requirement("rfc9368:2.1:1")
@pytest.mark.requirement("rfc9368:2.1:3")
@pytest.mark.requirement("rfc9368:2.1:5")
@pytest.mark.parametrize(
    ("client_fields", "server_fields", "negotiated"),
    [(V1_FIRST, V2_ONLY, VERSION_2), (V2_FIRST, V1_ONLY, VERSION_1), (V1_FIRST | FIXED, V2_ONLY, VERSION_2)],
)
def test_a_refused_version_costs_a_round_trip_and_nothing_else(
    client_fields: dict[str, Any], server_fields: dict[str, Any], negotiated: int
) -> None:
    pair = Pair(client=client_fields, server=server_fields)
    client = pair.connect()
    first = client.original_destination_cid
    pair.run(lambda: client.handshake_complete)
    assert pair.now == 4 * pair.delay_ns
    pair.run(lambda: client.handshake_confirmed)
    assert sent_by(pair, False)[0] == (wire.VERSION_NEGOTIATION, 0)
    server = pair.server_connection
    assert server is not None
    assert client.version.number == server.version.number == negotiated
    assert client.original_destination_cid != first
    assert pair.recorder_of(client).sent[1].number == 0
    exchange(pair, client, server)
    assert client.stats.packets_lost == 0


@pytest.mark.requirement("rfc9368:6:2")
def test_after_version_negotiation_the_application_protocol_is_negotiated_anew() -> None:
    """The server takes the client's first protocol in one version, and knows only the second in the other."""
    certificate = test_certificate()
    client_tls = ClientTls(trust=certificate, alpn=("one", "two"))
    pair = Pair(client=V1_FIRST | {"tls": client_tls}, server=V2_ONLY)
    client = pair.connect()
    pair.flush()
    offer(pair, client, (VERSION_2,))
    other = Pair(server=V2_ONLY | {"tls": ServerTls(credentials=certificate, alpn=("two",))})
    pair.server = other.server
    pair.run(lambda: client.handshake_confirmed)
    assert client.alpn == "two"
    completed = [event for event in pair.client_events if isinstance(event, HandshakeCompleted)]
    assert [event.alpn for event in completed] == ["two"]


def offer(pair: Pair, client: Connection, versions: tuple[int, ...]) -> None:
    """Deliver a Version Negotiation packet that answers the client's present attempt."""
    packet = encode_version_negotiation(client.local_ids.first, client.original_destination_cid, versions, 0)
    pair.deliver(packet, to_server=False)


@pytest.mark.requirement("rfc9368:4:2")
def test_only_the_first_version_negotiation_is_followed() -> None:
    pair = Pair(client=V1_FIRST, server=V2_ONLY)
    client = pair.connect()
    pair.flush()
    offer(pair, client, (UNKNOWN, VERSION_2))
    assert client.version.number == VERSION_2
    pair.flush()
    attempt = client.original_destination_cid
    offer(pair, client, (VERSION_1,))
    offer(pair, client, (UNKNOWN,))
    assert client.original_destination_cid == attempt
    pair.run(lambda: client.handshake_confirmed)


@pytest.mark.requirement("rfc9368:4:1")
def test_an_offer_of_the_original_version_is_ignored() -> None:
    pair = Pair(client=V1_FIRST)
    client = pair.connect()
    pair.flush()
    offer(pair, client, (VERSION_2, VERSION_1))
    assert client.version.number == VERSION_1


def test_a_closed_connection_does_not_start_again() -> None:
    pair = Pair(client=V1_FIRST, drop=lambda datagram: True)
    client = pair.connect()
    pair.flush()
    client.close(pair.now)
    offer(pair, client, (VERSION_2,))
    assert client.version.number == VERSION_1


@pytest.mark.requirement("rfc9368:2.1:6")
def test_a_server_ignores_version_negotiation() -> None:
    pair = Pair()
    client, server = pair.established()
    packet = encode_version_negotiation(server.local_ids.first, client.local_ids.first, (VERSION_2,), 0)
    pair.deliver(packet, to_server=True)
    assert server.version.number == VERSION_1
    exchange(pair, client, server)


@pytest.mark.requirement("rfc8999:7:1")
@pytest.mark.requirement("rfc9368:4:15")
@pytest.mark.requirement("rfc9368:4:16")
@pytest.mark.parametrize("server_fields", [V1_FIRST, V1_FIRST | FIXED])
def test_a_forged_offer_that_leaves_out_the_preferred_version_is_found_out(server_fields: dict[str, Any]) -> None:
    pair = Pair(client=V1_FIRST, server=server_fields | FIXED)
    client = pair.connect()
    pair.flush()
    offer(pair, client, (VERSION_2,))
    pair.run(lambda: client.closed)
    (ended,) = (event for event in pair.client_events if isinstance(event, ConnectionEnded))
    assert refused(ended, VERSION_NEGOTIATION_ERROR)


@pytest.mark.requirement("rfc9368:4:12")
@pytest.mark.requirement("rfc9368:4:14")
@pytest.mark.requirement("rfc9368:4:17")
@pytest.mark.parametrize("information", [None, (VERSION_2, ())])
def test_after_version_negotiation_the_server_must_tell_its_versions(information: Any) -> None:
    change = setting(version_information=information)
    assert refused(outcome("server", change, server=V2_ONLY), VERSION_NEGOTIATION_ERROR)


@pytest.mark.requirement("rfc9368:8:1")
def test_a_version_1_server_need_not_know_version_information() -> None:
    assert outcome("server", setting(version_information=None), client=V2_FIRST, server=V1_ONLY) is None


# Configuration


def test_the_original_version_must_be_one_of_the_versions() -> None:
    with pytest.raises(ConfigError, match="original_version = 0x6b3343cf"):
        Config(tls=ClientTls(trust=test_certificate()), versions=(VERSION_1,), original_version=VERSION_2)


@pytest.mark.requirement("rfc9368:2.2:1")
def test_versions_are_compatible_where_a_document_says_so_and_nowhere_else() -> None:
    """RFC 9369 says it of versions 1 and 2, both ways."""
    assert {number: version.compatible for number, version in VERSIONS.items()} == {
        VERSION_1: (VERSION_2,),
        VERSION_2: (VERSION_1,),
    }
    fresh = Pair(client=V1_FIRST)
    _, server = fresh.established()
    information = fresh.recorder_of(server).remote_parameters["version_information"]
    assert isinstance(information, tuple)
    assert set(information[1][:-1]) <= {information[0], *VERSIONS[information[0]].compatible}


@pytest.mark.requirement("rfc9368:2.3:5")
@pytest.mark.parametrize(
    "change", [setting(initial_source_connection_id=b"wrong"), setting(stateless_reset_token=bytes(16))]
)
def test_a_converted_first_flight_is_checked_like_any_other(change: Change) -> None:
    assert refused(outcome("client", change, V1_FIRST, V2_FIRST), TRANSPORT_PARAMETER_ERROR)


@pytest.mark.requirement("rfc9368:2.5:1")
@pytest.mark.requirement("rfc9368:2.5:2")
@pytest.mark.parametrize("server_fields", [V1_FIRST, V2_FIRST, V1_ONLY])
def test_a_client_begins_by_default_with_what_spares_it_a_round_trip(server_fields: dict[str, Any]) -> None:
    """Version 1: every server but one that has nothing except version 2 speaks it or can convert from it."""
    pair = Pair(server=server_fields)
    client = pair.connect()
    pair.run(lambda: client.handshake_complete)
    assert pair.now == 2 * pair.delay_ns
    assert sent_by(pair, True)[0] == (wire.INITIAL, VERSION_1)
    assert not any(kind == wire.VERSION_NEGOTIATION for kind, _ in sent_by(pair, False))
