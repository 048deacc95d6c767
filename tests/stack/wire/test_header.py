"""Long headers, Version Negotiation and connection IDs against RFC 9000 section 17 and RFC 8999."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.wire.header import (
    HANDSHAKE,
    INITIAL,
    ONE_RTT,
    PACKET_TYPE_NAMES,
    RETRY,
    UNKNOWN_VERSION,
    VERSION_NEGOTIATION,
    ZERO_RTT,
    HeaderError,
    LongHeader,
    destination_cid_of,
    encode_long_header,
    encode_retry_header,
    encode_version_negotiation,
    parse_long_header,
)
from stack.wire.versions import VERSION_1, VERSIONS, Version

V1 = VERSIONS[VERSION_1]
CIDS = st.binary(max_size=20)
LONG_CIDS = st.binary(max_size=255)


def test_types_have_the_names_that_observers_see() -> None:
    names = {kind: PACKET_TYPE_NAMES[kind] for kind in (INITIAL, ZERO_RTT, HANDSHAKE, RETRY, ONE_RTT)}
    assert names == {0: "initial", 1: "0RTT", 2: "handshake", 3: "retry", 5: "1RTT"}
    assert PACKET_TYPE_NAMES[VERSION_NEGOTIATION] == "version_negotiation"


@pytest.mark.requirement("rfc9000:17.2:8")
@given(
    version=st.sampled_from(list(VERSIONS.values())),
    packet_type=st.sampled_from([INITIAL, ZERO_RTT, HANDSHAKE]),
    destination_cid=CIDS,
    source_cid=CIDS,
    token=st.binary(max_size=100),
    payload_length=st.integers(16, 2000) | st.integers(16_370, 16_400),
    packet_number=st.integers(0, (1 << 62) - 1),
    packet_number_length=st.integers(1, 4),
    start=st.integers(0, 5),
    after=st.binary(max_size=5),
)
def test_round_trip_inside_a_datagram(
    version: Version,
    packet_type: int,
    destination_cid: bytes,
    source_cid: bytes,
    token: bytes,
    payload_length: int,
    packet_number: int,
    packet_number_length: int,
    start: int,
    after: bytes,
) -> None:
    header = encode_long_header(
        version,
        packet_type,
        destination_cid,
        source_cid,
        token,
        payload_length,
        packet_number,
        packet_number_length,
    )
    assert header[0] & 0x0F == packet_number_length - 1  # the reserved bits are 0
    truncated = packet_number & ((1 << 8 * packet_number_length) - 1)
    assert header.endswith(truncated.to_bytes(packet_number_length))
    parsed = parse_long_header(bytes(start) + header + bytes(payload_length) + after, start)
    assert parsed == LongHeader(
        packet_type=packet_type,
        version=version.number,
        destination_cid=destination_cid,
        source_cid=source_cid,
        token=token if packet_type == INITIAL else b"",
        packet_number_offset=start + len(header) - packet_number_length,
        end=start + len(header) + payload_length,
    )


@given(CIDS, CIDS, st.binary(min_size=1, max_size=100), st.integers(0, 255))
def test_retry_keeps_its_token_apart_from_the_tag(dcid: bytes, scid: bytes, token: bytes, bits: int) -> None:
    packet = encode_retry_header(V1, dcid, scid, token, bits) + bytes(16)
    assert packet[0] == 0xF0 | bits & 0x0F
    parsed = parse_long_header(packet, 0)
    assert (parsed.packet_type, parsed.destination_cid, parsed.source_cid) == (RETRY, dcid, scid)
    assert (parsed.token, parsed.end) == (token, len(packet))


@pytest.mark.requirement("rfc9000:17.2.5.2:4")
@pytest.mark.parametrize("length", range(17))
def test_retry_without_a_token_is_refused(length: int) -> None:
    with pytest.raises(HeaderError, match="token"):
        parse_long_header(encode_retry_header(V1, b"a", b"b", b"", 0) + bytes(length), 0)


@pytest.mark.requirement("rfc9000:17.2.1:1")
@pytest.mark.requirement("rfc9000:17.2.1:2")
@pytest.mark.requirement("rfc9000:17.2.1:3")
@given(
    LONG_CIDS,
    LONG_CIDS,
    st.lists(st.integers(0, (1 << 32) - 1), min_size=1).map(tuple),
    st.integers(0, 1 << 40),
    st.integers(0, 127),
)
def test_version_negotiation_round_trip(
    dcid: bytes, scid: bytes, versions: tuple[int, ...], bits: int, unused: int
) -> None:
    packet = encode_version_negotiation(dcid, scid, versions, bits)
    assert packet[0] & 0xC0 == 0xC0
    packet = bytes([0x80 | unused]) + packet[1:]  # a receiver ignores all but the form bit
    parsed = parse_long_header(packet, 0)
    assert (parsed.packet_type, parsed.version) == (VERSION_NEGOTIATION, 0)
    assert (parsed.destination_cid, parsed.source_cid) == (dcid, scid)
    listed = packet[parsed.packet_number_offset : parsed.end]
    assert listed == b"".join(version.to_bytes(4) for version in versions)


@pytest.mark.requirement("rfc8999:6:2")
@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 7])
def test_version_negotiation_without_whole_versions_is_refused(length: int) -> None:
    with pytest.raises(HeaderError, match="versions"):
        parse_long_header(encode_version_negotiation(b"a", b"b", (), 0) + bytes(length), 0)


@pytest.mark.requirement("rfc9000:17.2:4")
@pytest.mark.requirement("rfc9000:17.2:7")
@given(LONG_CIDS, LONG_CIDS, st.binary(max_size=30), st.integers(0, 127))
def test_only_the_invariants_of_an_unknown_version_are_read(dcid: bytes, scid: bytes, rest: bytes, bits: int) -> None:
    invariants = bytes([0x80 | bits]) + b"\xba\xba\xba\xba" + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
    parsed = parse_long_header(invariants + rest, 0)
    assert parsed == LongHeader(UNKNOWN_VERSION, 0xBABABABA, dcid, scid, b"", len(invariants), len(invariants + rest))


@pytest.mark.requirement("rfc9000:17.2:1")
def test_a_fixed_bit_of_0_is_refused() -> None:
    header = encode_long_header(V1, INITIAL, b"12345678", b"", b"", 20, 0, 1)
    with pytest.raises(HeaderError, match="fixed bit"):
        parse_long_header(bytes([header[0] & ~0x40]) + header[1:] + bytes(20), 0)


@pytest.mark.requirement("rfc9000:17.2:3")
@pytest.mark.requirement("rfc9000:17.2:6")
@pytest.mark.parametrize(("dcid", "scid"), [(21, 0), (0, 21), (255, 255)])
def test_a_connection_id_above_20_bytes_is_refused_in_a_known_version(dcid: int, scid: int) -> None:
    header = encode_long_header(V1, HANDSHAKE, bytes(dcid), bytes(scid), b"", 20, 0, 1)
    with pytest.raises(HeaderError, match="exceeds 20 bytes"):
        parse_long_header(header + bytes(20), 0)


@given(st.sampled_from([INITIAL, ZERO_RTT, HANDSHAKE]), CIDS, CIDS, st.binary(max_size=70), st.data())
def test_every_truncation_is_refused(
    packet_type: int, dcid: bytes, scid: bytes, token: bytes, data: st.DataObject
) -> None:
    packet = encode_long_header(V1, packet_type, dcid, scid, token, 20, 7, 2) + bytes(20)
    cut = data.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(HeaderError):
        parse_long_header(packet[:cut], 0)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_parse_or_are_refused(data: bytes, version_1: bool) -> None:
    if version_1:
        data = data[:1] + b"\0\0\0\1" + data[5:]
    try:
        parsed = parse_long_header(data, 0)
    except HeaderError:
        return
    assert 0 < parsed.packet_number_offset <= parsed.end <= len(data)


def test_a_short_header_is_no_long_header() -> None:
    with pytest.raises(HeaderError):
        parse_long_header(b"\x40" + bytes(40), 0)


@given(LONG_CIDS, CIDS, st.binary(max_size=9))
def test_the_first_packets_destination_is_found_in_either_form(dcid: bytes, scid: bytes, rest: bytes) -> None:
    long = b"\x80\xba\xba\xba\xba" + bytes([len(dcid)]) + dcid
    assert destination_cid_of(long + bytes([len(scid)]) + scid + rest, 8) == dcid
    assert destination_cid_of(b"\x40" + dcid + rest, len(dcid)) == dcid


@given(LONG_CIDS, st.data())
def test_no_destination_in_a_datagram_too_short_for_it(dcid: bytes, data: st.DataObject) -> None:
    long = b"\x80\xba\xba\xba\xba" + bytes([len(dcid)]) + dcid
    assert destination_cid_of(long[: data.draw(st.integers(0, len(long) - 1))], 8) is None
    short = b"\x40" + dcid
    assert destination_cid_of(short[: data.draw(st.integers(0, len(short) - 1))], len(dcid)) is None
