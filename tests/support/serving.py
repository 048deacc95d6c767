"""A server beside the test, on the loopback interface, and certificates for one."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from random import Random
from typing import Any

import quicsim
from quicsim import Listener, RealNet
from quicsim.authority import issue, write_files


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


def authority(directory: Path, *names: str) -> Path:
    """Write PEM files of an authority and of a server, at 127.0.0.1 by default, as `quicsim certs`; return where."""
    issued = issue(list(names or ("127.0.0.1",)), datetime(2020, 1, 1, tzinfo=UTC), Random(1), days=30_000)
    write_files(directory, issued.files())
    return directory
