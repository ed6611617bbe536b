"""A whole clip: decoding, animating and encoding overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from maskanim.grid import draw_grid
from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.overlap import ahead, behind
from maskanim.runtime.runner import Runner
from maskanim.video import Clip, ClipWriter, check_output, open_clip, read_picture

Progress = Callable[[int, int | None], object]


class Result(NamedTuple):
    """A clip that was written.

    Attributes:
        output: where it is.
        frames: how many it has.
        seconds: how long it took, from the source picture to the closed file.
    """

    output: Path
    frames: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames per second, end to end."""
        return self.frames / self.seconds


def animate_clip(
    animator: Animator,
    source: str | Path,
    driving: str | Path,
    output: str | Path,
    *,
    grid: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Animate a picture file by a clip file.

    Args:
        animator: stays open.
        source: the picture; see `video.read_picture`.
        driving: the clip; see `video.open_clip`.
        output: the mp4 to write, with the driving clip's timestamps and audio; an older one is replaced on
            success only.
        grid: write all steps side by side, 2048x256, instead of the frame alone.
        progress: called for each animated frame with their number so far and the estimated total, or None.

    Raises:
        MaskanimError: an input cannot be read or the output cannot be written; nothing is left then.
    """
    image = read_picture(source)
    check_output(output, [source, driving])
    with open_clip(driving) as clip:
        return animate_opened(animator, image, clip, output, grid=grid, progress=progress)


def animate_opened(
    animator: Animator,
    image: Frame,
    clip: Clip,
    output: str | Path,
    *,
    grid: bool = False,
    progress: Progress | None = None,
) -> Result:
    """As `animate_clip`, for a picture that has been read, (H, W, 3) uint8 RGB, and a clip that is open."""
    start, done = perf_counter(), 0
    source = animator.encode_source(image)
    draw = _draw_steps if grid else _draw_frames
    times: deque[int] = deque()  # of the frames that the runner has taken and not yet given back

    def untimed(frames: Iterable[tuple[Any, int]]) -> Iterator[Any]:
        for prepared, pts in frames:
            times.append(pts)
            yield prepared

    with ClipWriter(output, clip) as writer:

        def write(step: tuple[Callable[[], Frame], int]) -> None:
            finish, pts = step
            writer.write(finish(), pts)

        decoded = ((animator.runner.prepare(frame), pts) for frame, pts in clip)
        with ahead(decoded) as frames, behind(write) as hand_over:
            for done, finish in enumerate(draw(animator.runner, source, untimed(frames)), 1):
                hand_over((finish, times.popleft()))
                if progress:
                    progress(done, clip.frame_count)
    return Result(writer.path, done, perf_counter() - start)


def _draw_frames(runner: Runner, source: Any, prepared: Iterable[Any]) -> Iterator[Callable[[], Frame]]:
    return runner.frames(source, prepared)


def _draw_steps(runner: Runner, source: Any, prepared: Iterable[Any]) -> Iterator[Callable[[], Frame]]:
    arrays = runner.source_arrays(source)
    for driving, animation in runner.steps(source, prepared):
        yield partial(draw_grid, arrays, driving, animation)
