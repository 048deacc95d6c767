"""The net of a simulated host."""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from links.units import nanoseconds
from quicsim.connection import Connection, Listener
from quicsim.driver import Driver
from quicsim.engine import Task
from quicsim.net import Trust, client_config, server_config
from stack.events import NewToken
from stack.tls.certificates import Credentials
from stack.tls.config import DEFAULT_ALPN

if TYPE_CHECKING:
    from quicsim.host import Host, Socket
    from quicsim.simulation import Simulation
    from stack.config import Config

T = TypeVar("T")


class SimNet:
    """A `quicsim.net.Net` in virtual time. Each `connect` and each `listen` has an endpoint and a port of its own."""

    def __init__(self, simulation: "Simulation", host: "Host") -> None:
        self.host = host
        self._simulation = simulation
        self._engine = host.engine
        self._endpoints = 0
        self._connections: list[Connection] = []

    @property
    def connections(self) -> list[Connection]:
        """The connections opened from here that have not ended."""
        self._connections = [connection for connection in self._connections if connection.ended is None]
        return list(self._connections)

    @property
    def now(self) -> int:
        """The time in ns since the start of the simulation."""
        return self._engine.now

    async def sleep(self, duration: int | str) -> None:
        """Wait for `duration`; see `Net`."""
        future = self._engine.future(f"{duration} to pass")
        self._engine.schedule(self.now + nanoseconds(duration), future.set_result, None)
        await future

    def spawn(self, application: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> Task[T]:
        """Run an application beside this one; see `Net`."""
        name = f"{getattr(application, '__name__', application)} on {self.host.name}"
        return self._engine.start(partial(application, self, *arguments, **options), name)

    async def connect(
        self,
        host: str,
        port: int,
        *,
        trust: Trust | None,
        alpn: Iterable[str] = DEFAULT_ALPN,
        server_name: str | None = None,
        token: NewToken | None = None,
        **options: Any,
    ) -> Connection:
        """Connect to `host`; see `Net`."""
        local, remote = self._simulation.resolve(host, self.host)
        socket = self.host.bind((local,))
        driver = self._drive(socket, client_config(trust, alpn, options, deterministic=True), None)
        connection = driver.connect(socket.addresses[0], (remote, port), server_name or host, token)
        self._connections.append(connection)
        return await connection.usable()

    async def listen(
        self, port: int, credentials: Credentials | None, *, alpn: Iterable[str] = DEFAULT_ALPN, **options: Any
    ) -> Listener:
        """Take connections on `port` of all the host's addresses, and on a preferred address; see `Net`."""
        config = server_config(credentials, alpn, options, deterministic=True)
        socket = self.host.bind(self.host.addresses, port)
        for preferred in (config.preferred_address_v4, config.preferred_address_v6):
            if preferred is not None and preferred not in socket.addresses:
                socket.bind(*preferred)
        listener = Listener(socket.new_future, socket.addresses[0], lambda: driver.stop_accepting())
        driver = self._drive(socket, config, listener.put)
        return listener

    def _drive(self, socket: "Socket", config: "Config", established: Callable[[Connection], None] | None) -> Driver:
        self._endpoints += 1
        endpoint = self._simulation.endpoint(self.host, f"endpoint{self._endpoints}", config)
        socket.driver = Driver(endpoint, socket, established)
        return socket.driver
