"""A QUIC bulk transfer as cross traffic."""

from typing import Any, ClassVar, Final

from links.units import size_in_bytes
from quicsim.certificates import test_certificate
from quicsim.connection import Connection
from quicsim.net import Net
from quicsim.simulation import Simulation
from quicsim.traffic.flow import Flow
from stack.errors import QuicError

FIRST_PORT: Final = 40_000  # of the servers
_BLOCK: Final = bytes(65_536)


class Quic(Flow):
    """A QUIC connection whose client, at `source`, sends on one stream: for ever, or `size` bytes ("10MiB").

    `options` are those of `Net.connect`, such as `congestion`. `sent` stays 0 and `received` counts the pieces that the
    destination's application read; the connection's own counts are in `connection.stats`.
    """

    kind: ClassVar = "quic"

    def __init__(
        self,
        sim: Simulation,
        source: str,
        destination: str,
        *,
        size: int | str | None = None,
        start: int | str = 0,
        stop: int | str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self._size: Final = None if size is None else size_in_bytes(size)
        super().__init__(sim, source, destination, start=start, stop=stop, name=name)
        self._options: Final = options
        self.connection: Connection | None = None
        self._port: Final = FIRST_PORT + len(sim.traffic)
        sim.spawn(self.destination.name, self._serve)

    def _start(self) -> None:
        self.sim.spawn(self.source.name, self._send)

    def _end(self) -> None:
        if self.connection is not None:
            self.connection.close()

    async def _serve(self, net: Net) -> None:
        listener = await net.listen(self._port, test_certificate())
        stream = await (await listener.accept()).accept_stream()
        try:
            while data := await stream.read(len(_BLOCK)):
                self.received += 1
                self._arrived(len(data))
        except QuicError:
            return  # it was stopped
        self.stop()

    async def _send(self, net: Net) -> None:
        try:
            self.connection = await net.connect(
                self.remote, self._port, trust=test_certificate(), server_name="localhost", **self._options
            )
            if self.ended_at is not None:
                self.connection.close()
                return
            stream = await self.connection.open_stream(unidirectional=True)
            left = self._size
            while left is None or left > len(_BLOCK):
                await stream.write(_BLOCK)
                left = None if left is None else left - len(_BLOCK)
            await stream.write(_BLOCK[:left], end=True)
        except QuicError:
            self.stop()
