"""The discrete-event engine: order, time limits, failures."""

import gc
import traceback
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from quicsim.engine import DeadlockError, Engine, Future


class CustomError(Exception):
    """Can't be made again from its args."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


async def value_of(future: Future[Any]) -> Any:
    return await future


async def fail() -> None:
    raise CustomError(7, reason="on purpose")


def test_calls_for_the_same_time_happen_in_the_order_they_were_scheduled() -> None:
    engine = Engine()
    seen: list[int] = []
    for number in range(100):
        engine.schedule(5, seen.append, number)
    engine.schedule(4, lambda: engine.schedule(5, seen.append, 100))
    engine.run()
    assert seen == list(range(101))
    assert engine.now == 5


def test_a_lane_changes_nothing_about_what_happens_when() -> None:
    def order(lanes: int) -> list[tuple[int, int]]:
        engine = Engine()
        seen: list[tuple[int, int]] = []
        rng = Random(1)

        def happen(number: int, now: int) -> None:
            assert now == engine.now
            seen.append((now, number))
            if number < 2_000:
                # Mostly in order, with ties between lanes, and now and then before what the lane waits for
                at = now + rng.choice((0, 5, 5, 5, 7, 40))
                ways[number % len(ways)](number + 50, at)

        def without(number: int, at: int) -> None:
            engine.schedule(at, happen, number, at)

        ways = [engine.lane(happen) for _ in range(lanes)] or [without]
        for number in range(50):
            ways[number % len(ways)](number, number % 3)
        engine.run(until=700)
        engine.run()
        return seen

    assert len(order(0)) == 2_050
    assert order(0) == order(1) == order(7)


def test_a_lane_refuses_the_past() -> None:
    engine = Engine()
    engine.run(until=10)
    with pytest.raises(ValueError, match="can't schedule for 9 ns: it is 10 ns already"):
        engine.lane(print)("late", 9)


def test_time_is_an_int_of_nanoseconds() -> None:
    engine = Engine()
    far = 10**18 + 1
    engine.schedule(far, lambda: None)
    engine.run()
    assert engine.now == far
    assert type(engine.now) is int


def test_run_until_includes_what_happens_then_and_leaves_the_clock_there() -> None:
    engine = Engine()
    seen: list[str] = []

    def at_10() -> None:
        seen.append("at")
        engine.schedule(10, seen.append, "at, by the one before")

    engine.schedule(10, at_10)
    engine.schedule(11, seen.append, "after")
    engine.run(until=10)
    assert (seen, engine.now) == (["at", "at, by the one before"], 10)
    engine.run(until=10)
    engine.run(until=20)
    assert (seen[2:], engine.now) == (["after"], 20)


def test_the_past_is_refused() -> None:
    engine = Engine()
    engine.run(until=10)
    with pytest.raises(ValueError, match="can't schedule for 9 ns: it is 10 ns already"):
        engine.schedule(9, lambda: None)
    with pytest.raises(ValueError, match="can't run until 9 ns"):
        engine.run(until=9)


def test_a_task_returns_what_it_awaited() -> None:
    engine = Engine()
    future = engine.future("a number")
    engine.schedule(30, future.set_result, 42)
    assert engine.run(engine.start(lambda: value_of(future), "reader")) == 42
    assert engine.now == 30


def test_what_is_started_at_the_very_end_is_not_even_made() -> None:
    engine = Engine()
    made: list[str] = []

    async def late() -> None:
        """Never awaited, nor made."""

    def make() -> Coroutine[Any, Any, None]:
        made.append("late")
        return late()

    async def application() -> int:
        engine.start(make, "late")
        return 7

    assert engine.run(engine.start(application, "application")) == 7
    assert made == []
    engine.run()
    assert made == ["late"]


def test_run_stops_when_its_task_is_done() -> None:
    engine = Engine()
    seen: list[str] = []
    future = engine.future("a number")
    engine.schedule(30, future.set_result, 1)
    engine.schedule(31, seen.append, "later")
    engine.run(engine.start(lambda: value_of(future), "reader"))
    assert seen == []
    engine.run()
    assert seen == ["later"]


def test_a_failing_task_raises_its_own_exception_with_its_traceback() -> None:
    engine = Engine()
    with pytest.raises(CustomError) as caught:
        engine.run(engine.start(fail, "failing"))
    assert caught.value.code == 7
    assert "fail" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_failing_task_that_nobody_awaits_stops_the_run() -> None:
    engine = Engine()
    engine.start(fail, "failing")
    with pytest.raises(CustomError):
        engine.run(engine.start(lambda: value_of(engine.future("nothing")), "waiting"))


def test_whoever_awaits_a_failing_task_gets_its_exception() -> None:
    engine = Engine()

    async def parent() -> int:
        try:
            await engine.start(fail, "child")
        except CustomError as error:
            return error.code
        return 0

    assert engine.run(engine.start(parent, "parent")) == 7


def test_a_failing_callback_raises_its_own_exception() -> None:
    engine = Engine()

    def callback() -> None:
        raise CustomError(8, reason="callback")

    engine.schedule(3, callback)
    with pytest.raises(CustomError, match="callback"):
        engine.run()


def test_a_future_that_fails_raises_in_every_waiter() -> None:
    engine = Engine()
    future = engine.future("a number")
    error = CustomError(9, reason="future")
    engine.schedule(1, future.set_exception, error)
    engine.schedule(2, future.set_result, "too late")
    tasks = [engine.start(lambda: value_of(future), f"reader {number}") for number in range(2)]
    for task in tasks:
        with pytest.raises(CustomError):
            engine.run(task)


def test_a_deadlock_names_who_waits_for_what() -> None:
    engine = Engine()
    engine.start(lambda: value_of(engine.future("a reply")), "server on bob")
    task = engine.start(lambda: value_of(engine.future("a request")), "client on alice")
    with pytest.raises(DeadlockError) as caught:
        engine.run(task)
    assert str(caught.value) == (
        "nothing is left to happen at 0 ns, but server on bob waits for a reply; client on alice waits for a request"
    )


def test_a_task_that_is_not_done_in_time_is_told_apart_from_a_deadlock() -> None:
    engine = Engine()
    engine.schedule(100, lambda: None)
    task = engine.start(lambda: value_of(engine.future("a reply")), "client on alice")
    with pytest.raises(TimeoutError, match="client on alice is not done at 50 ns: waits for a reply"):
        engine.run(task, until=50)
    assert engine.now == 50


def test_awaiting_something_foreign_is_refused() -> None:
    engine = Engine()

    class Foreign:
        def __await__(self) -> Any:
            yield 1

    async def application() -> None:
        await Foreign()

    with pytest.raises(TypeError, match="application awaits 1: must be something that its net gave"):
        engine.run(engine.start(application, "application"))


def test_a_run_leaves_the_garbage_collector_as_it_was() -> None:
    engine = Engine()
    before = gc.get_threshold()
    during: list[int] = []
    engine.schedule(1, lambda: during.append(gc.get_threshold()[0]))
    engine.run()
    assert during[0] > before[0]
    assert gc.get_threshold() == before
    gc.set_threshold(0)  # which disables it
    try:
        engine.schedule(2, lambda: during.append(gc.get_threshold()[0]))
        engine.run()
        assert during[1] == gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
