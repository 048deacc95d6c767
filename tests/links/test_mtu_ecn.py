"""Links with a largest datagram, queues that mark, and paths that change marks."""

from random import Random

import pytest

from links import DROPPED, Datagram, EcnMark, EcnRemark, Element, Mtu, Pipeline, Rate, TailDrop
from quicsim.plan.elements import element_plan

NOT_ECT, ECT_1, ECT_0, CE = range(4)


def datagram(size: int = 1200, ecn: int = NOT_ECT, number: int = 0) -> Datagram:
    return Datagram(bytes(size), ("10.0.0.1", 1), ("10.0.0.2", 2), ecn, number=number)


@pytest.mark.parametrize(("overhead", "largest"), [(0, 1400), (28, 1372), ("48B", 1352)])
def test_a_link_carries_datagrams_up_to_its_mtu(overhead: int | str, largest: int) -> None:
    link = Mtu(1400, overhead)
    assert [link.receive(datagram(size), 7) for size in (100, largest, largest + 1)] == [7, 7, DROPPED]
    assert link.dropped == {"too large": 1}


def test_an_mtu_may_change_under_way() -> None:
    link = Mtu("1500B")
    assert link.receive(datagram(1472), 1) == 1
    link.size = 1300
    assert link.receive(datagram(1472), 2) == DROPPED
    link.size = 1500
    assert link.receive(datagram(1472), 3) == 3


def through(elements: list[Element], datagrams: list[Datagram]) -> list[int]:
    """Send all at time 0 through a link; return the numbers of those that arrive."""
    arrived: list[int] = []
    link = Pipeline(
        "a>b",
        elements,
        rng=Random,
        schedule=lambda at, callback, *arguments: callback(*arguments),
        deliver=lambda it, at: arrived.append(it.id),
        lose=lambda it, at: None,
    )
    for each in datagrams:
        link.send(each, 0)
    return arrived


def test_a_queue_marks_what_waits_longer_than_its_threshold() -> None:
    """At 9.6 Mbit/s each of 1200 bytes takes 1 ms: the n-th waits n ms, so those after the third are marked."""
    mark = EcnMark("3ms")
    datagrams = [datagram(ecn=ECT_0 if number % 2 else ECT_1, number=number) for number in range(8)]
    assert through([Rate(9_600_000), mark], datagrams) == list(range(8))
    assert [each.ecn for each in datagrams] == [ECT_1, ECT_0, ECT_1, ECT_0, CE, CE, CE, CE]
    assert mark.marked == 4


def test_datagrams_that_are_not_ecn_capable_are_dropped_where_the_others_are_marked() -> None:
    mark = EcnMark(0)
    datagrams = [datagram(ecn=ecn, number=number) for number, ecn in enumerate([0, 0, 2, 0, 3, 2])]
    assert through([mark, TailDrop(packets=3), Rate(9_600_000)], datagrams) == [0, 1, 2, 3]
    assert [each.ecn for each in datagrams[:4]] == [0, 0, 3, 0]


def test_a_path_can_bleach_or_mangle_marks() -> None:
    bleach, mangle = EcnRemark("not-ect"), EcnRemark("ect1", only="ect0")
    before = [datagram(ecn=ecn) for ecn in range(4)]
    after = [datagram(ecn=ecn) for ecn in range(4)]
    for each in before:
        assert bleach.receive(each, 5) == 5
    for each in after:
        mangle.receive(each, 5)
    assert [each.ecn for each in before] == [NOT_ECT] * 4
    assert [each.ecn for each in after] == [NOT_ECT, ECT_1, ECT_1, CE]
    assert (bleach.remarked, mangle.remarked) == (3, 1)


def test_codepoints_are_given_by_name() -> None:
    with pytest.raises(ValueError, match="codepoint 'ecto': must be one of not-ect, ect1, ect0, ce"):
        EcnRemark("ecto")


def test_plans_know_these_elements() -> None:
    elements = [
        element_plan({"mtu": 1400}).build(),
        element_plan({"ecn_mark": "5ms"}).build(),
        element_plan({"ecn_remark": {"to": "ce", "only": "ect0"}}).build(),
    ]
    assert [type(element) for element in elements] == [Mtu, EcnMark, EcnRemark]
