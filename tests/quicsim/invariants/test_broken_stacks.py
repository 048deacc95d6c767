"""A stack that breaks a rule is caught by the checker, whatever its own books say."""

from collections.abc import Callable
from typing import Any

import pytest

import quicsim
from links import Datagram, Delay, Loss, LossIf, Rate, TailDrop
from quicsim.applications import bulk_client, bulk_server
from quicsim.invariants import InvariantViolation
from stack.congestion import register
from stack.congestion.new_reno import NewReno
from stack.packet_builder import Draft, PacketBuilder
from stack.path.path import Path
from stack.recovery.acknowledgments import Acknowledgments
from stack.recovery.loss import LossRecovery
from stack.recovery.sent import SentPacket
from stack.recovery.space import PacketNumberSpace
from stack.streams.reassembly import Reassembly
from stack.streams.send import SendStream
from stack.streams.stream_limits import StreamLimits
from stack.streams.table import StreamTable
from stack.wire.parameters import TransportParameters

SIZE = 200_000


@register("no_minimum")
class NoMinimum(NewReno):
    """NewReno that divides the window by sixteen at each loss, however small it is."""

    def on_congestion(self, sent_at: int, now: int) -> bool:
        self.congestion_window //= 16
        return True


def violation(**options: Any) -> str:
    """Download over a lossy network; return what the checker says."""
    sim = quicsim.Simulation(seed=3, check=True)
    down = [Rate("10Mbps"), TailDrop(30_000), Delay("20ms"), Loss(0.02)]
    sim.link("alice", "bob", up=[Rate("10Mbps"), Delay("20ms")], down=down)
    sim.spawn("bob", bulk_server, quicsim.test_certificate(), **options)
    trust = quicsim.test_certificate()
    with pytest.raises(InvariantViolation) as caught:
        sim.run(sim.spawn("alice", bulk_client, "bob", trust=trust, size=SIZE, **options), until="100s")
    assert sim.checker is not None
    assert caught.value is sim.checker.violation
    return str(caught.value)


