"""Datagrams that come twice."""

from random import Random

import pytest

from links import Datagram, Delay, Duplicate, Element, Pipeline

MS = 1_000_000


def arrivals(elements: list[Element], count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Send one datagram per ms through a link: the number of each that arrives, and when."""
    waiting: list[tuple[int, object, tuple[object, ...]]] = []
    arrived: list[tuple[int, int]] = []
    link = Pipeline(
        "a>b",
        elements,
        rng=lambda name: Random(seed),
        schedule=lambda at, callback, *arguments: waiting.append((at, callback, arguments)),
        deliver=lambda it, at: arrived.append((it.id, at)),
        lose=lambda it, at: None,
    )
    for number in range(count):
        link.send(Datagram(b"x", ("10.0.0.1", 1), ("10.0.0.2", 2), number=number), number * MS)
    while waiting:
        waiting.sort(key=lambda entry: entry[0])
        _, callback, arguments = waiting.pop(0)
        callback(*arguments)  # type: ignore[operator]
    return sorted(arrived, key=lambda entry: entry[1])


def test_a_copy_comes_its_delay_after_the_original() -> None:
    assert arrivals([Duplicate(1, delay="5ms")], 2) == [(0, 0), (1, MS), (0, 5 * MS), (1, 6 * MS)]


def test_a_copy_goes_through_the_rest_of_the_link() -> None:
    assert arrivals([Duplicate(1, delay=3), Delay("10ms")], 1) == [(0, 10 * MS), (0, 10 * MS + 3)]


def test_a_probability_chooses_which() -> None:
    element = Duplicate(0.25)
    arrived = arrivals([element], 1_000, seed=7)
    assert len(arrived) == 1_000 + element.duplicated
    assert 200 < element.duplicated < 300
    assert element.received == 1_000
    assert arrivals([Duplicate(0)], 3) == [(0, 0), (1, MS), (2, 2 * MS)]


def test_original_and_copy_are_changed_apart() -> None:
    original = Datagram(b"x", ("10.0.0.1", 1), ("10.0.0.2", 2), ecn=2, sent_at=7, number=3)
    copy = original.copy()
    original.ecn, original.source = 3, ("10.0.0.9", 9)
    assert (copy.payload, copy.source, copy.destination) == (b"x", ("10.0.0.1", 1), ("10.0.0.2", 2))
    assert (copy.ecn, copy.sent_at, copy.id, copy.size) == (2, 7, 3, 1)


def test_a_probability_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability 2: must be a number from 0 to 1"):
        Duplicate(2)
