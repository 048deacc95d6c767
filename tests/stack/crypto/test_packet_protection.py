"""Packet protection against RFC 9001 section 5 and its appendix A."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.crypto.hkdf import hkdf_expand_label, hkdf_label
from stack.crypto.packet_protection import (
    SUITES,
    TAG_LENGTH,
    TLS_AES_128_GCM_SHA256,
    TLS_CHACHA20_POLY1305_SHA256,
    HeaderProtection,
    Keys,
    PacketProtection,
    initial_secrets,
    make_keys,
    protect_packet,
    unprotect_header,
)
from stack.wire.header import HANDSHAKE, encode_long_header, parse_long_header
from stack.wire.versions import VERSION_1, VERSIONS
from tests.support.vectors import load_vectors

V1 = VERSIONS[VERSION_1]
VECTORS = load_vectors("rfc9001_a")
SUITE_NUMBERS = st.sampled_from(list(SUITES))
CHACHA = VECTORS["chacha20_poly1305_short_header"]


def secret_of(suite: int, fill: int = 7) -> bytes:
    return bytes([fill]) * (48 if SUITES[suite].hash_name == "sha384" else 32)


def initial_keys(side: str) -> Keys:
    client, server = initial_secrets(V1, VECTORS["client_destination_connection_id"])
    return make_keys(TLS_AES_128_GCM_SHA256, client if side == "client" else server, V1)


@pytest.mark.requirement("rfc9001:5.2:2")
def test_initial_secrets_of_the_rfc() -> None:
    secrets = initial_secrets(V1, VECTORS["client_destination_connection_id"])
    assert secrets == (VECTORS["client"]["secret"], VECTORS["server"]["secret"])


@pytest.mark.parametrize("label", VECTORS["hkdf_labels"])
def test_hkdf_labels_of_the_rfc(label: str) -> None:
    expected = VECTORS["hkdf_labels"][label]
    assert hkdf_label(label.encode(), b"", expected[1]) == expected


@pytest.mark.parametrize("side", ["client", "server"])
def test_keys_of_the_rfc(side: str) -> None:
    row = VECTORS[side]
    for label, length, name in ((V1.key_label, 16, "key"), (V1.iv_label, 12, "iv")):
        assert hkdf_expand_label("sha256", row["secret"], label, b"", length) == row[name]
    assert hkdf_expand_label("sha256", row["secret"], V1.header_protection_label, b"", 16) == row["hp"]


@pytest.mark.parametrize("side", ["client", "server"])
def test_initial_packets_of_the_rfc(side: str) -> None:
    row = VECTORS[f"{side}_initial"]
    keys = initial_keys(side)
    header, payload = row["unprotected_header"], row["payload"]
    assert keys.header.mask(row["sample"])[:5] == row["mask"]
    packet = protect_packet(keys, header, row["packet_number_length"], row["packet_number"], payload)
    assert packet == row["packet"]
    assert packet.startswith(row["protected_header"])

    parsed = parse_long_header(packet, 0)
    removed = unprotect_header(keys.header, packet, 0, parsed.packet_number_offset, parsed.end, -1)
    assert removed == (header[0], row["packet_number"], len(header), header)
    assert keys.protection.open(row["packet_number"], header, packet[len(header) :]) == payload


def test_chacha20_packet_of_the_rfc() -> None:
    keys = make_keys(TLS_CHACHA20_POLY1305_SHA256, CHACHA["secret"], V1)
    header, packet_number = CHACHA["unprotected_header"], CHACHA["packet_number"]
    assert keys.protection.seal(packet_number, header, CHACHA["payload"]) == CHACHA["ciphertext"]
    assert keys.header.mask(CHACHA["sample"]) == CHACHA["mask"]
    packet = protect_packet(keys, header, CHACHA["packet_number_length"], packet_number, CHACHA["payload"])
    assert packet == CHACHA["packet"]
    assert packet.startswith(CHACHA["protected_header"])

    removed = unprotect_header(keys.header, packet, 0, 1, len(packet), packet_number - 1)
    assert removed == (header[0], packet_number, len(header), header)
    assert keys.protection.open(packet_number, header, packet[len(header) :]) == CHACHA["payload"]


def test_key_update_of_the_rfc() -> None:
    suite = TLS_CHACHA20_POLY1305_SHA256
    updated = PacketProtection(suite, CHACHA["secret"], V1).next_generation()
    assert updated.seal(1, b"h", b"p") == PacketProtection(suite, CHACHA["ku"], V1).seal(1, b"h", b"p")


@pytest.mark.parametrize("suite", SUITES)
def test_each_key_generation_opens_only_its_own_packets(suite: int) -> None:
    generations = [PacketProtection(suite, secret_of(suite), V1)]
    for _ in range(3):
        generations.append(generations[-1].next_generation())
    for sealer in generations:
        sealed = sealer.seal(9, b"header", b"payload")
        opened = [opener.open(9, b"header", sealed) for opener in generations]
        assert opened == [b"payload" if opener is sealer else None for opener in generations]


def test_suites_have_the_limits_of_the_rfc() -> None:
    limits = {number: (row.confidentiality_limit, row.integrity_limit) for number, row in SUITES.items()}
    ccm = int(2**21.5)
    assert limits == {
        0x1301: (1 << 23, 1 << 52),
        0x1302: (1 << 23, 1 << 52),
        0x1303: (1 << 62, 1 << 36),
        0x1304: (ccm, ccm),
    }


@given(
    suite=SUITE_NUMBERS,
    packet_number=st.integers(0, (1 << 62) - 1),
    length=st.integers(1, 4),
    payload=st.binary(min_size=3, max_size=60),
    key_phase=st.booleans(),
    spin=st.booleans(),
    cid=st.binary(max_size=20),
    start=st.integers(0, 3),
)
def test_short_header_round_trip(
    suite: int,
    packet_number: int,
    length: int,
    payload: bytes,
    key_phase: bool,
    spin: bool,
    cid: bytes,
    start: int,
) -> None:
    keys = make_keys(suite, secret_of(suite), V1)
    first = 0x40 | spin << 5 | key_phase << 2 | (length - 1)
    truncated = (packet_number & ((1 << 8 * length) - 1)).to_bytes(length)
    header = bytes([first]) + cid + truncated
    packet = protect_packet(keys, header, length, packet_number, payload)
    assert len(packet) == len(header) + len(payload) + TAG_LENGTH
    assert packet[0] & 0xE0 == first & 0xE0  # form, fixed and spin bits stay readable
    assert packet[1 : 1 + len(cid)] == cid

    data = bytes(start) + packet
    removed = unprotect_header(keys.header, data, start, start + 1 + len(cid), len(data), packet_number - 1)
    assert removed == (first, packet_number, start + len(header), header)
    assert keys.protection.open(packet_number, header, data[start + len(header) :]) == payload


@given(
    SUITE_NUMBERS,
    st.integers(0, (1 << 62) - 1),
    st.integers(1, 4),
    st.binary(min_size=3, max_size=60),
    st.binary(),
)
def test_long_header_round_trip_before_another_packet(
    suite: int, packet_number: int, length: int, payload: bytes, after: bytes
) -> None:
    keys = make_keys(suite, secret_of(suite), V1)
    sealed_length = len(payload) + TAG_LENGTH
    header = encode_long_header(V1, HANDSHAKE, b"12345678", b"abc", b"", sealed_length, packet_number, length)
    packet = protect_packet(keys, header, length, packet_number, payload)
    assert packet[0] & 0xF0 == header[0] & 0xF0
    parsed = parse_long_header(packet + after, 0)
    assert parsed.end == len(packet)
    offset = parsed.packet_number_offset
    removed = unprotect_header(keys.header, packet + after, 0, offset, parsed.end, packet_number - 1)
    assert removed == (header[0], packet_number, len(header), header)
    assert keys.protection.open(packet_number, header, packet[len(header) :]) == payload


@given(SUITE_NUMBERS, st.binary(max_size=40), st.data())
def test_nothing_altered_opens(suite: int, payload: bytes, data: st.DataObject) -> None:
    protection = PacketProtection(suite, secret_of(suite), V1)
    sealed = protection.seal(5, b"header", payload)
    assert protection.open(5, b"header", sealed) == payload
    assert protection.open(6, b"header", sealed) is None
    assert protection.open(5, b"headex", sealed) is None
    assert PacketProtection(suite, secret_of(suite, 8), V1).open(5, b"header", sealed) is None
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    altered = (int.from_bytes(sealed) ^ 1 << bit).to_bytes(len(sealed))
    assert protection.open(5, b"header", altered) is None
    assert protection.open(5, b"header", sealed[: data.draw(st.integers(0, len(sealed) - 1))]) is None


@pytest.mark.requirement("rfc9001:5.4.2:1")
@pytest.mark.parametrize("suite", SUITES)
def test_a_packet_too_short_for_a_sample_is_not_unprotected(suite: int) -> None:
    header_protection = HeaderProtection(suite, secret_of(suite), V1)
    packet = b"\x40" + bytes(8) + bytes(4 + 16)
    assert unprotect_header(header_protection, packet, 0, 9, len(packet), -1) is not None
    for end in range(9, len(packet)):
        assert unprotect_header(header_protection, packet[:end], 0, 9, end, -1) is None
        assert unprotect_header(header_protection, packet, 0, 9, end, -1) is None


def test_masks_do_not_depend_on_what_was_masked_before() -> None:
    for suite in SUITES:
        used, fresh = (HeaderProtection(suite, secret_of(suite), V1) for _ in range(2))
        for fill in range(5):
            used.mask(bytes([fill]) * 16)
        assert used.mask(b"0123456789abcdef") == fresh.mask(b"0123456789abcdef")
