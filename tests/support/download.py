"""A download over one link, by a named controller, with all that tests of congestion control look at."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import quicsim
from links.element import Element
from quicsim.net import Net
from quicsim.observers import Silent
from stack.observer import RecoveryMetrics

WINDOWS = {"initial_max_data": 1 << 30, "initial_max_stream_data_bidi_local": 1 << 30}


class _Sender(Silent):
    """The server's end of the connection."""

    def __init__(self) -> None:
        self.states: list[tuple[int, str]] = [(0, "")]
        self.ecn_states: list[str] = []
        self.spurious = 0
        self.metrics: list[tuple[int, RecoveryMetrics]] = []

    def congestion_state(self, now: int, old: str, new: str) -> None:
        self.states.append((now, new))

    def ecn_state(self, now: int, old: str, new: str) -> None:
        self.ecn_states.append(new)

    def spurious_loss(self, now: int, packet_type: str, packet_number: int, size: int) -> None:
        self.spurious += 1

    def metrics_updated(self, now: int, metrics: RecoveryMetrics) -> None:
        self.metrics.append((now, metrics))

    def connection(self, now: int, role: str, original_destination_cid: bytes) -> "_Sender | None":
        return self if role == "server" else None


class Download:
    """`sizes` bytes, a stream each, asked for at once from the start of the connection on.

    `link` makes the elements of one direction; `down` those towards the client, if they differ. `finished_at` is the
    virtual time in ns at which the last byte has arrived, `first_at` that of the first one.
    """

    def __init__(
        self,
        congestion: str,
        sizes: list[int],
        link: Callable[[], list[Element]],
        down: Callable[[], list[Element]] | None = None,
        *,
        seed: int = 1,
        check: bool = True,
        on_accepted: Callable[[Net, Any], Awaitable[None]] | None = None,
        **options: Any,
    ) -> None:
        """`check`: watch the invariants, which takes its time; `options`: fields of Config, for both ends.

        `on_accepted`: what the server does with the connection besides.
        """
        self.sizes = sizes
        self.options = options | {"congestion": congestion}
        self.on_accepted = on_accepted
        self.sender = _Sender()
        self.sim = quicsim.Simulation(seed=seed, check=check, observer=lambda _: self.sender)
        self.down = (down or link)()
        self.sim.link("alice", "bob", up=link(), down=self.down)
        self.first_at = 0
        serving = self.sim.spawn("bob", self._serve)
        assert self.sim.run(self.sim.spawn("alice", self._fetch)) == sizes
        self.finished_at = self.sim.now
        self.connection = self.sim.run(serving)

    @property
    def seconds(self) -> float:
        """From the first packet of the handshake to the last byte."""
        return self.finished_at / 1e9

    @property
    def goodput(self) -> float:
        """Bits per second from the first byte to the last."""
        return sum(self.sizes) * 8e9 / (self.finished_at - self.first_at)

    def state_names(self) -> list[str]:
        """The states that the sender's controller went through."""
        return [state for _, state in self.sender.states[1:]]

    async def _serve(self, net: Net) -> Any:
        listener = await net.listen(4433, quicsim.test_certificate(), **self.options)
        connection = await listener.accept()
        if self.on_accepted is not None:
            net.spawn(self.on_accepted, connection)
        for _ in self.sizes:
            net.spawn(_answer, await connection.accept_stream())
        return connection

    async def _fetch(self, net: Net) -> list[int]:
        options = self.options | WINDOWS
        connection = await net.connect("bob", 4433, trust=quicsim.test_certificate(), **options)
        streams = []
        for size in self.sizes:
            stream = await connection.open_stream()
            await stream.write(size.to_bytes(8), end=True)
            streams.append(net.spawn(partial(_read, self), stream))
        return [await stream for stream in streams]


async def _answer(net: Net, stream: Any) -> None:
    await stream.write(bytes(int.from_bytes(await stream.read_all())), end=True)


async def _read(download: Download, net: Net, stream: Any) -> int:
    total = 0
    while data := await stream.read():
        download.first_at = download.first_at or net.now
        total += len(data)
    return total