def replace(patch_stack: pytest.MonkeyPatch, owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(the method)` in the place of a method."""
    patch_stack.setattr(owner, name, make(getattr(owner, name)))


def test_the_message_says_what_when_on_which_connection_and_how_to_replay_it(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr(Path, "window_available", lambda path: 1 << 40)
    said = violation(pacing=False)
    assert said.startswith("at ")
    assert " ns, server of connection " in said
    assert " on host bob: 1RTT packet " in said
    assert "above the congestion window of " in said
    assert said.endswith("(replay it with Simulation(seed=3, check=True))")


def test_a_sender_without_regard_for_its_window(patch_stack: pytest.MonkeyPatch) -> None:
    def twice(path: Path) -> int:
        return 2 * path.congestion.congestion_window - path.bytes_in_flight

    patch_stack.setattr(Path, "window_available", twice)
    assert "and is no probe" in violation()


def test_a_window_below_its_minimum() -> None:
    assert "below its minimum of 2400" in violation(congestion="no_minimum")


def test_bytes_in_flight_that_are_not_what_is_in_flight(patch_stack: pytest.MonkeyPatch) -> None:
    def broken(original: Any) -> Any:
        def on_packet_sent(self: LossRecovery, space: PacketNumberSpace, packet: SentPacket) -> None:
            original(self, space, packet)
            if packet.packet_number == 50:
                packet.path.bytes_in_flight += 1

        return on_packet_sent

    replace(patch_stack, LossRecovery, "on_packet_sent", broken)
    assert "bytes_in_flight of path 0 is" in violation()


def test_a_packet_number_that_is_used_twice(patch_stack: pytest.MonkeyPatch) -> None:
    def broken(original: Any) -> Any:
        def seal(self: PacketBuilder, draft: Draft, path: Path, now: int) -> bytes:
            if draft.space.index == 2 and draft.number == 60:
                draft.number = 59
            return original(self, draft, path, now)

        return seal

    replace(patch_stack, PacketBuilder, "seal", broken)
    assert "1RTT packet number 59 was sent after 59" in violation()


def test_an_acknowledgment_of_what_did_not_arrive(patch_stack: pytest.MonkeyPatch) -> None:
    def broken(original: Any) -> Any:
        def frame(self: Acknowledgments, now: int) -> bytes:
            self.received.add(0, self.largest_received + 1)  # gaps and all
            return original(self, now)

        return frame

    replace(patch_stack, Acknowledgments, "frame", broken)
    said = violation()
    assert "client of connection" in said
    assert "not all of which were received" in said


def test_a_sender_above_the_connections_flow_control_limit(patch_stack: pytest.MonkeyPatch) -> None:
    def broken(original: Any) -> Any:
        def set_peer_parameters(self: StreamTable, parameters: TransportParameters) -> None:
            original(self, parameters)
            self.flow.peer_limit = 1 << 40

        return set_peer_parameters

    replace(patch_stack, StreamTable, "set_peer_parameters", broken)
    options = {"initial_max_data": 20_000, "max_data_window": 0}
    assert "above the connection's flow control limit of 20000" in violation(**options)


def test_a_sender_above_a_streams_flow_control_limit(patch_stack: pytest.MonkeyPatch) -> None:
    def broken(original: Any) -> Any:
        def write(self: SendStream, *arguments: Any) -> Any:
            self.max_data = 1 << 40
            return original(self, *arguments)

        return write

    replace(patch_stack, SendStream, "write", broken)
    options = {"initial_max_stream_data_bidi_local": 20_000, "max_stream_data_window": 0}
    assert "above its flow control limit of 20000" in violation(**options)


def test_a_client_that_opens_more_streams_than_it_may(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr(StreamLimits, "take_local", lambda limits, kind: 7)
    assert "stream 28 is opened, above the limit of 3 streams" in violation(initial_max_streams_bidi=3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data + data[-1:], "is not what was written there"),
        (lambda data: data[1:], "is not what was written there"),
        (lambda data: bytes(len(data)), "is not what was written there"),
    ],
    ids=["twice", "lost", "changed"],
)
def test_bytes_that_are_not_delivered_as_they_were_written(
    change: Callable[[bytes], bytes], said: str, patch_stack: pytest.MonkeyPatch
) -> None:
    def broken(original: Any) -> Any:
        def take(self: Reassembly, limit: int | None = None) -> bytes:
            data = original(self, limit)
            return change(data) if limit is not None and len(data) > 100 else data  # only a stream's

        return take

    replace(patch_stack, Reassembly, "take", broken)
    assert said in violation()


def test_a_server_that_answers_an_unknown_address_with_more_than_three_times_what_it_got(
    patch_stack: pytest.MonkeyPatch,
) -> None:
    patch_stack.setattr(Path, "amplification_credit", lambda path: 1 << 40)
    sim = quicsim.Simulation(seed=3, check=True)
    first: list[Datagram] = []

    def but_the_first(datagram: Datagram) -> bool:
        first.append(datagram)
        return len(first) > 1

    sim.link("alice", "bob", up=[Delay("20ms"), LossIf(but_the_first)], down=[Delay("20ms")])
    sim.spawn("bob", bulk_server, quicsim.test_certificate())
    client = sim.spawn("alice", bulk_client, "bob", trust=quicsim.test_certificate(), size=SIZE)
    with pytest.raises(InvariantViolation, match=r"host bob: 4800 bytes went to 10\.0\.0\.1 port 49152, which"):
        sim.run(client, until="100s")


def test_an_application_that_swallows_the_error_does_not_hide_it(patch_stack: pytest.MonkeyPatch) -> None:
    patch_stack.setattr(Path, "window_available", lambda path: 1 << 40)
    sim = quicsim.Simulation(seed=3, check=True)
    sim.link("alice", "bob", up=[Delay("20ms")], down=[Delay("20ms")])

    async def careless(net: quicsim.Net) -> None:
        listener = await net.listen(4433, quicsim.test_certificate(), pacing=False)
        stream = await (await listener.accept()).accept_stream()
        try:
            await stream.write(bytes(SIZE), end=True)
        except Exception:
            await net.sleep("1s")

    async def client(net: quicsim.Net) -> int:
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream()
        await stream.write(b"go")
        return len(await stream.read_all())

    sim.spawn("bob", careless)
    with pytest.raises(InvariantViolation, match="above the congestion window"):
        sim.run(sim.spawn("alice", client), until="60s")
