"""Controllers on the simulator's links: windows kept to, marks answered, figures that others have published met."""

from typing import ClassVar

import pytest

from links import Delay, EcnMark, EcnRemark, Loss, Rate, TailDrop
from links.element import Element
from stack.congestion import register
from stack.congestion.cubic import Cubic
from stack.recovery.sent import SentPacket
from tests.support.download import Download

MB = 1_000_000
ALL = ("new_reno", "cubic", "bbr", "prague")


def link(rate: str, delay: str, *queue: Element) -> list[Element]:
    """One direction."""
    return [Rate(rate), *queue, Delay(delay)]


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
    download = Download(
        "watched_cubic",
        [MB],
        lambda: [Delay("15ms")],
        lambda: [*link("10Mbps", "15ms", TailDrop(30_000)), Loss(0.005)],
        seed=3,
    )
    stats = download.connection.stats
    assert stats.congestion_events >= 3
    assert stats.pto_expired == 0
    assert max(WatchedCubic.beyond) <= 0


# Explicit congestion notification


def test_prague_keeps_a_queue_of_two_milliseconds_and_the_link_busy() -> None:
    """CUBIC, which takes each mark for a loss, gets less out of it."""
    prague, cubic = (
        Download(name, [2 * MB], lambda: link("10Mbps", "10ms"), lambda: link("10Mbps", "10ms", EcnMark("2ms")))
        for name in ("prague", "cubic")
    )
    assert prague.sender.ecn_states[-1] == "capable"
    assert prague.connection.stats.packets_lost == 0
    assert prague.connection.stats.congestion_events >= 15
    assert prague.goodput > 8.5e6
    rtts = [metrics.smoothed_rtt_ns for _, metrics in prague.sender.metrics if metrics.latest_rtt_ns]
    assert sum(rtts) / len(rtts) < 26_000_000  # 20 ms of delay, 1 ms of sending, and the queue
    assert cubic.goodput < 0.9 * prague.goodput


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("tampered", [EcnRemark("not-ect"), EcnRemark("ect1", only="ect0"), EcnRemark("ce")])
def test_a_path_that_tampers_with_marks_is_found_out_and_the_run_goes_on_without(
    name: str, tampered: EcnRemark
) -> None:
    if name == "prague" and tampered.only is not None:
        tampered = EcnRemark("ect0", only="ect1")
    download = Download(
        name,
        [MB],
        lambda: link("10Mbps", "10ms"),
        lambda: [EcnRemark(_name(tampered.to), only=_name(tampered.only)), *link("10Mbps", "10ms", TailDrop(50_000))],
    )
    assert download.sender.ecn_states[-1] == "failed"
    assert download.seconds < 1.5


def _name(codepoint: int | None) -> str | None:
    return None if codepoint is None else ("not-ect", "ect1", "ect0", "ce")[codepoint]
