"""Control frames as intent (RFC 9000 section 13.3)."""

from stack.control import ControlFrames
from stack.sent_frame import SentFrame


class Owner:
    """Owes PING-like frames of a given size; the size 0 means that nothing is owed any more."""

    def __init__(self, control: ControlFrames, name: str, sizes: dict[int, int]) -> None:
        self.control = control
        self.name = name
        self.sizes = sizes

    def write_frame(self, key: int) -> bytes:
        return self.name.encode() * self.sizes[key]

    def on_acked(self, sent: SentFrame, now: int) -> None:
        raise AssertionError("not used here")

    def on_lost(self, sent: SentFrame, now: int) -> None:
        self.control.owe(self, sent[1])


def written(control: ControlFrames, room: int) -> tuple[bytes, list[SentFrame]]:
    parts: list[bytes | bytearray] = []
    sent: list[SentFrame] = []
    used = control.write(room, parts, sent)
    payload = b"".join(parts)
    assert used == len(payload) <= room
    return payload, sent


def test_owing_twice_is_owing_once_and_the_order_is_that_of_owing() -> None:
    control = ControlFrames()
    first, second = Owner(control, "a", {0: 1, 1: 2}), Owner(control, "b", {0: 3})
    for owner, key in ((second, 0), (first, 1), (second, 0), (first, 0)):
        control.owe(owner, key)
    assert control.owed
    payload, sent = written(control, 100)
    assert payload == b"bbbaaa"
    assert sent == [(second, 0), (first, 1), (first, 0)]
    assert not control.owed
    assert written(control, 100) == (b"", [])


def test_a_frame_has_the_value_of_the_moment_when_it_is_sent() -> None:
    control = ControlFrames()
    owner = Owner(control, "a", {0: 1})
    control.owe(owner, 0)
    owner.sizes[0] = 4
    assert written(control, 100)[0] == b"aaaa"


def test_what_matters_no_more_is_dropped_without_a_trace() -> None:
    control = ControlFrames()
    owner = Owner(control, "a", {0: 0, 1: 1})
    control.owe(owner, 0)
    control.owe(owner, 1)
    payload, sent = written(control, 100)
    assert (payload, sent) == (b"a", [(owner, 1)])
    assert not control.owed


def test_what_does_not_fit_waits_for_the_next_packet() -> None:
    control = ControlFrames()
    owner = Owner(control, "a", {0: 4, 1: 5, 2: 1})
    for key in range(3):
        control.owe(owner, key)
    assert written(control, 8)[1] == [(owner, 0)]
    assert control.owed
    assert written(control, 8)[1] == [(owner, 1), (owner, 2)]


def test_a_lost_frame_is_owed_again() -> None:
    control = ControlFrames()
    owner = Owner(control, "a", {0: 1})
    control.owe(owner, 0)
    (sent,) = written(control, 10)[1]
    sent[0].on_lost(sent, 0)
    assert written(control, 10)[1] == [sent]
