"""The one loop over a clip: a thread reads ahead, the backend animates, a thread writes behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from maskanim.ops import Frame
from maskanim.progress import NoProgress, Progress
from maskanim.runtime.overlap import prefetch, write_behind
from maskanim.runtime.runner import FrameResult

Run = Callable[[Iterator[Any]], Iterator[FrameResult]]


class FrameInput(NamedTuple):
    """What goes into the runner for one frame."""

    prepared: Any  # by `Runner.prepare`; for mode ``replay`` a perturbed mask, (1, 1, 64, 64) float32 in [0, 1]
    pts: int  # when the frame is shown, in ticks of its clip
    driving: Frame | None = None  # the driving frame, where somebody wants to see it


Take = Callable[[FrameInput, FrameResult], object]
SILENT = NoProgress()


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

    def consume(pair: tuple[FrameInput, FrameResult]) -> None:
        take(*pair)

    with prefetch(inputs) as read, write_behind(consume) as hand_over:
        for count, result in enumerate(run(entering(read)), 1):
            hand_over((waiting.popleft(), result))
            progress.update(done + count, total)
    return count
