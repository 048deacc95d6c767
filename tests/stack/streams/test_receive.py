"""Reassembly and the receiving part of a stream, against a model that keeps one byte per offset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR, INTERNAL_ERROR, TransportError
from stack.limits import BYTES_PER_PIECE, MAX_PIECES
from stack.streams.flow import ReceiveWindow
from stack.streams.reassembly import Reassembly
from stack.streams.receive import TRANSITIONS, ReceiveState, ReceiveStream, Trigger

CONTENT = bytes(range(1, 101))
FRAMES = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), max_size=60)


def code_of(stream: ReceiveStream, offset: int, data: bytes, fin: bool = False) -> int:
    """The transport error code that a STREAM frame causes."""
    with pytest.raises(TransportError) as caught:
        stream.on_data(offset, data, fin, 0x08)
    return caught.value.code


@pytest.mark.requirement("rfc9000:2.2:1")
@given(FRAMES, st.one_of(st.none(), st.integers(1, 7)))
def test_any_order_overlap_and_repetition_comes_out_in_order(frames: list[tuple[int, int]], limit: int | None) -> None:
    buffer = Reassembly()
    seen: set[int] = set()
    out = bytearray()
    for offset, length in frames:
        data = CONTENT[offset : offset + length]
        before = next(index for index in range(102) if index not in seen)
        seen.update(range(offset, offset + len(data)))
        contiguous = next(index for index in range(102) if index not in seen)
        assert buffer.add(offset, data) == (contiguous > before)
        assert buffer.received == contiguous
        out += buffer.take(limit)
        if limit is None:
            assert len(out) == contiguous
        beyond = sorted(value for value in seen if value > contiguous)
        assert buffer.waiting == sum(1 for value in beyond if value - 1 not in seen)
    while chunk := buffer.take():
        out += chunk
    assert bytes(out) == CONTENT[: buffer.received]


@given(st.permutations(range(10)), st.integers(1, 10), st.booleans())
def test_a_stream_ends_when_all_of_it_was_read(order: list[int], size: int, lone_fin: bool) -> None:
    stream = ReceiveStream(0, ReceiveWindow(1000))
    frames = [(index * size, CONTENT[index * size : (index + 1) * size]) for index in order]
    total = 10 * size
    out = bytearray()
    if lone_fin:
        stream.on_data(total, b"", True, 0x09)
    for offset, data in frames:
        stream.on_data(offset, data, offset + size == total, 0x09)
        out += stream.read(None)
    assert bytes(out) == CONTENT[:total]
    assert stream.final_size == total
    assert stream.finished


def test_news_is_only_what_can_be_read() -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    assert stream.on_data(5, b"fghij", False, 0x0C) == (10, False)
    assert stream.on_data(0, b"abcde", False, 0x08) == (0, True)
    assert stream.on_data(2, b"cd", False, 0x0C) == (0, False)
    assert stream.read(None) == b"abcdefghij"
    assert stream.on_data(10, b"", True, 0x0D) == (0, True)
    assert stream.state is ReceiveState.DATA_RECVD
    assert stream.read(None) == b""
    assert stream.finished


@pytest.mark.requirement("rfc9000:4.1:2")
@pytest.mark.requirement("rfc9000:19.10:4")
def test_data_beyond_the_stream_limit_is_a_flow_control_error() -> None:
    stream = ReceiveStream(0, ReceiveWindow(10))
    stream.on_data(0, bytes(10), False, 0x08)
    assert code_of(stream, 10, b"x") == FLOW_CONTROL_ERROR
    assert code_of(stream, 5, bytes(6)) == FLOW_CONTROL_ERROR
    with pytest.raises(TransportError) as caught:
        stream.on_reset(0, 11, 0x04)
    assert caught.value.code == FLOW_CONTROL_ERROR


@pytest.mark.requirement("rfc9000:4.5:3")
@pytest.mark.requirement("rfc9000:4.5:4")
@pytest.mark.parametrize(
    ("offset", "data", "fin"),
    [(10, b"x", False), (5, bytes(6), False), (0, bytes(9), True), (10, b"x", True), (4, b"", True)],
)
def test_a_final_size_never_changes(offset: int, data: bytes, fin: bool) -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    stream.on_data(8, bytes(2), True, 0x0D)
    assert code_of(stream, offset, data, fin) == FINAL_SIZE_ERROR
    stream.on_data(0, bytes(8), False, 0x08)
    stream.read(None)
    assert stream.finished
    assert code_of(stream, offset, data, fin) == FINAL_SIZE_ERROR


@pytest.mark.requirement("rfc9000:4.5:3")
def test_a_final_size_below_what_arrived_is_an_error() -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    stream.on_data(20, b"x", False, 0x0C)
    assert code_of(stream, 0, bytes(20), True) == FINAL_SIZE_ERROR
    with pytest.raises(TransportError) as caught:
        stream.on_reset(0, 20, 0x04)
    assert caught.value.code == FINAL_SIZE_ERROR


def test_the_same_final_size_may_be_told_again() -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    stream.on_data(0, b"abc", True, 0x09)
    assert stream.on_data(0, b"abc", True, 0x09) == (0, False)
    assert stream.on_data(3, b"", True, 0x0D) == (0, False)
    assert stream.on_reset(1, 3, 0x04) == (0, False)  # all data is here: RESET_STREAM is ignored
    assert stream.state is ReceiveState.DATA_RECVD


@pytest.mark.requirement("rfc9000:21.7:1")
def test_too_many_pieces_close_the_connection() -> None:
    stream = ReceiveStream(0, ReceiveWindow(1 << 20))
    limit = MAX_PIECES + (1 << 20) // BYTES_PER_PIECE
    for index in range(limit):
        stream.on_data(2 * index + 1, b"x", False, 0x0C)
    assert code_of(stream, 2 * limit + 1, b"x") == INTERNAL_ERROR


def test_every_second_packet_of_a_large_window_may_be_missing() -> None:
    stream = ReceiveStream(0, ReceiveWindow(16 << 20))
    for offset in range(1100, (16 << 20) - 1100, 2200):
        stream.on_data(offset, bytes(1100), False, 0x0C)
    assert stream.on_data(0, bytes(1100), False, 0x08) == (0, True)


def test_empty_frames_beyond_a_gap_hold_nothing() -> None:
    buffer = Reassembly()
    for offset in range(10, 1000, 10):
        assert not buffer.add(offset, b"")
    assert buffer.waiting == 0
    assert buffer.add(0, b"ab")
    assert buffer.take() == b"ab"


@pytest.mark.requirement("rfc9000:3.2:2")
@pytest.mark.requirement("rfc9000:4.5:1")
def test_a_reset_counts_all_bytes_and_drops_what_was_not_read() -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    stream.on_data(0, b"abcdef", False, 0x08)
    assert stream.read(2) == b"ab"
    assert stream.on_reset(7, 50, 0x04) == (44, True)
    assert stream.reset_code == 7
    assert stream.state is ReceiveState.RESET_RECVD
    assert stream.read(None) == b""
    assert stream.on_data(6, b"late", False, 0x0C) == (0, False)
    stream.read_reset()
    assert stream.finished


def test_discarded_data_is_consumed_at_once() -> None:
    stream = ReceiveStream(0, ReceiveWindow(100))
    stream.on_data(0, b"abc", False, 0x08)
    stream.discard()
    assert stream.consumed == 3
    assert stream.on_data(3, b"def", True, 0x0D) == (3, False)
    assert stream.consumed == 6
    assert stream.finished


def test_transition_table() -> None:
    """RFC 9000 figure 3."""
    table = {(old.value, trigger.name): new.value for old, row in TRANSITIONS.items() for trigger, new in row.items()}
    assert table == {
        ("recv", "FIN"): "size_known",
        ("recv", "RESET"): "reset_recvd",
        ("size_known", "ALL"): "data_recvd",
        ("size_known", "RESET"): "reset_recvd",
        ("data_recvd", "READ"): "data_read",
        ("reset_recvd", "READ"): "reset_read",
    }
    assert set(TRANSITIONS) == set(ReceiveState)
    assert {trigger for row in TRANSITIONS.values() for trigger in row} == set(Trigger)
