"""Packet number truncation and recovery against RFC 9000 sections 17.1, A.2 and A.3."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stack.wire.packet_number import decode_packet_number, packet_number_length

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9000_a.json").read_text())
PACKET_NUMBERS = st.integers(0, (1 << 62) - 1)


@pytest.mark.parametrize("row", VECTORS["packet_number_encode"], ids=lambda row: row["encoded"])
def test_lengths_of_the_rfc(row: dict[str, int]) -> None:
    assert packet_number_length(row["full_pn"], row["largest_acked"]) * 8 == row["bits"]


@pytest.mark.parametrize("row", VECTORS["packet_number_decode"], ids=lambda row: str(row["full_pn"]))
def test_recoveries_of_the_rfc(row: dict[str, int]) -> None:
    assert decode_packet_number(row["truncated_pn"], row["bits"] // 8, row["largest_pn"]) == row["full_pn"]


@pytest.mark.requirement("rfc9000:17.1:1")
@given(st.integers(0, (1 << 31) - 2))
def test_nothing_is_truncated_before_the_first_acknowledgment(packet_number: int) -> None:
    assert packet_number < 1 << 8 * packet_number_length(packet_number, -1)


@pytest.mark.requirement("rfc9000:17.1:2")
@given(PACKET_NUMBERS, st.integers(1, (1 << 31) - 1))
def test_the_encoding_covers_more_than_twice_the_unacknowledged_range(acknowledged: int, distance: int) -> None:
    length = packet_number_length(acknowledged + distance, acknowledged)
    assert 1 << 8 * length > 2 * distance
    assert length == 1 or 1 << 8 * (length - 1) <= 2 * distance  # and no byte more than that


@pytest.mark.requirement("rfc9000:17.1:3")
@given(PACKET_NUMBERS, st.integers(1, (1 << 31) - 1), st.integers(0))
def test_a_number_is_recovered_whatever_else_arrived_before(acknowledged: int, distance: int, seen: int) -> None:
    packet_number = acknowledged + distance
    assume(packet_number < 1 << 62)
    length = packet_number_length(packet_number, acknowledged)
    truncated = packet_number & ((1 << 8 * length) - 1)
    largest_received = acknowledged + seen % distance
    assert decode_packet_number(truncated, length, largest_received) == packet_number


@given(st.integers(1, 4), st.integers(-1, (1 << 62) - 1), st.data())
def test_the_recovered_number_has_the_wire_value_and_is_the_closest(
    length: int, largest_received: int, data: st.DataObject
) -> None:
    window = 1 << 8 * length
    truncated = data.draw(st.integers(0, window - 1))
    packet_number = decode_packet_number(truncated, length, largest_received)
    assert packet_number >= 0
    assert packet_number % window == truncated
    distance = abs(packet_number - largest_received - 1)
    assert distance <= window // 2 or packet_number < window or packet_number >= (1 << 62) - window
