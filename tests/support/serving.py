"""A server beside the test, on the loopback interface."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from queue import Queue
from typing import Any

import quicsim
from quicsim import Listener, RealNet


@contextlib.contextmanager
def serving(
    application: Callable[[RealNet, Listener], Coroutine[Any, Any, None]], alpn: str, **options: Any
) -> Iterator[int]:
    """Run `application(net, listener)` with the test certificate, in a thread; give the UDP port."""
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Queue()

    async def serve(net: RealNet) -> None:
        listener = await net.listen(0, quicsim.test_certificate(), host="127.0.0.1", alpn=(alpn,), **options)
        net.spawn(application, listener)
        stopped = asyncio.Event()
        started.put((asyncio.get_running_loop(), stopped, listener.address[1]))
        await stopped.wait()

    thread = threading.Thread(target=lambda: RealNet().run(serve))
    thread.start()
    loop, stopped, port = started.get(timeout=10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
