"""A `quicsim.net.Net` on the sockets and the clock of this machine."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

from links.units import nanoseconds
from quicsim.connection import Connection, Listener
from quicsim.driver import Driver
from quicsim.host import Tap
from quicsim.net import Trust, client_config, server_config
from quicsim.real.carrier import NS_PER_S, Carrier
from quicsim.real.randomness import SystemRandomness
from quicsim.real.udp import UdpSocket, local_host
from stack.config import Config
from stack.endpoint import Endpoint
from stack.errors import ConnectionClosed
from stack.events import NewToken
from stack.observer import Address, Observer
from stack.tls.certificates import Credentials
from stack.tls.config import DEFAULT_ALPN

T = TypeVar("T")

LATE_TIMERS: Final = {"timer_delay_ms": 1}  # what the event loop's timers may be late, when it is not busy


class RealNet:
    """Applications on real UDP sockets, the same coroutines as in a `Simulation`.

        net = quicsim.RealNet()
        net.spawn(server)
        print(net.run(client, "127.0.0.1"))

    Inside a running asyncio program, make it there, `await` its coroutines as any others, and `aclose` it at the end.
    `observer` sees all connections, `tap` all datagrams. `loop_factory` makes the event loop of `run`, such as
    `uvloop.new_event_loop`.
    """

    def __init__(
        self,
        *,
        observer: Observer | None = None,
        tap: Tap | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._observer = observer
        self._tap = tap
        self._runner: asyncio.Runner | None = None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._runner = asyncio.Runner(loop_factory=loop_factory)
            self._loop = self._runner.get_loop()
        self._carriers: Final[list[Carrier]] = []
        self._tasks: Final[set[asyncio.Task[Any]]] = set()
        self._failed: asyncio.Future[None] | None = None  # while `run` waits: a spawned application's exception

    @property
    def now(self) -> int:
        """The time in ns, of a clock that only goes forward."""
        return time.monotonic_ns()

    async def sleep(self, duration: int | str) -> None:
        """Wait for `duration`; see `Net`."""
        await asyncio.sleep(nanoseconds(duration) / NS_PER_S)

    def spawn(
        self, application: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any
    ) -> asyncio.Task[T]:
        """Run an application beside this one; see `Net`. One that fails ends `run` with its exception."""
        task = self._loop.create_task(application(self, *arguments, **options))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def run(self, application: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> T:
        """Run `application(net, *arguments, **options)`, return what it returns, and close everything.

        What was spawned and is not done by then is cancelled. Ctrl-C cancels the application, which may take its time
        to end, and then what was spawned; a second Ctrl-C cancels all at once. Raises RuntimeError when the net was
        made inside a running event loop.
        """
        if self._runner is None:
            raise RuntimeError("run() is for a program of its own: await the application inside a running event loop")
        with self._runner as runner:
            return runner.run(self._main(application(self, *arguments, **options)))

    async def _main(self, application: Coroutine[Any, Any, T]) -> T:
        self._failed = self._loop.create_future()
        for task in self._tasks:
            if task.done():
                self._on_done(task)
        main = self._loop.create_task(application)
        try:
            await asyncio.wait((main, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if not main.done():
                main.cancel()
                await asyncio.wait((main,))
                self._failed.result()
            return main.result()
        finally:
            main.cancel()
            self._failed.cancel()
            try:
                await asyncio.wait((main,))  # it may have something to bring to an end
            finally:
                await self.aclose()

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)
        elif self._failed is not None and not self._failed.done():
            self._tasks.discard(task)
            self._failed.set_exception(task.exception() or RuntimeError())

    async def aclose(self) -> None:
        """Cancel what was spawned, close all connections and sockets. The peers are told, and nothing is awaited."""
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for carrier in list(self._carriers):
            carrier.driver.close_all()
            carrier.release()
        self._carriers.clear()

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
        """Connect to `host`, trying its addresses in order; see `Net`.

        Raises ConnectionRefusedError when nobody listens there, and OSError when there is no way to the host.
        """
        config = client_config(trust, alpn, LATE_TIMERS | options)
        failure: OSError | None = None
        for remote in await self._addresses_of(host, port):
            try:
                return await self._connect(host, remote, server_name or host, config, token)
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host}: has no address")

    async def _addresses_of(self, host: str, port: int) -> list[Address]:
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise OSError(error.errno, f"{host}: {error.strerror}") from None
        return list(dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found))

    async def _connect(
        self, host: str, remote: Address, server_name: str, config: Config, token: NewToken | None
    ) -> Connection:
        carrier = Carrier(self._loop, [UdpSocket(local_host(remote))], self._tap)
        self._drive(carrier, config, None)
        try:
            connection = carrier.driver.connect(carrier.addresses[0], remote, server_name, token)
            return await connection.usable()
        except ConnectionClosed:
            if carrier.refused is None:
                raise
            number = carrier.refused.errno or 0
            raise OSError(number, f"UDP port {remote[1]} of {host} ({remote[0]}): unreachable or closed") from None
        except BaseException:
            carrier.driver.close_all()
            raise

    async def listen(
        self,
        port: int,
        credentials: Credentials | None,
        *,
        host: str | None = None,
        also: Iterable[Address] = (),
        alpn: Iterable[str] = DEFAULT_ALPN,
        **options: Any,
    ) -> Listener:
        """Take connections on `port`, or a free one if it is 0, of `host` or of all addresses; see `Net`.

        `also` are further addresses to receive at, such as one that is announced as the preferred address.
        """
        config = server_config(credentials, alpn, LATE_TIMERS | options)
        sockets = [UdpSocket(host, port)] if host is not None else _on_all_addresses(port)
        sockets += [UdpSocket(*address) for address in also]
        carrier = Carrier(self._loop, sockets, self._tap)
        listener = Listener(carrier.new_future, carrier.addresses[0], lambda: carrier.driver.stop_accepting())
        self._drive(carrier, config, listener.put)
        return listener

    def _drive(self, carrier: Carrier, config: Config, established: Callable[[Connection], None] | None) -> None:
        self._carriers[:] = [each for each in self._carriers if not each.closed]
        endpoint = Endpoint(config, SystemRandomness(), self._observer)
        carrier.driver = Driver(endpoint, carrier, established)
        self._carriers.append(carrier)


def _on_all_addresses(port: int) -> list[UdpSocket]:
    """Sockets for all addresses of both families; one where the machine has no IPv6."""
    first = UdpSocket("0.0.0.0", port)
    try:
        return [first, UdpSocket("::", first.address[1])]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return [first]
        first.close()
        raise
