"""Controllers on the simulator's links: windows kept to, figures that others have published met."""

from typing import ClassVar

import pytest

import quicsim
from links import Delay, Loss, Rate, TailDrop
from stack.congestion import register
from stack.congestion.cubic import Cubic
from stack.recovery.sent import SentPacket


@register("watched_cubic")
class WatchedCubic(Cubic):
    """CUBIC that notes by how many bytes a packet went beyond the window."""

    beyond: ClassVar[list[int]] = []

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        WatchedCubic.beyond.append(bytes_in_flight - self.congestion_window)


@pytest.mark.requirement("rfc9406:3:1")
@pytest.mark.requirement("rfc9002:7:3")
def test_no_packet_goes_beyond_the_window() -> None:
    """A megabyte through a short queue with random loss on top, and HyStart++ at the start; no probe is needed."""
    WatchedCubic.beyond.clear()

    async def serve(net):
        listener = await net.listen(4433, quicsim.test_certificate(), congestion="watched_cubic")
        connection = await listener.accept()
        stream = await connection.accept_stream()
        await stream.read_all()
        await stream.write(bytes(1_000_000), end=True)
        await stream.wait_sent()
        return connection

    async def fetch(net):
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate())
        stream = await connection.open_stream()
        await stream.write(b"go", end=True)
        return len(await stream.read_all())

    sim = quicsim.Simulation(seed=3)
    sim.link("alice", "bob", up=[Delay("15ms")], down=[Rate("10Mbps"), TailDrop(30_000), Delay("15ms"), Loss(0.005)])
    serving = sim.spawn("bob", serve)
    assert sim.run(sim.spawn("alice", fetch)) == 1_000_000
    stats = sim.run(serving).stats
    assert stats.congestion_events >= 3
    assert stats.pto_expired == 0
    assert max(WatchedCubic.beyond) <= 0
