"""QUIC version 2: the figures of RFC 9369, and connections that speak nothing else."""

import random

import pytest

from stack.crypto.hkdf import hkdf_expand_label, hkdf_extract, hkdf_label
from stack.crypto.packet_protection import (
    TLS_AES_128_GCM_SHA256,
    TLS_CHACHA20_POLY1305_SHA256,
    Keys,
    PacketProtection,
    initial_secrets,
    make_keys,
    protect_packet,
    unprotect_header,
)
from stack.crypto.retry import encode_retry, retry_integrity_tag
from stack.wire.header import (
    HANDSHAKE,
    INITIAL,
    RETRY,
    ZERO_RTT,
    encode_long_header,
    encode_retry_header,
    parse_long_header,
)
from stack.wire.versions import VERSION_2, VERSIONS, reserved_version
from tests.support.pair import Drop, Pair
from tests.support.vectors import load_vectors

V2 = VERSIONS[VERSION_2]
VECTORS = load_vectors("rfc9369_a")
DCID = VECTORS["client_destination_connection_id"]
CHACHA = VECTORS["chacha20_poly1305_short_header"]
RETRY_FIGURES = VECTORS["retry"]

both_sides = pytest.mark.parametrize("side", ["client", "server"])


def initial_keys(side: str) -> Keys:
    client, server = initial_secrets(V2, DCID)
    return make_keys(TLS_AES_128_GCM_SHA256, client if side == "client" else server, V2)


# The figures


def test_version_number_and_salt_are_those_of_the_rfc() -> None:
    assert V2.number.to_bytes(4) == VECTORS["version"]
    assert V2.initial_salt == VECTORS["initial_salt"]


def test_initial_secrets_of_the_rfc() -> None:
    assert hkdf_extract("sha256", V2.initial_salt, DCID) == VECTORS["initial_secret"]
    assert initial_secrets(V2, DCID) == (VECTORS["client"]["secret"], VECTORS["server"]["secret"])


@pytest.mark.parametrize("label", VECTORS["hkdf_labels"])
def test_hkdf_labels_of_the_rfc(label: str) -> None:
    expected = VECTORS["hkdf_labels"][label]
    assert hkdf_label(label.encode(), b"", expected[1]) == expected


def test_labels_begin_as_the_rfc_says() -> None:
    labels = (V2.key_label, V2.iv_label, V2.header_protection_label, V2.key_update_label)
    assert labels == tuple(VECTORS["label_prefix"].encode() + end for end in (b"key", b"iv", b"hp", b"ku"))


@both_sides
def test_keys_of_the_rfc(side: str) -> None:
    row = VECTORS[side]
    for label, length, name in ((V2.key_label, 16, "key"), (V2.iv_label, 12, "iv")):
        assert hkdf_expand_label("sha256", row["secret"], label, b"", length) == row[name]
    assert hkdf_expand_label("sha256", row["secret"], V2.header_protection_label, b"", 16) == row["hp"]


@both_sides
def test_initial_packets_of_the_rfc(side: str) -> None:
    row = VECTORS[f"{side}_initial"]
    keys = initial_keys(side)
    header, payload = row["unprotected_header"], row["payload"]
    assert keys.header.mask(row["sample"])[:5] == row["mask"]
    packet = protect_packet(keys, header, row["packet_number_length"], row["packet_number"], payload)
    assert packet == row["packet"]
    assert packet.startswith(row["protected_header"])

    parsed = parse_long_header(packet, 0)
    assert (parsed.packet_type, parsed.version) == (INITIAL, VERSION_2)
    removed = unprotect_header(keys.header, packet, 0, parsed.packet_number_offset, parsed.end, -1)
    assert removed == (header[0], row["packet_number"], len(header), header)
    assert keys.protection.open(row["packet_number"], header, packet[len(header) :]) == payload


