"""What a watcher of a link is told: waiting, sending, drops, with the times at which they happen."""

import pytest

from links import CoDel, Datagram, Delay, DropHead, FqCoDel, LossNth, Queue, Rate, RateSchedule, Server, TailDrop, Trace
from links.bucket import TokenBucket
from tests.support.wire import Wire

MS = 1_000_000
SERVICE = 800_000  # of 1000 bytes at 10 Mbit/s, ns


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.served_: list[tuple[int, int, int, int]] = []
        self.dropped_: list[tuple[int, int, int | None]] = []

    def served(self, _: Server, datagram: Datagram, arrived_at: int, starts_at: int, leaves_at: int) -> None:
        self.served_.append((datagram.id, arrived_at, starts_at, leaves_at))

    def dropped(self, datagram: Datagram, at: int, arrived_at: int | None) -> None:
        self.dropped_.append((datagram.id, at, arrived_at))


@pytest.mark.parametrize("queue", [TailDrop(packets=10), DropHead(packets=10), CoDel(), FqCoDel()])
def test_it_is_told_who_waited_from_when_to_when(queue: Queue) -> None:
    wire, notes = Wire(Delay("1ms"), queue, Rate("10Mbps"), Delay("1ms")), Notes()
    wire.pipeline.watch(notes)
    wire.send(0, 1, 2, size=1000)
    assert notes.served_ == [
        (1, MS, MS, MS + SERVICE),
        (2, MS + 1, MS + SERVICE, MS + 2 * SERVICE),
        (3, MS + 2, MS + 2 * SERVICE, MS + 3 * SERVICE),
    ]
    assert notes.dropped_ == []


def test_it_is_told_who_was_dropped_and_since_when_it_waited() -> None:
    tail, head, notes = TailDrop(packets=1), DropHead(packets=1), [Notes(), Notes()]
    for queue, note in zip((tail, head), notes, strict=True):
        wire = Wire(queue, Rate("10Mbps"), LossNth(1))
        wire.pipeline.watch(note)
        wire.send(0, 1, 2, size=1000)
        assert len(wire.losses) == 2
    assert sorted(notes[0].dropped_) == [(1, SERVICE, None), (3, 2, None)]
    assert sorted(notes[1].dropped_) == [(1, SERVICE, None), (2, 2, 1)]


def test_watching_changes_nothing() -> None:
    plain, watched = (Wire(FqCoDel(packets=20), Rate("10Mbps"), Delay("3ms")) for _ in range(2))
    watched.pipeline.watch(Notes())
    for wire in (plain, watched):
        wire.send(*range(0, 200 * MS, SERVICE // 2), ports=(1, 2, 3))
    assert (plain.arrivals, plain.losses) == (watched.arrivals, watched.losses)
    with pytest.raises(ValueError, match="link a>b: must be watched before its first datagram"):
        plain.pipeline.watch(Notes())


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Rate("10Mbps"), [0, 10_000, 100_000]),
        (TokenBucket("10Mbps", 1250), [10_000, 20_000, 110_000]),
        (RateSchedule([(0, "10Mbps"), ("2ms", "1Mbps")]), [0, 10_000, 28_000]),
        (RateSchedule([(0, "10Mbps"), ("2ms", "1Mbps")], "4ms"), [0, 10_000, 64_000]),
        (Trace([1, 1, 4]), [0, 24_000, 8 * 12_000]),
    ],
)
def test_a_server_knows_what_it_could_have_sent(server: Server, expected: list[int]) -> None:
    measured = [server.capacity(at) for at in (0, MS, 10 * MS)]
    assert measured == expected
