"""How long transfers take in virtual time, with bounds that a mature stack of another make keeps; exact, as all is.

The settings are that stack's: datagrams of 1252 bytes, 1440 once path MTU discovery has found them, an initial window
of 15,360 bytes and an initial round-trip time of 250 ms. Times include the handshake.
"""

from typing import Any

import pytest

from links import Blackout, Delay, Jitter, LossPattern, Rate, TailDrop
from links.element import Element
from quicsim.connection import Connection
from quicsim.net import Net
from tests.support.download import Download

MB = 1_000_000
SETTINGS = {
    "datagram_size": 1252,
    "path_mtu_discovery": True,
    "max_datagram_size": 1440,
    "initial_window": 15_360,
    "initial_rtt_ms": 250.0,
}
LOSS = "." * 40 + "x" + "." * 23  # one datagram in 64


def link(*elements: Element) -> list[Element]:
    """10 Mbit/s, 10 ms."""
    return [Rate("10Mbps"), *elements, Delay("10ms")]


def test_a_megabyte_with_new_reno() -> None:
    """0.80 s of sending at least; the other stack takes 0.884 s."""
    assert Download("new_reno", [MB], link, **SETTINGS).seconds <= 0.884


def test_a_megabyte_with_two_of_64_datagrams_lost_in_either_direction() -> None:
    """Two in a row, 2.05 s by the other stack."""
    pattern = "".join("x" if index in (16, 17) else "." for index in range(64))
    download = Download("new_reno", [MB], lambda: [*link(), LossPattern(pattern)], **SETTINGS)
    assert download.connection.stats.packets_lost > 20
    assert download.seconds <= 2.05


@pytest.mark.parametrize(("name", "bound"), [("cubic", 3.44), ("bbr", 3.48)])
def test_four_megabytes_through_a_queue_of_20_ms(name: str, bound: float) -> None:
    """3.2 s of sending at least; the other stack takes 3.44 and 3.48 s."""
    assert Download(name, [MB] * 4, lambda: link(TailDrop(wait="20ms")), **SETTINGS).seconds <= bound


def test_four_megabytes_through_a_queue_of_20_ms_with_jitter() -> None:
    """3.50 s by the other stack."""
    download = Download("cubic", [MB] * 4, lambda: [*link(TailDrop(wait="20ms")), Jitter("5ms")], **SETTINGS)
    assert download.seconds <= 3.50


@pytest.mark.parametrize(("name", "bound"), [("new_reno", 10.24), ("cubic", 10.4)])
def test_ten_megabytes_with_nothing_arriving_from_5_to_7_seconds(name: str, bound: float) -> None:
    """7.6 s of sending at least, and the two seconds; 10.24 s by the other stack, whose limit is 15 s."""
    download = Download(
        name, [10 * MB], lambda: [Rate("10.5Mbps"), Delay("10ms"), Blackout("5s", "2s")], check=False, **SETTINGS
    )
    assert download.seconds <= bound


@pytest.mark.parametrize(("jump_start", "bound"), [(False, 4.88), (True, 3.09)])
def test_a_megabyte_with_a_round_trip_time_of_600_ms(jump_start: bool, bound: float) -> None:
    """3.09 s by the other stack, which leaps in slow start; doubling each round trip, as in RFC 9002, takes longer."""
    download = Download("new_reno", [MB], lambda: [Rate("10Mbps"), Delay("300ms")], jump_start=jump_start, **SETTINGS)
    assert download.seconds <= bound


async def ask_for_few_acks(net: Net, connection: Connection) -> None:
    """An ACK for twenty packets, as soon as those of the first window, for two each, have shown the bandwidth.

    Otherwise ACKs that tell of 32 gaps each, some 120 bytes for two packets, fill the way back.
    """
    await net.sleep("620ms")
    connection.request_ack_frequency(19, 25_000_000, reordering_threshold=3)


LOSSY: dict[str, Any] = {"loss_tolerance": 0.05, "ack_frequency": True, "on_accepted": ask_for_few_acks}


def satellite(congestion: str, size: int, loss: str | None, **options: Any) -> Download:
    """Download over 3.15/262 Mbit/s, 300 ms each way, with queues of 600 ms and this pattern of losses downwards."""

    def down() -> list[Element]:
        lost = [LossPattern(loss)] if loss else []
        return [Rate("262Mbps"), TailDrop(wait="600ms"), Delay("300ms"), *lost]

    def up() -> list[Element]:
        return [Rate("3.15Mbps"), TailDrop(wait="600ms"), Delay("300ms")]

    return Download(congestion, [size], up, down, jump_start=True, check=False, **SETTINGS, **options)


def test_a_satellite_link_is_full_after_three_round_trips_with_a_jump_start() -> None:
    """20 MB, of which the link can take 0.61 s, in 2.8 s; 1.2 s are round trips before the first window is
    acknowledged. `make completion-times` has the 100 MB."""
    sizes = {"max_send_buffer": 1 << 28, "send_buffer": 1 << 25}
    assert satellite("cubic", 20 * MB, None, **sizes).seconds <= 2.8


def test_a_satellite_link_with_one_of_64_datagrams_lost_stays_full_with_a_tolerance_for_loss() -> None:
    """20 MB again; what is lost last comes two round trips of 0.6 s later."""
    sizes = {"max_send_buffer": 1 << 28, "send_buffer": 1 << 25}
    download = satellite("cubic", 20 * MB, LOSS, **LOSSY, **sizes)
    assert download.connection.stats.packets_lost > 200
    assert download.connection.stats.congestion_events == 0
    assert download.seconds <= 3.9


@pytest.mark.parametrize("name", ["new_reno", "cubic"])
def test_the_goodput_on_the_interop_rig(name: str) -> None:
    """10 MiB over 10 Mbit/s and 15 ms, a queue of 25 packets, 30 bytes of headers: 9.3 Mbit/s, of 9.493 possible."""
    rig = Download(
        name,
        [10 << 20],
        lambda: [Rate("10Mbps", overhead=30), TailDrop(packets=25), Delay("15ms")],
        check=False,
        datagram_size=1252,
    )
    assert 9_300_000 <= rig.goodput <= 9_493_000
