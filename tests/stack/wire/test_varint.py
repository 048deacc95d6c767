"""Variable-length integers against RFC 9000 section 16 and A.1."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.wire.varint import MAX_VARINT, Truncated, decode_varint, encode_varint, varint_size

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9000_a.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["varint"], ids=lambda vector: vector["hex"])
def test_decodes_and_encodes_the_examples_of_the_rfc(vector: dict[str, object]) -> None:
    data = bytes.fromhex(str(vector["hex"]))
    value = vector["value"]
    assert isinstance(value, int)
    assert decode_varint(b"\xff" + data + b"\xff", 1) == (value, 1 + len(data))
    if "note" not in vector:  # the other encoding is not the shortest
        assert encode_varint(value) == data


@pytest.mark.parametrize("row", VECTORS["varint_ranges"], ids=lambda row: str(row["length"]))
def test_each_length_reaches_its_limit(row: dict[str, int]) -> None:
    limit, length = row["max"], row["length"]
    assert len(encode_varint(limit)) == varint_size(limit) == length
    if limit < MAX_VARINT:
        assert len(encode_varint(limit + 1)) == varint_size(limit + 1) == 2 * length


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1, -(1 << 70), 1 << 70])
def test_refuses_what_no_varint_can_hold(value: int) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 4611686018427387903"):
        encode_varint(value)


@given(st.integers(0, MAX_VARINT), st.binary(max_size=9), st.binary(max_size=9))
def test_round_trip_at_any_position(value: int, before: bytes, after: bytes) -> None:
    data = encode_varint(value)
    assert len(data) == varint_size(value)
    assert decode_varint(before + data + after, len(before)) == (value, len(before) + len(data))


@given(st.integers(0, MAX_VARINT), st.data())
def test_every_truncation_is_reported(value: int, data: st.DataObject) -> None:
    encoded = encode_varint(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(Truncated):
        decode_varint(encoded[:cut], 0)


@given(st.integers(0, 63))
def test_longer_encodings_decode_to_the_same_value(value: int) -> None:
    for prefix, length in ((0x40, 2), (0x80, 4), (0xC0, 8)):
        encoded = bytes([prefix]) + value.to_bytes(length - 1)
        assert decode_varint(encoded, 0) == (value, length)
