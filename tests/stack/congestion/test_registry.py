"""A controller of one's own: a class and a name, and nothing else to touch."""

import re
from pathlib import Path

from stack.congestion import CongestionController, CongestionOptions, register
from stack.recovery.sent import SentPacket
from tests.support.pair import Pair

WINDOW = 4 * 1200


@register("fixed_window")
class FixedWindow(CongestionController):
    """Four datagrams, whatever happens."""

    ssthresh = None

    def __init__(self, datagram_size: int, options: CongestionOptions) -> None:
        self.congestion_window = WINDOW

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        assert bytes_in_flight <= WINDOW


def test_a_registered_controller_governs_the_connections_that_name_it() -> None:
    pair = Pair(server={"congestion": "fixed_window", "pacing": False}, delay_ns=50_000_000)
    client, server = pair.established()
    started_at = pair.now
    data = bytes(100 * 1100)
    pair.transfer(server, client, data)
    # Four datagrams of some 1165 bytes of data each go in every round trip of 100 ms.
    rounds = -(-len(data) // (4 * 1170))
    assert pair.now - started_at >= (rounds - 1) * 100_000_000
    assert server.path.congestion.congestion_window == WINDOW


def test_the_one_in_the_documentation_does_what_it_says() -> None:
    text = (Path(__file__).parents[3] / "docs" / "CONGESTION.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.split("\n\n\n")[1].splitlines()) <= 10
    exec(example, {"__name__": "example"})
    pair = Pair(server={"congestion": "fixed"})
    client, server = pair.established()
    pair.transfer(server, client, bytes(200_000))
    assert server.path.congestion.congestion_window == 40 * 1200
