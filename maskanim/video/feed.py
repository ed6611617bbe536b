"""What comes from a camera or through a pipe, read in a thread of its own: whoever waits for it can be freed."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")

SECONDS_TO_END = 0.5


class Feed(Iterator[T], Generic[T]):
    """An iterator over another one, which is read in a thread, an item whenever one is asked for.

    A camera that is stuck in its driver, or a pipe to which nobody writes, cannot be interrupted: the thread stays in
    it, and ends with the process.

    Args:
        items: read in the thread, an exception included.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        # These queues, unlike others, may be used by a signal's handler that interrupts their use.
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._came: SimpleQueue[T | BaseException] = SimpleQueue()
        self._thread = Thread(target=self._read, name="maskanim-feed", daemon=True)

    def __next__(self) -> T:
        if self._thread.ident is None:
            self._thread.start()
        self._asked.put(True)
        item = self._came.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _read(self) -> None:
        while self._asked.get():
            try:
                self._came.put(next(self._items))
            except BaseException as error:
                self._came.put(error)

    def stop(self) -> None:
        """Let who waits for an item go, as if there were no other; any thread, or a signal's handler, may call this."""
        self._came.put(StopIteration())

    def close(self) -> bool:
        """End the thread; whether it has ended, so that what it reads from can be closed."""
        self._asked.put(False)
        if self._thread.ident is not None:
            self._thread.join(SECONDS_TO_END)
        return not self._thread.is_alive()
