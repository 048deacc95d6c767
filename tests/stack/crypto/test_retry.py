"""Retry packets against RFC 9001 section 5.8 and its appendix A.4."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stack.crypto.retry import encode_retry, retry_integrity_tag
from stack.wire.header import RETRY, parse_long_header
from stack.wire.versions import VERSION_1, VERSIONS

V1 = VERSIONS[VERSION_1]
VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9001_a.json").read_text())["retry"]
CIDS = st.binary(max_size=20)


def test_the_retry_packet_of_the_rfc() -> None:
    packet = bytes.fromhex(VECTOR["packet"])
    original_dcid = bytes.fromhex(VECTOR["original_destination_connection_id"])
    assert retry_integrity_tag(V1, original_dcid, packet[:-16]).hex() == VECTOR["integrity_tag"]
    parsed = parse_long_header(packet, 0)
    assert (parsed.packet_type, parsed.token, parsed.end) == (RETRY, b"token", len(packet))
    again = encode_retry(V1, parsed.destination_cid, parsed.source_cid, parsed.token, original_dcid, 0xF)
    assert again == packet


@given(CIDS, CIDS, st.binary(min_size=1, max_size=60), CIDS, st.integers(0, 15), st.data())
def test_the_tag_covers_the_packet_and_the_original_connection_id(
    dcid: bytes, scid: bytes, token: bytes, original_dcid: bytes, bits: int, data: st.DataObject
) -> None:
    packet = encode_retry(V1, dcid, scid, token, original_dcid, bits)
    assert retry_integrity_tag(V1, original_dcid, packet[:-16]) == packet[-16:]
    assert retry_integrity_tag(V1, original_dcid + b"x", packet[:-16]) != packet[-16:]
    position = data.draw(st.integers(0, len(packet) - 17))
    altered = packet[:position] + bytes([packet[position] ^ 1]) + packet[position + 1 : -16]
    assert retry_integrity_tag(V1, original_dcid, altered) != packet[-16:]
