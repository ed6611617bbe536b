"""Work of several threads in a row: bounded, in order, and stopped as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 4  # evens out key frames, which take longer to decode and encode; memory stays flat


class ClosedError(Exception):
    """Nobody takes what is put into a channel any more."""


class Channel(Generic[T]):
    """A bounded queue from one thread to another that either end can close.

    Args:
        depth: the number of items that may wait in it.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Append an item, waiting for room.

        Raises:
            ClosedError: the taking end has gone; if it failed, its own error instead.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                raise self._error or ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Take the next item, waiting for one; at the end, raise the error with which the channel was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            raise self._error or StopIteration

    def close(self, error: BaseException | None = None) -> None:
        """No more items will come; those that wait can still be taken."""
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def abandon(self, error: BaseException | None = None) -> None:
        """No more items will be taken; those that wait are dropped."""
        with self._changed:
            self._items.clear()
        self.close(error)

    def raise_error(self) -> None:
        """Raise the error with which the channel was closed, if there is one."""
        if self._error:
            raise self._error


@contextmanager
def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """Run an iterable in a thread of its own, a few items ahead.

    Its exception is raised where the items are taken, after those that came before. On leaving the block the thread
    is stopped and waited for.
    """
    channel = Channel[T](depth)
    with _thread("prefetch", lambda: _produce(items, channel)):
        try:
            yield channel
        finally:
            channel.abandon()


@contextmanager
def write_behind(consume: Callable[[T], object], depth: int = DEPTH) -> Iterator[Callable[[T], None]]:
    """Consume items in a thread of its own, a few items behind.

    Yields the function that hands over an item; it raises the exception of `consume` once there is one. On leaving
    the block normally, what waits is consumed first; on leaving it by an exception, what waits is dropped.
    """
    channel = Channel[T](depth)
    with _thread("write-behind", lambda: _consume(consume, channel)) as thread:
        try:
            yield channel.put
            channel.close()
            thread.join()
        except BaseException:  # an interrupt may come during the join, too
            channel.abandon()
            raise
    channel.raise_error()


def _produce(items: Iterable[T], channel: Channel[T]) -> None:
    try:
        for item in items:
            channel.put(item)
    except ClosedError:
        return
    except BaseException as error:
        channel.close(error)
    else:
        channel.close()


def _consume(consume: Callable[[T], object], channel: Channel[T]) -> None:
    try:
        for item in channel:
            consume(item)
    except BaseException as error:
        channel.abandon(error)


@contextmanager
def _thread(name: str, target: Callable[[], None]) -> Iterator[Thread]:
    thread = Thread(target=target, name=f"maskanim-{name}", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
