"""A server of files beside the test, on the loopback interface."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import quicsim
from quicsim import RealNet, hq


@contextlib.contextmanager
def serving(root: Path, **options: Any) -> Iterator[int]:
    """Serve the files below `root` with the test certificate, in a thread; give the UDP port."""
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Queue()

    async def serve(net: RealNet) -> None:
        listener = await net.listen(0, quicsim.test_certificate(), host="127.0.0.1", alpn=(hq.ALPN,), **options)
        net.spawn(hq.serve, listener, root, lambda served: None)
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
