"""ECN validation by itself: packets marked, reported and lost by hand (RFC 9000 section 13.4.2)."""

import pytest

from stack.path.ecn import TESTED_PACKETS, EcnState, EcnValidation
from stack.recovery.marks import SentMarks
from stack.wire.ecn import ECT_0, ECT_1, NOT_ECT


class Bench:
    """One path and one packet number space."""

    def __init__(self, enabled: bool = True, mark: int = ECT_0) -> None:
        self.ecn = EcnValidation(enabled, mark)
        self.marks = SentMarks()

    def send(self, count: int) -> int:
        """Send packets as the path wants them; return how many of them were marked."""
        marked = 0
        for _ in range(count):
            if self.ecn.codepoint:
                marked += 1
                self.marks.unreported += 1
                self.ecn.on_sent()
        return marked

    def ack(self, marked: int, *counts: int) -> int:
        """Receive an ACK frame with these counts of ECT(0), ECT(1) and CE, or with none; return the new CE marks."""
        return self.ecn.on_ack(marked, self.marks, (counts[0], counts[1], counts[2]) if counts else None)

    @property
    def state(self) -> EcnState:
        return self.ecn.state


def capable() -> Bench:
    bench = Bench()
    assert bench.send(TESTED_PACKETS) == TESTED_PACKETS
    bench.ack(TESTED_PACKETS, TESTED_PACKETS, 0, 0)
    assert bench.state is EcnState.CAPABLE
    return bench


def test_ten_packets_are_marked_and_then_none_until_one_of_them_is_reported() -> None:
    bench = Bench()
    assert bench.send(25) == 10
    assert bench.state is EcnState.UNKNOWN
    assert bench.ack(1, 1, 0, 0) == 0
    assert bench.state is EcnState.CAPABLE
    assert bench.ecn.codepoint == ECT_0


@pytest.mark.requirement("rfc9000:13.4.2.2:3")
def test_a_capable_path_is_marked_on_and_on() -> None:
    assert capable().send(1000) == 1000


def test_reports_during_the_test_count_after_it() -> None:
    bench = Bench()
    bench.send(9)
    bench.ack(9, 9, 0, 0)
    assert bench.state is EcnState.TESTING
    bench.send(1)
    assert bench.state is EcnState.UNKNOWN
    bench.ack(0, 9, 0, 0)
    assert bench.state is EcnState.CAPABLE


def test_nothing_is_marked_when_it_is_not_wanted() -> None:
    bench = Bench(enabled=False)
    assert bench.send(10) == 0
    assert bench.ack(0, 3, 2, 1) == 0
    assert bench.state is EcnState.FAILED


@pytest.mark.requirement("rfc9000:13.4.2.2:1")
@pytest.mark.parametrize(
    ("marked", "counts"),
    [
        (3, ()),  # the mark was cleared on the way, or the peer does not report
        (3, (2, 0, 0)),  # one of three packets came without its mark
        (3, (1, 0, 1)),
        (3, (0, 3, 0)),  # turned into ECT(1)
        (3, (3, 1, 0)),  # something was made ECT(1), which we never send
        (1, (11, 0, 0)),  # more than were sent
        (1, (1, 0, 10)),
    ],
)
def test_counts_that_do_not_fit_what_was_sent_end_the_marking(marked: int, counts: tuple[int, ...]) -> None:
    bench = Bench()
    bench.send(TESTED_PACKETS)
    assert bench.ack(marked, *counts) == 0
    assert bench.state is EcnState.FAILED
    assert bench.ecn.codepoint == NOT_ECT
    assert bench.send(5) == 0


@pytest.mark.requirement("rfc9000:13.4.2.2:4")
@pytest.mark.parametrize("counts", [(), (11, 0, 0), (12, 1, 0), (9, 0, 3), (12, 0, 1)])
def test_a_capable_path_fails_as_soon_as_its_counts_do_not_fit(counts: tuple[int, ...]) -> None:
    bench = capable()
    bench.send(2)
    assert bench.ack(2, *counts) == 0
    assert bench.state is EcnState.FAILED
    assert bench.send(5) == 0


def test_counts_may_grow_by_more_than_is_newly_acknowledged() -> None:
    """An ACK frame in between was lost, or was not used because it came late."""
    bench = capable()
    bench.send(8)
    assert bench.ack(3, 16, 0, 2) == 2
    assert bench.state is EcnState.CAPABLE
    assert bench.ack(5, 16, 0, 2) == 0  # … but then they do not grow again
    assert bench.state is EcnState.FAILED


