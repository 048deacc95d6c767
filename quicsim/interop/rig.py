"""The networks of the interop runner's test cases, as link elements: for simulations, and for relays in real time.

All are a link of 10 Mbit/s with a queue of 25 packets each way, after which a scenario may do harm. Around its queue,
ns-3 holds one packet in the device and sends another one, so that 27 are taken of a burst.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from links import Blackout, Corrupt, Delay, Element, LossCapped, LossNth, Rate, TailDrop

RATE: Final = "10Mbps"
QUEUE: Final = 25  # packets
IN_DEVICE: Final = 1  # packet that has left the queue and waits for the wire
OVERHEAD_IPV4: Final = 8 + 20 + 2  # bytes of UDP, IPv4 and PPP headers
OVERHEAD_IPV6: Final = 8 + 40 + 2

Harm = Callable[[], list[Element]]


def _none() -> list[Element]:
    return []


@dataclass(frozen=True, slots=True)
class Network:
    """A scenario: the one-way `delay`, and what happens to datagrams on their way `to_server` and `to_client`.

    With `rebind`, the client is behind a NAT that forgets its mappings after `REBINDINGS`: "port" takes new ports, and
    "address" another address as well. With `second_address` the server has one more.
    """

    delay: str = "15ms"
    to_server: Harm = _none
    to_client: Harm = _none
    ipv6: bool = False
    rebind: str = ""
    second_address: bool = False

    def up(self) -> list[Element]:
        """New elements from the client to the server."""
        return self._elements(self.to_server)

    def down(self) -> list[Element]:
        """New elements from the server to the client."""
        return self._elements(self.to_client)

    def _elements(self, harm: Harm) -> list[Element]:
        overhead = OVERHEAD_IPV6 if self.ipv6 else OVERHEAD_IPV4
        queue = TailDrop(packets=QUEUE + IN_DEVICE)
        # As in ns-3, a packet is lost or damaged where it arrives: it has taken its place in the queue and on the wire
        return [Rate(RATE, overhead), queue, Delay(self.delay), *harm()]


FIRST_REBINDING: Final = 10**9  # ns
REBINDING_PERIOD: Final = 5 * 10**9


def _both(harm: Harm) -> Network:
    return Network(to_server=harm, to_client=harm)


SIMPLE: Final = Network()
LONG_DELAY: Final = Network(delay="750ms")
IPV6: Final = Network(ipv6=True)
# Two seconds without connection after each five with it; the runner's has just the first of them
BLACKHOLE: Final = _both(lambda: [Blackout("5s", "2s", period="7s")])
DROP_LIST: Final = Network(to_server=lambda: [LossNth(2, 3, 4, 5, 6, 7)])
HIGH_LOSS: Final = _both(lambda: [LossCapped(0.30, burst=3)])
SOME_LOSS: Final = _both(lambda: [LossCapped(0.02, burst=3)])
HIGH_CORRUPTION: Final = _both(lambda: [Corrupt(0.30, "bytes", within=51, burst=3)])
SOME_CORRUPTION: Final = _both(lambda: [Corrupt(0.02, "bytes", within=51, burst=3)])
REBIND_PORT: Final = Network(rebind="port")
REBIND_ADDRESS: Final = Network(rebind="address")
TWO_ADDRESSES: Final = Network(second_address=True)
