"""When an ACK goes out and what it tells (RFC 9000 section 13.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.limits import MAX_ACK_RANGES_SENT, MAX_NON_ELICITING_PACKETS, MAX_RECEIVED_RANGES
from stack.recovery.acknowledgments import NEVER, Acknowledgments
from stack.sent_frame import SentFrame
from stack.wire.decoded_frames import AckFrame, decode_frames

MS = 1_000_000
DELAY = 25 * MS


def application() -> Acknowledgments:
    return Acknowledgments(DELAY, 3)


def receive(acks: Acknowledgments, *numbers: int, eliciting: bool = True, now: int = 0) -> None:
    for number in numbers:
        acks.on_received(number, eliciting, now)


def frame(acks: Acknowledgments, now: int = 0) -> AckFrame:
    """Send the ACK and decode it."""
    (decoded,) = decode_frames(acks.frame(now))
    acks.on_sent()
    assert isinstance(decoded, AckFrame)
    return decoded


def acknowledged(acks: Acknowledgments, largest: int) -> None:
    """The peer acknowledged the packet that carried our ACK up to `largest`."""
    sent: SentFrame = (acks, largest)
    acks.on_acked(sent, 0)


@pytest.mark.requirement("rfc9000:13.2.1:1")
@pytest.mark.requirement("rfc9000:13.2.2:1")
def test_the_first_waits_max_ack_delay_and_the_second_goes_at_once() -> None:
    acks = application()
    receive(acks, 0, now=7)
    assert acks.ack_at == 7 + DELAY
    receive(acks, 1, now=9 * MS)
    assert acks.ack_at == 0
    frame(acks, 9 * MS)
    assert acks.ack_at == NEVER
    receive(acks, 2, now=10 * MS)
    assert acks.ack_at == 10 * MS + DELAY


@pytest.mark.requirement("rfc9000:13.2.1:2")
def test_initial_and_handshake_packets_are_acknowledged_at_once() -> None:
    acks = Acknowledgments(0, 3)
    receive(acks, 0)
    assert acks.ack_at == 0


@pytest.mark.requirement("rfc9000:13.2.1:8")
@pytest.mark.parametrize("numbers", [(1,), (0, 2), (0, 1, 2, 5)])
def test_a_gap_is_told_at_once(numbers: tuple[int, ...]) -> None:
    acks = application()
    receive(acks, *numbers[:-1])
    if numbers[:-1]:
        frame(acks)
    receive(acks, numbers[-1])
    assert acks.ack_at == 0


@pytest.mark.requirement("rfc9000:13.2.1:8")
def test_a_late_packet_is_told_at_once() -> None:
    acks = application()
    receive(acks, 0, 2)
    frame(acks)
    receive(acks, 1)
    assert acks.ack_at == 0


@pytest.mark.requirement("rfc9000:13.2.1:8")
def test_a_gap_that_a_packet_without_need_of_an_ack_left_is_told_with_the_next_that_needs_one() -> None:
    acks = application()
    receive(acks, 0)
    frame(acks)
    receive(acks, 2, eliciting=False)
    assert acks.ack_at == NEVER
    receive(acks, 3)
    assert acks.ack_at == 0
    frame(acks)
    receive(acks, 4, now=5)
    assert acks.ack_at == 5 + DELAY, "the gap has been told"


def test_packets_that_need_no_ack_leave_no_gap_when_they_arrive_in_order() -> None:
    acks = application()
    receive(acks, 0)
    frame(acks)
    receive(acks, 1, 2, eliciting=False)
    receive(acks, 3, now=5)
    assert acks.ack_at == 5 + DELAY


@pytest.mark.requirement("rfc9000:13.2.1:4")
@pytest.mark.requirement("rfc9000:13.2.1:6")
def test_packets_that_need_no_ack_cause_none_and_are_told_with_the_next_that_does() -> None:
    acks = application()
    receive(acks, 0, 1, 5, 3, eliciting=False)
    assert acks.ack_at == NEVER
    assert not acks.unsent
    receive(acks, 6)
    assert acks.unsent
    assert frame(acks).ranges == ((5, 6), (3, 3), (0, 1))


@pytest.mark.parametrize(("exponent", "reported"), [(0, 3000), (3, 375), (20, 0)])
def test_the_delay_counts_from_the_largest_packet(exponent: int, reported: int) -> None:
    acks = Acknowledgments(DELAY, exponent)
    receive(acks, 5, now=10 * MS)
    receive(acks, 4, now=12 * MS)
    assert frame(acks, 13 * MS).delay == reported


@pytest.mark.requirement("rfc9000:12.3:4")
@given(st.lists(st.integers(0, 40), max_size=80))
def test_every_packet_is_processed_once(numbers: list[int]) -> None:
    acks, seen = application(), set[int]()
    for number in numbers:
        assert acks.is_duplicate(number) == (number in seen)
        if number not in seen:
            receive(acks, number)
            seen.add(number)
    told = {number for low, high in frame(acks).ranges for number in range(low, high + 1)} if seen else set()
    assert told == seen


@pytest.mark.requirement("rfc9000:13.2.3:4")
@pytest.mark.requirement("rfc9000:13.2.3:6")
def test_many_holes_cost_bounded_memory_and_forgotten_packets_are_never_accepted() -> None:
    acks = application()
    receive(acks, *range(0, 1000, 2))
    assert len(acks.received) == MAX_RECEIVED_RANGES
    told = frame(acks)
    assert len(told.ranges) == MAX_ACK_RANGES_SENT
    assert told.largest == 998
    lowest = 1000 - 2 * MAX_RECEIVED_RANGES
    assert all(acks.is_duplicate(number) for number in range(lowest))
    assert not acks.is_duplicate(lowest + 1)
    assert acks.is_duplicate(lowest + 2)


@pytest.mark.requirement("rfc9000:13.2.3:2")
def test_acknowledged_ranges_are_told_no_more() -> None:
    acks = application()
    receive(acks, 0, 1, 4, 6)
    assert frame(acks).ranges == ((6, 6), (4, 4), (0, 1))
    acknowledged(acks, 6)
    receive(acks, 7, 9)
    assert frame(acks).ranges == ((9, 9), (6, 7))
    assert acks.is_duplicate(0)
    assert not acks.is_duplicate(3)


@pytest.mark.requirement("rfc9000:13.2.1:1")
@pytest.mark.parametrize("acknowledged_first", [False, True])
def test_a_packet_later_than_an_acknowledged_ack_is_still_told(acknowledged_first: bool) -> None:
    acks = application()
    receive(acks, 0, 1, 4, 6, 8)
    frame(acks)
    if acknowledged_first:
        acknowledged(acks, 8)
        receive(acks, 2)
    else:
        receive(acks, 2)
        acknowledged(acks, 8)
    receive(acks, 10)
    assert any(low <= 2 <= high for low, high in frame(acks).ranges)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=60))
def test_whatever_is_acknowledged_when_no_packet_goes_untold(steps: list[tuple[int, bool, bool]]) -> None:
    """Steps: a packet arrives, perhaps an ACK goes out, perhaps the oldest ACK is acknowledged."""
    acks, arrived, told, sent = application(), set[int](), set[int](), list[int]()
    for number, send, acknowledge in steps:
        if not acks.is_duplicate(number):
            receive(acks, number)
            arrived.add(number)
        if acknowledge and sent:
            acknowledged(acks, sent.pop(0))
        if send:
            sent.append(acks.largest_received)
            told.update(number for low, high in frame(acks).ranges for number in range(low, high + 1))
            assert told == arrived


@pytest.mark.requirement("rfc9000:13.2.1:7")
def test_a_ping_asks_now_and_then_for_an_ack_of_acks() -> None:
    acks = application()
    asked = [index for index in range(3 * (MAX_NON_ELICITING_PACKETS + 1)) if acks.wants_ping(False)]
    period = MAX_NON_ELICITING_PACKETS + 1
    assert asked == [period - 1, 2 * period - 1, 3 * period - 1]
    for _ in range(MAX_NON_ELICITING_PACKETS):
        assert not acks.wants_ping(False)
    assert not acks.wants_ping(True)
    assert not acks.wants_ping(False)


def test_nothing_received_is_nothing_to_tell() -> None:
    assert application().frame(0) == b""
