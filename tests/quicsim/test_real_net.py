"""The net of this machine: the coroutines of the simulation on UDP sockets."""

import asyncio
import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

import quicsim
from quicsim import Net, RealNet
from quicsim.real.udp import UdpSocket
from stack.errors import ConnectionClosed
from tests.support.loopback import IPV6_LOOPBACK

SIZE = 3_000_000


async def serve(net: Net, port: int, serving: list[int]) -> None:
    """Answer each stream with as many bytes as it asks for."""
    listener = await net.listen(port, quicsim.test_certificate())
    serving.append(listener.address[1])
    while True:
        net.spawn(answer, await listener.accept())


async def answer(net: Net, conn: quicsim.Connection) -> None:
    try:
        while True:
            stream = await conn.accept_stream()
            size = int.from_bytes(await stream.read_all())
            await stream.write(bytes(size), end=True)
    except ConnectionClosed:
        pass


async def fetch(net: Net, host: str, serving: list[int], size: int = SIZE) -> int:
    while not serving:
        await net.sleep("1ms")
    conn = await net.connect(host, serving[0], trust=quicsim.test_certificate(), server_name="localhost")
    stream = await conn.open_stream()
    await stream.write(size.to_bytes(8), end=True)
    received = len(await stream.read_all())
    conn.close()
    return received


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", IPV6_LOOPBACK, "localhost"])
def test_a_transfer_over_loopback(host: str) -> None:
    net = RealNet()
    serving: list[int] = []
    net.spawn(serve, 0, serving)
    assert net.run(fetch, host, serving) == SIZE


def test_many_connections_at_once() -> None:
    async def many(net: Net, serving: list[int]) -> list[int]:
        return [await each for each in [net.spawn(fetch, "127.0.0.1", serving, 20_000) for _ in range(20)]]

    net = RealNet()
    serving: list[int] = []
    net.spawn(serve, 0, serving)
    assert net.run(many, serving) == [20_000] * 20


def test_a_client_resumes_and_sends_early() -> None:
    async def server(net: Net, serving: list[int]) -> None:
        listener = await net.listen(0, quicsim.test_certificate(), tickets=1, early_data=True)
        serving.append(listener.address[1])
        while True:
            net.spawn(answer, await listener.accept())

    async def client(net: Net, serving: list[int]) -> list[bool]:
        while not serving:
            await net.sleep("1ms")
        accepted, session = [], None
        for _ in range(2):
            trust = quicsim.test_certificate()
            conn = await net.connect("127.0.0.1", serving[0], trust=trust, session=session, early_data=True)
            stream = await conn.open_stream()
            await stream.write((1000).to_bytes(8), end=True)
            assert await stream.read_all() == bytes(1000)
            await conn.established()
            assert conn.handshake is not None
            accepted.append(conn.handshake.early_data_accepted)
            session = await conn.session()
            conn.close()
        return accepted

    net, serving = RealNet(), list[int]()
    net.spawn(server, serving)
    assert net.run(client, serving) == [False, True]


def test_a_client_migrates_to_another_address_of_the_machine() -> None:
    async def moving(net: Net, serving: list[int]) -> tuple[str, int]:
        while not serving:
            await net.sleep("1ms")
        conn = await net.connect("127.0.0.1", serving[0], trust=quicsim.test_certificate(), server_name="localhost")
        await conn.migrate("127.0.0.2")
        stream = await conn.open_stream()
        await stream.write(SIZE.to_bytes(8), end=True)
        received = len(await stream.read_all())
        with pytest.raises(OSError, match=r"UDP port 0 of 192\.0\.2\.1"):
            await conn.migrate("192.0.2.1")
        conn.close()
        return conn.path.local[0], received

    net = RealNet()
    serving: list[int] = []
    net.spawn(serve, 0, serving)
    assert net.run(moving, serving) == ("127.0.0.2", SIZE)


def test_inside_a_running_event_loop() -> None:
    async def main() -> int:
        net = RealNet()
        serving: list[int] = []
        net.spawn(serve, 0, serving)
        received = await fetch(net, "127.0.0.1", serving)
        await net.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(RuntimeError, match="await the application"):
            net.run(fetch, "127.0.0.1", serving)
        return received

    assert asyncio.run(main()) == SIZE


def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    closed = UdpSocket("127.0.0.1")
    closed.close()
    started = time.monotonic()
    with pytest.raises(
        ConnectionRefusedError, match=r"UDP port \d+ of localhost \(127\.0\.0\.1\): unreachable or closed"
    ):
        RealNet().run(fetch, "localhost", [closed.address[1]])
    assert time.monotonic() - started < 5


