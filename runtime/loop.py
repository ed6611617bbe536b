"""The one loop over a clip: a thread reads ahead, the backend animates, a thread writes behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from maskanim.ops import Frame
from maskanim.progress import NoProgress, Progress
from maskanim.runtime.runner import FrameResult

T = TypeVar("T")
Run = Callable[[Iterator[Any]], Iterator[FrameResult]]


class FrameInput(NamedTuple):
    """What goes into the runner for one frame."""

    prepared: Any  # by `Runner.prepare`; for mode ``replay`` a perturbed mask, (1, 1, 64, 64) float32 in [0, 1]
    pts: int  # when the frame is shown, in ticks of its clip
    driving: Frame | None = None  # the driving frame, where somebody wants to see it


Take = Callable[[FrameInput, FrameResult], object]
SILENT = NoProgress()
DEPTH = 4  # evens out key frames, which take longer to decode and encode; memory stays flat
END = object()


def animate_frames(
    run: Run,
    inputs: Iterable[FrameInput],
    take: Take,
    progress: Progress = SILENT,
    done: int = 0,
    total: int | None = None,
) -> int:
    """Animate all frames of a clip.

    Args:
        run: the runner with its source and mode, as ``partial(runner.run, source, mode=...)``.
        inputs: read in a thread of its own.
        take: called for each frame in order, in a thread of its own.
        progress: told after each frame; an exception that it raises ends the loop.
        done: how many frames were animated before.
        total: how many there will be, with those before; None if nobody knows.

    Returns:
        How many frames were animated now. An exception of any of the three is raised here, when all have stopped.
    """
    waiting: deque[FrameInput] = deque()
    count = 0

    def entering(inputs: Iterator[FrameInput]) -> Iterator[Any]:
        for item in inputs:
            waiting.append(item)
            yield item.prepared

    with prefetch(inputs) as read, write_behind(take) as hand_over:
        for count, result in enumerate(run(entering(read)), 1):
            hand_over(waiting.popleft(), result)
            progress.update(done + count, total)
    return count


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
def write_behind(consume: Callable[..., object], depth: int = DEPTH) -> Iterator[Callable[..., None]]:
    """Consume items in a thread of its own, a few items behind.

    Yields the function that hands over the arguments of `consume`; it raises its exception once there is one. On
    leaving the block normally, what waits is consumed first; on leaving it by an exception, what waits is dropped.
    """
    waiting: deque[Future[None]] = deque()
    failed: list[BaseException] = []

    def consume_next(*item: Any) -> None:
        if not failed:  # what comes behind an error is dropped
            try:
                consume(*item)
            except BaseException as error:
                failed.append(error)

    def hand_over(*item: Any) -> None:
        while waiting and (waiting[0].done() or len(waiting) > depth):
            waiting.popleft().result()
        if failed:
            raise failed[0]
        waiting.append(pool.submit(consume_next, *item))

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
