"""The relay's timeline, and what wakes it."""

import asyncio
import time

import pytest

from quicsim.relay.clock import Timeline, WakeUp

MS = 10**6


def test_calls_happen_in_order_of_time_and_then_of_scheduling() -> None:
    timeline = Timeline()
    happened: list[str] = []
    assert timeline.next_at is None
    for at, name in ((20, "c"), (10, "a"), (20, "d"), (15, "b"), (30, "e")):
        timeline.schedule(at, happened.append, name)
    timeline.run(9)
    assert not happened
    timeline.run(20)
    assert happened == ["a", "b", "c", "d"]
    assert timeline.next_at == 30


def test_what_a_call_schedules_for_a_time_that_is_due_happens_at_once() -> None:
    timeline = Timeline()
    happened: list[str] = []
    timeline.schedule(1, lambda: timeline.schedule(0, happened.append, "late"))
    timeline.run(1)
    assert happened == ["late"]


@pytest.mark.parametrize("kernel_timer", [True, False])
def test_a_wake_up_comes_at_the_time_that_was_set_last_and_never_early(kernel_timer: bool) -> None:
    async def test() -> None:
        woken = asyncio.Queue[int]()
        wake_up = WakeUp(
            asyncio.get_running_loop(), lambda: woken.put_nowait(time.monotonic_ns()), kernel_timer=kernel_timer
        )
        start = time.monotonic_ns()
        wake_up.set(start + 10**12)
        wake_up.set(start + 20 * MS)
        wake_up.set(start + 20 * MS)
        async with asyncio.timeout(5):
            assert await woken.get() >= start + 20 * MS
            wake_up.set(start)  # past
            await woken.get()
        wake_up.set(time.monotonic_ns() + 20 * MS)
        wake_up.set(None)
        await asyncio.sleep(0.05)
        wake_up.set(time.monotonic_ns() + 10 * MS)
        wake_up.close()
        await asyncio.sleep(0.05)
        assert woken.empty()

    asyncio.run(test())