def test_a_name_that_nobody_has_is_told() -> None:
    with pytest.raises(OSError, match=r"no\.such\.host\.invalid: "):
        RealNet().run(fetch, "no.such.host.invalid", [1])


def test_a_port_in_use_is_told() -> None:
    taken = UdpSocket("0.0.0.0")

    async def listen(net: Net) -> None:
        await net.listen(taken.address[1], quicsim.test_certificate())

    with pytest.raises(OSError, match=f"UDP port {taken.address[1]} of 0.0.0.0: Address already in use"):
        RealNet().run(listen)
    taken.close()


def test_an_application_that_fails_ends_the_run() -> None:
    async def fail(net: Net) -> None:
        await net.sleep("10ms")
        raise LookupError("as it should")

    async def wait(net: Net) -> None:
        await net.sleep("60s")

    net = RealNet()
    net.spawn(fail)
    with pytest.raises(LookupError, match="as it should"):
        net.run(wait)


@pytest.mark.parametrize("when", ["in the handshake", "in a transfer"])
def test_a_cancelled_application_leaves_nothing_open(when: str) -> None:
    async def give_up(net: RealNet) -> bool:
        serving: list[int] = []
        silent = UdpSocket("127.0.0.1")
        if when == "in a transfer":
            net.spawn(serve, 0, serving)
        else:
            serving.append(silent.address[1])
        task = net.spawn(fetch, "127.0.0.1", serving, 100_000_000)
        await net.sleep("100ms")
        task.cancel()
        await asyncio.wait((task,))
        silent.close()
        return task.cancelled()

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert RealNet().run(give_up)


def test_a_client_whose_server_closes_is_told() -> None:
    async def hang_up(net: Net, serving: list[int]) -> None:
        listener = await net.listen(0, quicsim.test_certificate())
        serving.append(listener.address[1])
        conn = await listener.accept()
        await conn.accept_stream()
        conn.close(7, "that will do")
        listener.close()

    net = RealNet()
    serving: list[int] = []
    net.spawn(hang_up, serving)
    with pytest.raises(ConnectionClosed, match="that will do"):
        net.run(fetch, "127.0.0.1", serving)


def test_uvloop_works_too() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def fetching(net: Net, serving: list[int]) -> int:
        loops.append(asyncio.get_running_loop())
        return await fetch(net, "127.0.0.1", serving)

    net, serving = RealNet(loop_factory=uvloop.new_event_loop), list[int]()
    net.spawn(serve, 0, serving)
    assert net.run(fetching, serving) == SIZE
    assert isinstance(loops[0], uvloop.Loop)


@pytest.mark.parametrize(("end", "raised"), [("", None), ("fails", LookupError), ("Ctrl-C", KeyboardInterrupt)])
@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_nothing_is_left_behind(end: str, raised: type[BaseException] | None, factory: Any) -> None:
    """However the application ends, no task runs on and no file stays open; and it may bring things to an end."""
    tasks: set[asyncio.Task[Any]] = set()
    ended: list[str] = []

    async def ending(net: RealNet) -> None:
        serving: list[int] = []
        net.spawn(serve, 0, serving)
        net.spawn(fetch, "127.0.0.1", serving, 100_000_000)
        while not serving:
            await net.sleep("1ms")
        await net.connect("127.0.0.1", serving[0], trust=quicsim.test_certificate(), server_name="localhost")
        tasks.update(asyncio.all_tasks())
        try:
            if end == "fails":
                raise LookupError
            if end == "Ctrl-C":
                signal.raise_signal(signal.SIGINT)
                await net.sleep("60s")
        finally:
            await net.sleep("10ms")
            ended.append("in its own time")

    factory().close()  # uvloop's first loop opens a pipe that stays for all
    files = set(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(), pytest.raises(raised) if raised else contextlib.nullcontext():
        warnings.simplefilter("error", ResourceWarning)
        RealNet(loop_factory=factory).run(ending)
    assert ended == ["in its own time"]
    assert len(tasks) > 3
    assert all(task.done() for task in tasks)
    assert set(os.listdir("/proc/self/fd")) == files


def test_another_event_loop_can_be_given() -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    async def running(net: Net) -> bool:
        return asyncio.get_running_loop() is made[0]

    application: Callable[[Net], Coroutine[Any, Any, bool]] = running
    assert RealNet(loop_factory=factory).run(application)
