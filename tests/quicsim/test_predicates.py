"""Losses by what is in a datagram: packet types, frames, nothing but ACKs; by number; as plans name them."""

from collections.abc import Callable
from typing import Any

import pytest

import quicsim
from links import Corrupt, Datagram, Delay, LossIf, Rate, Reorder
from quicsim import Simulation
from quicsim.applications import bulk_client, bulk_server
from quicsim.decoded import decoded_frames
from quicsim.plan.elements import element_plan
from quicsim.predicates import FRAMES, ack_only, frames, nth, packets, parse
from stack.wire.decoded_frames import AckFrame, PaddingFrame
from tests.support.wire import bound

MS = 1_000_000


def transfer(up: list[Any], down: list[Any], size: int = 100_000, **options: Any) -> tuple[Simulation, list[Datagram]]:
    """A download; returns what the client has sent too."""
    sim = Simulation(seed=2)
    sim.link("client", "server", [*up, Delay("10ms")], [*down, Rate("10Mbps"), Delay("10ms")])
    sent: list[Datagram] = []
    sim.tap("client", lambda _, __, way, datagram: sent.append(datagram) if way == "sent" else None)
    sim.spawn("server", bulk_server, quicsim.test_certificate())
    task = sim.spawn("client", bulk_client, "server", trust=quicsim.test_certificate(), size=size, **options)
    result = sim.run(task, until="60s")
    assert result is not None
    assert result.verified
    return sim, sent


def dropped(sent: list[Datagram]) -> list[Datagram]:
    return [datagram for datagram in sent if datagram.drop_reason]


def test_the_first_or_the_second_handshake_packet_is_lost() -> None:
    for predicate, numbers in ((parse("first handshake"), [0]), (nth(packets("handshake"), 1, 2), [0, 1])):
        _, sent = transfer([LossIf(predicate)], [])
        with_handshake = [datagram for datagram in sent if packets("handshake")(datagram)]
        assert len(with_handshake) > len(numbers), "it is repeated"
        assert dropped(sent) == [with_handshake[number] for number in numbers]


def test_a_packet_behind_another_in_its_datagram_counts_too() -> None:
    sim, _ = transfer([], [LossIf(nth(packets("handshake"), 1))])
    down = sim.links["client-server"].down
    # The server's first flight: an Initial packet, and behind it a Handshake packet.
    assert down.elements[0].dropped == {"predicate": 1}
    assert down.elements[0].received > 1


def test_all_datagrams_with_nothing_but_acks_are_lost() -> None:
    sim, sent = transfer([LossIf(ack_only())], [], size=8_000)  # no more than the first window
    lost = dropped(sent)
    assert len(lost) >= 2
    for datagram in sent:
        contents: Any = datagram.contents
        kinds = {type(frame) for packet in contents for frame in decoded_frames(packet.payload)}
        assert sum(packet.size for packet in contents) == datagram.size
        assert (AckFrame in kinds and kinds <= {AckFrame, PaddingFrame}) is (datagram in lost)
    assert sim.links["client-server"].up.lost == len(lost)


def test_frames_choose_too_for_any_element_with_a_choice() -> None:
    corrupt, reorder = Corrupt(nth(frames("crypto"), 1)), Reorder(frames("stream"), "3ms")
    sim, sent = transfer([corrupt, reorder], [])
    assert corrupt.corrupted == 1
    streams = [datagram for datagram in sent if frames("stream")(datagram)]
    assert reorder.reordered == len(streams) > 0
    assert sim.links["client-server"].up.lost == 0


def test_what_belongs_to_no_connection_has_no_contents() -> None:
    """A Retry comes from the endpoint itself, between datagrams of connections."""
    sim = Simulation(seed=2)
    seen: list[Datagram] = []
    sim.link("client", "server", [Delay("10ms")], [LossIf(frames("ping")), Delay("10ms")])
    sim.tap("server", lambda _, __, way, datagram: seen.append(datagram) if way == "sent" else None)
    sim.spawn("server", bulk_server, quicsim.test_certificate(), retry="always")
    sim.run(sim.spawn("client", bulk_client, "server", trust=quicsim.test_certificate(), size=1000))
    assert [packets("retry")(datagram) for datagram in seen] == [True] + [False] * (len(seen) - 1)
    assert [bool(datagram.contents) for datagram in seen] == [False] + [True] * (len(seen) - 1)


def test_nobody_notes_contents_when_nobody_asks() -> None:
    sim, sent = transfer([LossIf(nth(packets("1rtt"), 3))], [], size=1000)
    assert sim.hosts["client"].contents is None
    assert {datagram.contents for datagram in sent} == {()}


def test_asking_for_contents_changes_nothing() -> None:
    def never(_: Datagram) -> bool:
        return False

    plain, asked = (transfer([LossIf(predicate)], [])[0] for predicate in (never, nth(frames("padding"), 10**6)))
    assert plain.digest == asked.digest


@pytest.mark.parametrize(
    ("text", "lost"),
    [("initial", [1, 2, 3, 4, 5]), ("2-3 initial", [2, 3]), ("1,5 initial", [1, 5]), ("3rd initial", [3])],
)
def test_numbers_of_a_plan_s_predicate(text: str, lost: list[int]) -> None:
    element = element_plan({"loss_if": text}).build()
    packet = bytes((0xC0, 0, 0, 0, 1, 0, 0, 0, 4)) + bytes(4)  # an Initial with empty IDs and no token
    fates = [element.receive(Datagram(packet, ("10.0.0.1", 1), ("10.0.0.2", 2)), 0) for _ in range(5)]
    assert [number for number, fate in enumerate(fates, 1) if fate < 0] == lost


def test_an_element_of_a_plan_counts_anew_each_time_it_is_built() -> None:
    plan = element_plan({"reorder": {"chosen": "first 1rtt", "hold": "5ms"}})
    for _ in range(2):
        element = bound(plan.build())
        short = Datagram(b"\x40" + bytes(30), ("10.0.0.1", 1), ("10.0.0.2", 2))
        assert [element.receive(short, 0) for _ in range(2)] == [5 * MS, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parse("second handshak"), "unknown packet or frame 'handshak': did you mean 'handshake'?"),
        (lambda: parse("the second handshake"), 'must be such as "second handshake", "2-7 initial" or "ack-only"'),
        (lambda: parse("some initial"), "numbers 'some': must be such as 2, 2nd, second, 2-7 or 1,3,5"),
        (lambda: parse("0 initial"), "must be numbers from 1"),
        (lambda: packets("inital"), "unknown packet or frame 'inital': did you mean 'initial'?"),
        (lambda: frames("cryptoo"), "unknown packet or frame 'cryptoo': did you mean 'crypto'?"),
        (lambda: nth(ack_only()), "must be numbers from 1"),
        (lambda: element_plan({"loss_if": "nonsense"}), "unknown packet or frame 'nonsense'"),
    ],
)
def test_what_names_nothing_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below, as it has brackets
        make()
    assert message in str(caught.value)


def test_frames_are_named_as_in_the_rfc() -> None:
    assert {"crypto", "ack", "path_challenge", "new_connection_id", "handshake_done", "datagram"} <= FRAMES.keys()
