"""Work of several threads in a row: bounded, in order, and stopped as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 4  # evens out key frames, which take longer to decode and encode; memory stays flat
END = object()


@contextmanager
def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """Run an iterable in a thread of its own, a few items ahead.

    Its exception is raised where the items are taken, after those that came before. On leaving the block the thread
    is stopped and waited for.
    """
    iterator = iter(items)

    def taken(pool: ThreadPoolExecutor) -> Iterator[T]:
        waiting: deque[Future[Any]] = deque(pool.submit(next, iterator, END) for _ in range(depth + 1))
        while (item := waiting.popleft().result()) is not END:
            waiting.append(pool.submit(next, iterator, END))
            yield item

    with _thread("prefetch") as pool:
        yield taken(pool)


@contextmanager
def write_behind(consume: Callable[[T], object], depth: int = DEPTH) -> Iterator[Callable[[T], None]]:
    """Consume items in a thread of its own, a few items behind.

    Yields the function that hands over an item; it raises the exception of `consume` once there is one. On leaving
    the block normally, what waits is consumed first; on leaving it by an exception, what waits is dropped.
    """
    waiting: deque[Future[None]] = deque()
    failed: list[BaseException] = []

    def consume_next(item: T) -> None:
        if not failed:  # what comes behind an error is dropped
            try:
                consume(item)
            except BaseException as error:
                failed.append(error)

    def hand_over(item: T) -> None:
        while waiting and (waiting[0].done() or len(waiting) > depth):
            waiting.popleft().result()
        if failed:
            raise failed[0]
        waiting.append(pool.submit(consume_next, item))

    with _thread("write-behind") as pool:
        yield hand_over
        for future in waiting:
            future.result()
    if failed:
        raise failed[0]


@contextmanager
def _thread(name: str) -> Iterator[ThreadPoolExecutor]:
    """One thread, waited for on leaving the block; what it has not begun by then is dropped."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=f"maskanim-{name}")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
