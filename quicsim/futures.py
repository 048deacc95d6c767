"""Waiting, whichever net it is: futures come from the net, and an inbox hands things to whoever waits for them."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
FutureT = TypeVar("FutureT")


class Future(Protocol[FutureT]):
    """A value that will be there later; `asyncio.Future` fits, and `quicsim.engine.Future`."""

    def done(self) -> bool:
        """Tell whether there is a result or an exception."""
        ...

    def set_result(self, result: FutureT, /) -> None:
        """Resume whoever waits, with `result`."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Resume whoever waits, raising `exception` there."""

    def __await__(self) -> Generator[Any, None, FutureT]:
        """Wait for the result."""
        ...


NewFuture = Callable[[str], Future[Any]]  # from a few words on what it stands for


class Inbox(Generic[T]):
    """Things that arrive, handed out in order to those who ask for them; beyond `limit` the oldest are dropped."""

    def __init__(self, new_future: NewFuture, what: str, limit: int | None = None) -> None:
        self._new_future = new_future
        self._what = what
        # Lists, for most of them stay empty, and an empty deque takes ten times as much
        self._items: list[Iterator[T]] = []
        self._waiting: list[Future[T]] = []
        self._limit = limit
        self._failure: Callable[[], Exception] | None = None

    def put(self, item: T) -> None:
        """Hand `item` to the longest waiting, or keep it."""
        self.put_each(iter((item,)))

    def put_each(self, items: Iterator[T]) -> None:
        """Hand each of `items` to one that waits, and keep the rest: it is made as somebody asks for it."""
        while self._waiting:
            future = self._waiting[0]
            if not future.done():
                try:
                    item = next(items)
                except StopIteration:
                    return
                future.set_result(item)
            del self._waiting[0]
        self._items.append(items)
        if self._limit is not None and len(self._items) > self._limit:
            del self._items[0]

    async def get(self) -> T:
        """Return the oldest item, waiting for one; raises what `fail` was given once there is none."""
        while self._items:
            for item in self._items[0]:
                return item
            del self._items[0]
        if self._failure is not None:
            raise self._failure()
        future: Future[T] = self._new_future(self._what)
        self._waiting.append(future)
        return await future

    def fail(self, failure: Callable[[], Exception]) -> None:
        """Nothing more arrives: raise `failure()` in those who wait now and those who will."""
        self._failure = failure
        fail_all(self._waiting, failure)


def fail_all(futures: list[Future[T]], failure: Callable[[], Exception]) -> None:
    """Raise a `failure()` of its own in each that waits, and forget them."""
    while futures:
        future = futures.pop(0)
        if not future.done():
            future.set_exception(failure())
