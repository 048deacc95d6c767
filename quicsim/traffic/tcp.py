"""A TCP-like bulk transfer."""

from typing import ClassVar, Final

from links.units import size_in_bytes
from quicsim.simulation import Simulation
from quicsim.traffic.flow import Flow
from quicsim.traffic.segment import MSS
from quicsim.traffic.tcp_receiver import TcpReceiver
from quicsim.traffic.tcp_sender import TcpSender
from quicsim.traffic.window import WINDOWS


class Tcp(Flow):
    """A model of one TCP connection that always has data, or has `size` bytes of them ("10MiB") and ends then.

    `congestion` is "newreno" (RFC 5681, 6582) or "cubic" (RFC 9438, Linux's default); `receive_window` bounds what is
    under way (bytes). One handshake, an initial window of 10 segments (RFC 6928), SACK, delayed acknowledgments,
    retransmission timeouts (RFC 6298); see `TcpSender` and `TcpReceiver`. Segments of 1,448 bytes with 40 bytes of
    headers; of these a link counts 12 and its `overhead` the other 28, which are the UDP and IPv4 headers that a
    datagram's size leaves out.

    What it leaves out: ECN, pacing, HyStart, tail loss probes, proportional rate reduction, undoing of reductions.

    `sent` counts segments of data and requests for the connection, `retransmitted` segments sent again, `timeouts`
    those of the sender.
    """

    kind: ClassVar = "tcp"

    def __init__(
        self,
        sim: Simulation,
        source: str,
        destination: str,
        *,
        congestion: str = "cubic",
        size: int | str | None = None,
        receive_window: int | str = "6MB",
        start: int | str = 0,
        stop: int | str | None = None,
        name: str | None = None,
    ) -> None:
        if congestion not in WINDOWS:
            raise ValueError(f"congestion {congestion!r}: must be one of {', '.join(WINDOWS)}")
        self._size: Final = None if size is None else size_in_bytes(size)
        if self._size == 0:
            raise ValueError("size 0: must be 1 byte or more")
        self.receive_window: Final = max(size_in_bytes(receive_window) // MSS, 1)  # segments
        super().__init__(sim, source, destination, start=start, stop=stop, name=name)
        self.retransmitted = 0
        self.timeouts = 0
        inbound = self.destination.bind((self.remote,))
        inbound.driver = TcpReceiver(self, inbound)
        outbound = self.source.bind((self.local,))
        total = None if self._size is None else -(-self._size // MSS)
        self._sender = TcpSender(self, outbound, inbound.addresses[0], WINDOWS[congestion](), total)
        outbound.driver = self._sender

    @property
    def congestion_window(self) -> float:
        """The sender's congestion window, in bytes."""
        return self._sender.window.size * MSS

    def size_of(self, segment: int) -> int:
        """Return how many bytes of data a segment carries."""
        return MSS if self._size is None else min(MSS, self._size - segment * MSS)

    def _start(self) -> None:
        self._sender.start()