def test_the_retry_packet_of_the_rfc() -> None:
    packet, original = RETRY_FIGURES["packet"], RETRY_FIGURES["original_destination_connection_id"]
    assert (V2.retry_key, V2.retry_nonce) == (RETRY_FIGURES["key"], RETRY_FIGURES["nonce"])
    for label, value in ((V2.key_label, V2.retry_key), (V2.iv_label, V2.retry_nonce)):
        assert hkdf_expand_label("sha256", RETRY_FIGURES["secret"], label, b"", len(value)) == value
    assert retry_integrity_tag(V2, original, packet[:-16]) == RETRY_FIGURES["integrity_tag"]
    parsed = parse_long_header(packet, 0)
    assert (parsed.packet_type, parsed.token, parsed.end) == (RETRY, b"token", len(packet))
    assert encode_retry(V2, parsed.destination_cid, parsed.source_cid, parsed.token, original, 0xF) == packet


def test_the_chacha20_packet_of_the_rfc() -> None:
    secret, header, number = CHACHA["secret"], CHACHA["unprotected_header"], CHACHA["packet_number"]
    for label, length, name in ((V2.key_label, 32, "key"), (V2.iv_label, 12, "iv")):
        assert hkdf_expand_label("sha256", secret, label, b"", length) == CHACHA[name]
    assert hkdf_expand_label("sha256", secret, V2.header_protection_label, b"", 32) == CHACHA["hp"]
    assert hkdf_expand_label("sha256", secret, V2.key_update_label, b"", 32) == CHACHA["ku"]
    assert int.from_bytes(CHACHA["iv"]) ^ number == int.from_bytes(CHACHA["nonce"])
    keys = make_keys(TLS_CHACHA20_POLY1305_SHA256, secret, V2)
    assert keys.protection.seal(number, header, CHACHA["payload"]) == CHACHA["ciphertext"]
    assert keys.header.mask(CHACHA["sample"]) == CHACHA["mask"]
    packet = protect_packet(keys, header, CHACHA["packet_number_length"], number, CHACHA["payload"])
    assert packet == CHACHA["packet"]
    assert packet.startswith(CHACHA["protected_header"])
    removed = unprotect_header(keys.header, packet, 0, 1, len(packet), number - 1)
    assert removed == (header[0], number, len(header), header)


def test_the_key_update_of_the_rfc() -> None:
    suite = TLS_CHACHA20_POLY1305_SHA256
    updated = PacketProtection(suite, CHACHA["secret"], V2).next_generation()
    assert updated.seal(1, b"h", b"p") == PacketProtection(suite, CHACHA["ku"], V2).seal(1, b"h", b"p")


def test_packet_types_are_those_of_the_rfc() -> None:
    bits = {
        kind: encode_long_header(V2, kind, b"12345678", b"", b"", 20, 0, 1)[0] >> 4 & 3
        for kind in (INITIAL, ZERO_RTT, HANDSHAKE)
    }
    assert bits == {INITIAL: 0b01, ZERO_RTT: 0b10, HANDSHAKE: 0b11}
    assert encode_retry_header(V2, b"", b"", b"token", 0)[0] >> 4 & 3 == 0b00


@pytest.mark.parametrize(("bits", "version"), [(0, 0x0A0A0A0A), (0xFFFF, 0xFAFAFAFA), (0x1234, 0x1A2A3A4A)])
def test_a_reserved_version_has_the_reserved_pattern(bits: int, version: int) -> None:
    assert reserved_version(bits) == version


# Connections


def lossy(seed: int) -> Drop:
    rng = random.Random(seed)
    return lambda datagram: rng.random() < 0.05


@pytest.mark.requirement("rfc9369:3:1")
@pytest.mark.parametrize("seed", range(20))
def test_a_version_2_connection_moves_data_under_loss(seed: int) -> None:
    pair = Pair(client={"versions": (VERSION_2,)}, drop=lossy(seed), seed=seed)
    client = pair.connect()
    pair.run(lambda: client.handshake_confirmed)
    server = pair.server_connection
    assert server is not None
    assert client.version is server.version is V2
    up, down = random.Random(seed).randbytes(40_000), random.Random(seed + 1).randbytes(40_000)
    assert pair.transfer(client, server, up)[1] == up
    assert pair.transfer(server, client, down)[1] == down
    long_headers = [datagram.payload for datagram in pair.sent if datagram.payload[0] & 0x80]
    assert {payload[1:5] for payload in long_headers} == {VECTORS["version"]}