def test_an_ack_of_unmarked_packets_needs_no_counts() -> None:
    bench = Bench()
    bench.send(TESTED_PACKETS)
    bench.ack(0)
    assert bench.state is EcnState.UNKNOWN


def test_ce_is_congestion_each_time_its_count_grows() -> None:
    bench = capable()
    bench.send(6)
    assert [bench.ack(2, 11, 0, 1), bench.ack(2, 13, 0, 1), bench.ack(2, 13, 0, 3)] == [1, 0, 2]
    assert bench.state is EcnState.CAPABLE


def test_a_path_on_which_every_marked_packet_is_lost_fails() -> None:
    bench = Bench()
    bench.send(TESTED_PACKETS)
    for _ in range(TESTED_PACKETS - 1):
        bench.ecn.on_lost()
    assert bench.state is EcnState.UNKNOWN
    bench.ecn.on_lost()
    assert bench.state is EcnState.FAILED


def test_a_path_that_marks_every_packet_ce_fails() -> None:
    bench = Bench()
    bench.send(TESTED_PACKETS)
    assert bench.ack(6, 0, 0, 6) == 6
    assert bench.state is EcnState.UNKNOWN
    bench.ack(4, 0, 0, 10)
    assert bench.state is EcnState.FAILED


def test_the_second_probe_timeout_in_a_row_ends_the_test() -> None:
    bench = Bench()
    bench.send(3)
    bench.ecn.on_probe_timeout(1)
    assert bench.send(2) == 2
    bench.ecn.on_probe_timeout(2)
    assert bench.state is EcnState.UNKNOWN
    assert bench.send(2) == 0
    for _ in range(5):
        bench.ecn.on_lost()
    assert bench.state is EcnState.FAILED


@pytest.mark.requirement("rfc9000:13.4.2.2:2")
def test_a_capable_path_is_tested_once_more_after_an_outage() -> None:
    bench = capable()
    bench.send(4)
    bench.ecn.on_probe_timeout(2)
    assert bench.state is EcnState.UNKNOWN
    for _ in range(4):
        bench.ecn.on_lost()
    assert bench.state is EcnState.TESTING
    assert bench.send(20) == TESTED_PACKETS
    for _ in range(TESTED_PACKETS):
        bench.ecn.on_lost()
    assert bench.state is EcnState.FAILED  # no outage, then: marked packets are dropped now


def test_an_outage_that_spares_one_marked_packet_leaves_the_path_capable() -> None:
    bench = capable()
    bench.send(4)
    bench.ecn.on_probe_timeout(2)
    bench.ack(1, 11, 0, 0)
    assert bench.state is EcnState.CAPABLE


def test_after_a_failure_a_new_path_is_judged_by_what_happens_on_it() -> None:
    """The old path turned unmarked packets into marked ones: too many for ever, but not this path's fault."""
    bench = Bench()
    bench.send(TESTED_PACKETS)
    bench.ack(10, 15, 3, 0)
    assert bench.state is EcnState.FAILED
    bench.ack(0, 40, 30, 7)
    bench.ecn = EcnValidation(True)
    assert bench.send(12) == TESTED_PACKETS
    bench.ack(10, 50, 30, 7)
    assert bench.state is EcnState.CAPABLE


def test_a_path_may_be_marked_ect_1_as_well() -> None:
    bench = Bench(mark=ECT_1)
    assert bench.ecn.codepoint == ECT_1
    bench.send(TESTED_PACKETS)
    assert bench.ack(TESTED_PACKETS, 0, TESTED_PACKETS - 2, 2) == 2
    assert bench.state is EcnState.CAPABLE
    assert bench.ecn.codepoint == ECT_1


@pytest.mark.parametrize(
    ("marked", "counts"), [(3, (3, 0, 0)), (3, (1, 2, 0)), (3, (0, 2, 0)), (1, (0, 11, 0)), (3, ())]
)
def test_an_ect_1_mark_that_arrives_as_another_one_or_not_ends_the_marking(
    marked: int, counts: tuple[int, ...]
) -> None:
    bench = Bench(mark=ECT_1)
    bench.send(TESTED_PACKETS)
    assert bench.ack(marked, *counts) == 0
    assert bench.state is EcnState.FAILED
